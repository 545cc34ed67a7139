"""SentencePiece models, trained here, against the sentencepiece library and (with protobuf) the reference."""

import importlib.util
import io
import json
import sys

import pytest
import transformers
from transformers.tokenization_utils_base import generate_merges

from seqgraft import text
from seqgraft.errors import MissingExtraError, TokenizerError
from seqgraft.text import AutoTokenizer
from seqgraft.text.sentencepiece import merges

missing = importlib.util.find_spec("sentencepiece") is None
needs_sentencepiece = pytest.mark.skipif(missing, reason="needs the extra seqgraft[sentencepiece]")
needs_protobuf = pytest.mark.skipif(
    missing or importlib.util.find_spec("google") is None, reason="the reference reads these models with protobuf"
)

CORPUS = [
    "The encoder reads the source and the decoder writes the target, one token after another.",
    "It's 3.5 o'clock; warm-started pairs learn from few examples.",
    "Les élèves étaient très déçus; naïve façade.",
    "日本語のテキスト 中文字符",
] * 10
# The reference's own pipelines differ from sentencepiece's on runs of spaces and on what is unknown.
PLAIN = ["The encoder reads", "It's 3.5 examples.", "ﬁne ＡＢＣ élèves", "日本語", "one token after another <user> the"]


def train(folder, name, **options):
    """A model file of a checkpoint folder."""
    from sentencepiece import SentencePieceTrainer

    folder.mkdir(exist_ok=True)
    writer = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=writer,
        vocab_size=450,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    (folder / name).write_bytes(writer.getvalue())
    return folder


def config(folder, **fields):
    (folder / "tokenizer_config.json").write_text(json.dumps(fields))
    return folder


CASES = {
    "XLMRobertaTokenizer": ("sentencepiece.bpe.model", {"model_type": "unigram"}),
    "CamembertTokenizer": ("sentencepiece.bpe.model", {"model_type": "unigram"}),
    "LlamaTokenizer": ("tokenizer.model", {"model_type": "bpe", "byte_fallback": True}),
}


@needs_protobuf
@pytest.mark.parametrize("cls", CASES)
@pytest.mark.parametrize("fields", [{}, {"add_bos_token": True}, {"pad_token": "<leer>"}])
def test_equal_to_the_reference(cls, fields, tmp_path, texts):
    name, options = CASES[cls]
    folder = config(
        train(tmp_path / "m", name, user_defined_symbols=["<user>"], **options), tokenizer_class=cls, **fields
    )
    ours, theirs = AutoTokenizer.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
    assert type(ours) is getattr(text, cls)
    assert type(theirs).__name__ == cls
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.special_tokens_map == theirs.special_tokens_map
    for pair in (None, [*texts, *PLAIN][::-1]):
        assert dict(ours([*texts, *PLAIN], pair)) == dict(theirs([*texts, *PLAIN], pair))
    ids = ours([*texts, *PLAIN])["input_ids"]
    assert ours.batch_decode(ids) == theirs.batch_decode(ids)
    ours.save_pretrained(tmp_path / "ours")
    there = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert there([*texts, *PLAIN])["input_ids"] == ids


@needs_sentencepiece
@pytest.mark.parametrize("cls", CASES)
def test_equal_to_sentencepiece(cls, tmp_path):
    """Piece for piece as the library cuts; the ids are shifted as each family's are."""
    from sentencepiece import SentencePieceProcessor

    name, options = CASES[cls]
    folder = train(tmp_path / "m", name, **options)
    model = SentencePieceProcessor(model_file=str(folder / name))
    ours = getattr(text, cls).from_pretrained(folder)
    for line in PLAIN[:-1]:
        if cls == "LlamaTokenizer":
            line = line.replace("ﬁ", "fi").replace("ＡＢＣ", "ABC")  # it does not normalize
        assert ours.tokenize(line) == model.encode(line, out_type=str)
    shift = {"XLMRobertaTokenizer": 1, "CamembertTokenizer": 4, "LlamaTokenizer": 0}[cls]
    line = "The encoder reads the source"
    assert ours.encode(line, add_special_tokens=False) == [index + shift for index in model.encode(line)]


@needs_sentencepiece
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_without_a_family(kind, tmp_path):
    from sentencepiece import SentencePieceProcessor

    folder = train(tmp_path / "m", "tokenizer.model", model_type=kind, add_dummy_prefix=False, byte_fallback=True)
    ours = AutoTokenizer.from_pretrained(folder)
    model = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    assert type(ours) is text.Tokenizer
    assert (ours.bos_token, ours.eos_token, ours.unk_token) == ("<s>", "</s>", "<unk>")
    for line in ("The encoder reads", "😀 naïve"):
        assert ours.encode(line) == model.encode(line)
        assert ours.decode(ours.encode(line)) == line
    direct = text.Tokenizer(vocab_file=folder / "tokenizer.model")
    assert direct.encode("The encoder reads") == ours.encode("The encoder reads")
    ours.save_pretrained(tmp_path / "saved")
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").encode("The encoder") == ours.encode("The encoder")


def test_merges_of_pieces():
    """As the reference orders them: by the piece, then by the parts' lengths, whatever the parts' ids."""
    vocab = {"ab": 0, "c": 1, "a": 2, "bc": 3, "b": 4, "abc": 5, "ca": 6}
    expected = [("a", "b"), ("b", "c"), ("a", "bc"), ("ab", "c"), ("c", "a")]
    assert merges(vocab) == generate_merges(vocab) == expected


@needs_sentencepiece
def test_broken_model(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"\x0a\xff\xffnothing")
    with pytest.raises(TokenizerError, match="must be a SentencePiece model, but cannot be read"):
        AutoTokenizer.from_pretrained(tmp_path)


def test_a_class_that_needs_more(tmp_path):
    (tmp_path / "spiece.model").write_bytes(b"")
    with pytest.raises(
        TokenizerError, match=r"names the tokenizer class T5Tokenizer, which must come with tokenizer.json"
    ):
        AutoTokenizer.from_pretrained(config(tmp_path, tokenizer_class="T5Tokenizer"))


def test_without_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    (tmp_path / "tokenizer.model").write_bytes(b"")
    with pytest.raises(MissingExtraError, match=r"pip install seqgraft\[sentencepiece\]"):
        AutoTokenizer.from_pretrained(tmp_path)
