"""Every family's ids, masks and texts, against the reference."""

import random

import pytest
import transformers

from seqgraft import text
from seqgraft.errors import TokenizerError
from seqgraft.text import AutoTokenizer


def agree(ours, theirs, texts):
    """Both tokenizers say the same of the texts, alone and in pairs, and back."""
    assert len(ours) == len(theirs)
    assert ours.vocab_size == theirs.vocab_size
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.special_tokens_map == theirs.special_tokens_map
    assert set(ours.all_special_tokens) == set(theirs.all_special_tokens)
    assert list(ours.model_input_names) == list(theirs.model_input_names)
    assert ours.padding_side == theirs.padding_side
    every = {"return_offsets_mapping": True, "return_special_tokens_mask": True, "return_length": True}
    for second in (None, texts[::-1]):
        mine, reference = ours(texts, second, **every), theirs(texts, second, **every)
        assert list(mine) == list(reference)
        assert dict(mine) == dict(reference)
    for row in mine["input_ids"]:
        for skip in (False, True):
            assert ours.decode(row, skip_special_tokens=skip) == theirs.decode(row, skip_special_tokens=skip)
        assert ours.convert_ids_to_tokens(row) == theirs.convert_ids_to_tokens(row)
        assert ours.convert_tokens_to_string(ours.convert_ids_to_tokens(row)) == theirs.convert_tokens_to_string(
            theirs.convert_ids_to_tokens(row)
        )
    for one in texts:
        assert ours.tokenize(one) == theirs.tokenize(one)
        assert dict(ours(one)) == dict(theirs(one))
        assert ours.encode(one, add_special_tokens=False) == theirs.encode(one, add_special_tokens=False)
    for pair in (False, True):
        assert ours.num_special_tokens_to_add(pair) == theirs.num_special_tokens_to_add(pair)


CHARACTERS = [chr(code) for code in range(32, 127)] + list(
    "  \t\n\r\u00a0\u200b\u0301\u0308éßİıǅﬁ日本語한국어العربיתहिन्दी😀👍🏽👩"
)
CHARACTERS += [*"\u200d👧\ufeff\x00\ufffd½Ⅷ’“”…—", "[MASK]", "<s>", "</s>", "<mask>", " the", "[SEP]", "<|endoftext|>"]


def lines(count, seed):
    draw = random.Random(seed)
    return ["".join(draw.choices(CHARACTERS, k=draw.randint(0, 50))) for _ in range(count)]


def test_random_texts(family):
    folder = family.whole
    ours, theirs = AutoTokenizer.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
    seed = len(family.name)
    mine, reference = ours(lines(300, seed), lines(300, seed + 99)), theirs(lines(300, seed), lines(300, seed + 99))
    assert dict(mine) == dict(reference)
    assert ours.batch_decode(mine["input_ids"]) == theirs.batch_decode(mine["input_ids"])


def test_whole(family, texts):
    ours = AutoTokenizer.from_pretrained(family.whole)
    assert type(ours) is family.ours
    agree(ours, transformers.AutoTokenizer.from_pretrained(family.whole), texts)


def test_bare(bare_family, texts):
    agree(
        bare_family.ours.from_pretrained(bare_family.bare), bare_family.theirs.from_pretrained(bare_family.bare), texts
    )


def test_minilm(minilm, texts):
    ours = AutoTokenizer.from_pretrained(minilm)
    assert type(ours) is text.BertTokenizer
    agree(ours, transformers.AutoTokenizer.from_pretrained(minilm), texts)


def test_minilm_from_its_vocabulary(minilm, texts):
    ours = text.BertTokenizer(vocab_file=minilm / "vocab.txt")
    agree(ours, transformers.BertTokenizer(vocab=str(minilm / "vocab.txt")), texts)


def test_older_llama(older_llama, texts):
    """The file's normalizer is kept, although the class of today cuts in another way."""
    ours = AutoTokenizer.from_pretrained(older_llama)
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(older_llama)
    assert ours(texts)["input_ids"] == theirs(texts)["input_ids"]
    assert [ours.decode(row) for row in ours(texts)["input_ids"]] == theirs.batch_decode(theirs(texts)["input_ids"])


def test_cased_and_uncased_differ(families):
    cased = AutoTokenizer.from_pretrained(families["bert-cased"].whole)
    uncased = AutoTokenizer.from_pretrained(families["bert-uncased"].whole)
    assert cased("The")["input_ids"] != uncased("The")["input_ids"]


@pytest.mark.parametrize(
    "options", [{"do_lower_case": False}, {"strip_accents": True}, {"tokenize_chinese_chars": False}]
)
@pytest.mark.parametrize("layout", ["bare", "whole"])
def test_bert_options(families, texts, options, layout):
    bert = families["bert-uncased"]
    folder = getattr(bert, layout)
    agree(text.BertTokenizer.from_pretrained(folder, **options), bert.theirs.from_pretrained(folder, **options), texts)


@pytest.mark.parametrize("name", ["gpt2", "roberta", "qwen2"])
@pytest.mark.parametrize("layout", ["bare", "whole"])
def test_prefix_space(families, texts, name, layout):
    family = families[name]
    folder = getattr(family, layout)
    ours = family.ours.from_pretrained(folder, add_prefix_space=True)
    theirs = family.theirs.from_pretrained(folder, add_prefix_space=True)
    assert ours(texts)["input_ids"] == theirs(texts)["input_ids"]


def test_dictionaries(bytes_pairs, words, texts):
    vocab = text.GPT2Tokenizer(vocab_file=bytes_pairs / "vocab.json", merges_file=bytes_pairs / "merges.txt")
    lines = (bytes_pairs / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    plain = text.GPT2Tokenizer(vocab=vocab.get_vocab(), merges=lines)
    mixed = text.GPT2Tokenizer(vocab=vocab.get_vocab(), merges=bytes_pairs / "merges.txt")
    assert plain(texts)["input_ids"] == vocab(texts)["input_ids"] == mixed(texts)["input_ids"]
    tokens = (words / "vocab.txt").read_text(encoding="utf-8").splitlines()
    bert = text.BertTokenizer(vocab={token: index for index, token in enumerate(tokens)})
    assert bert(texts)["input_ids"] == text.BertTokenizer(vocab=words / "vocab.txt")(texts)["input_ids"]


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        ("BertTokenizer", {}),
        ("GPT2Tokenizer", {}),
        ("GPT2Tokenizer", {"vocab": "no such file", "merges": "neither"}),
        ("BertTokenizer", {"vocab": "no such file"}),
        ("XLMRobertaTokenizer", {}),
        ("LlamaTokenizer", {}),
        ("Tokenizer", {"vocab": {"a": 0}}),
        ("Tokenizer", {"tokenizer_object": "text"}),
    ],
)
def test_without_a_vocabulary(cls, arguments):
    with pytest.raises(TokenizerError, match=r"must (be given|hold|be a tokenizers)"):
        getattr(text, cls)(**arguments)


def test_unknown_argument(words):
    with pytest.raises(TypeError, match="BertTokenizer takes no argument 'lower'"):
        text.BertTokenizer(vocab=words / "vocab.txt", lower=True)
    with pytest.raises(TypeError, match="takes no argument 'add_prefix_space'"):
        text.BertTokenizer.from_pretrained(words, add_prefix_space=True)
