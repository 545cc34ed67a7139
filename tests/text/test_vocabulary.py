"""Special tokens, added tokens, decoding: the tokenizer as an object."""

import copy
import logging
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
from tokenizers import AddedToken

from seqgraft import text
from seqgraft.errors import TokenizerError
from seqgraft.text import AutoTokenizer
from seqgraft.text.special import NAMES

SPACED = "Is n't it , 3 . 5 ? I 'm , ' you 've ' ! they 're Bob 's"


@pytest.fixture
def both(family):
    """Ours and the reference's, fresh for each test, because the tests change them."""
    return AutoTokenizer.from_pretrained(family.whole), transformers.AutoTokenizer.from_pretrained(family.whole)


def test_names_and_ids(both):
    ours, theirs = both
    for name in NAMES:
        assert getattr(ours, name) == getattr(theirs, name)
        assert getattr(ours, f"{name}_id") == getattr(theirs, f"{name}_id")
        setattr(ours, name, "the")
        setattr(theirs, name, "the")
        assert getattr(ours, name) == "the"
        setattr(ours, f"{name}_id", 7)
        setattr(theirs, f"{name}_id", 7)
        assert getattr(ours, name) == getattr(theirs, name)
        assert getattr(ours, f"{name}_id") == 7
        setattr(ours, name, None)
        setattr(theirs, name, None)
        assert getattr(ours, f"{name}_id") is None
    with pytest.raises(TokenizerError, match=r"`pad_token` must be a text or an AddedToken, but is 3"):
        ours.pad_token = 3
    with pytest.raises(TokenizerError, match=r"`pad_token_id` must be an id of the vocabulary \(.*, but is 1000000"):
        ours.pad_token_id = 1_000_000


def test_adding(both):
    ours, theirs = both
    for tokenizer in both:
        tokenizer.counts = [
            tokenizer.add_tokens("neu"),
            tokenizer.add_tokens(["neu", "alt", AddedToken("Mitte", single_word=True)]),
            tokenizer.add_tokens([]),
            tokenizer.add_special_tokens({"pad_token": "<leer>", "additional_special_tokens": ["<x>"]}),
            tokenizer.add_special_tokens({"extra_special_tokens": ["<y>"]}, replace_extra_special_tokens=False),
            tokenizer.add_special_tokens({}),
        ]
    assert ours.counts == theirs.counts
    assert len(ours) == len(theirs)
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.get_added_vocab() == theirs.get_added_vocab()
    assert ours.added_tokens_decoder == theirs.added_tokens_decoder
    assert ours.all_special_tokens == theirs.all_special_tokens
    assert ours.extra_special_tokens == theirs.extra_special_tokens
    line = "neu<x>alt <y> Mitte Mittel <leer>"
    assert dict(ours(line)) == dict(theirs(line))
    assert ours.decode(ours(line)["input_ids"], True) == theirs.decode(theirs(line)["input_ids"], True)
    with pytest.raises(TokenizerError, match=r"must be one of bos_token, .* but is 'start_token'"):
        ours.add_special_tokens({"start_token": "<s>"})
    with pytest.raises(TokenizerError, match="`extra_special_tokens` must be a list"):
        ours.add_special_tokens({"extra_special_tokens": "<x>"})


def test_tokens_and_ids(both):
    ours, theirs = both
    tokens = ["the", "no such token at all", str(ours.unk_token), "e"]
    assert ours.convert_tokens_to_ids(tokens) == theirs.convert_tokens_to_ids(tokens)
    assert ours.convert_tokens_to_ids("e") == theirs.convert_tokens_to_ids("e")
    ids = [*range(40), len(ours) - 1]
    assert ours.convert_ids_to_tokens(ids, True) == theirs.convert_ids_to_tokens(ids, skip_special_tokens=True)
    assert ours.convert_ids_to_tokens(9) == theirs.convert_ids_to_tokens(9)
    assert ours.convert_ids_to_tokens(10**6) is None
    ours.unk_token = None
    assert ours.convert_tokens_to_ids("no such token at all") is None


def test_frames(both):
    ours, theirs = both
    one, two = ([ours.convert_tokens_to_ids(t) for t in ("e", "t", "a")], [ours.convert_tokens_to_ids("e")])
    plain = theirs("e t a", "e")
    for pair in (None, two):
        framed = ours.build_inputs_with_special_tokens(one, pair)
        mask = ours.get_special_tokens_mask(one, pair)
        assert (
            len(framed) == len(mask) == len(one) + len(pair or []) + theirs.num_special_tokens_to_add(pair is not None)
        )
        assert [i for i, m in zip(framed, mask, strict=True) if not m] == one + (pair or [])
        assert {i for i, m in zip(framed, mask, strict=True) if m} <= set(ours.all_special_ids)
    special = [i for i in plain["input_ids"] if i in theirs.all_special_ids]
    assert [i for i, m in zip(framed, mask, strict=True) if m] == special
    assert ours.get_special_tokens_mask(plain["input_ids"], already_has_special_tokens=True) == (
        theirs.get_special_tokens_mask(plain["input_ids"], already_has_special_tokens=True)
    )
    with pytest.raises(TokenizerError, match="must be given alone"):
        ours.get_special_tokens_mask(one, two, already_has_special_tokens=True)
    assert ours.build_inputs_with_special_tokens([], None) == ours("")["input_ids"]


def test_bert_frame(families):
    ours = AutoTokenizer.from_pretrained(families["bert-uncased"].whole)
    cls, sep = ours.cls_token_id, ours.sep_token_id
    assert ours.build_inputs_with_special_tokens([9, 8], [7]) == [cls, 9, 8, sep, 7, sep]
    assert ours.get_special_tokens_mask([9, 8], [7]) == [1, 0, 0, 1, 0, 1]


@pytest.mark.parametrize("add", [("add_bos_token",), ("add_eos_token",), ("add_bos_token", "add_eos_token")])
def test_setting_the_frame(families, add):
    for name in ("gpt2", "llama"):
        ours = AutoTokenizer.from_pretrained(families[name].whole)
        theirs = transformers.AutoTokenizer.from_pretrained(families[name].whole)
        for field in add:
            setattr(ours, field, True)
            setattr(theirs, field, True)
            assert getattr(ours, field) is True
        assert dict(ours(["a b", ""], ["c", "d"])) == dict(theirs(["a b", ""], ["c", "d"]))
        setattr(ours, add[0], False)
        assert getattr(ours, add[0]) is False


def test_adding_an_end_keeps_the_start(families):
    """The reference drops the start token that tokenizer.json adds when only the end is asked for."""
    folder = families["llama-bos"].whole
    ours = AutoTokenizer.from_pretrained(folder, add_eos_token=True)
    assert ours("a")["input_ids"][0] == ours.bos_token_id
    assert ours("a")["input_ids"][-1] == ours.eos_token_id
    assert (
        transformers.AutoTokenizer.from_pretrained(folder, add_eos_token=True)("a")["input_ids"][0] != ours.bos_token_id
    )


@pytest.mark.parametrize("setting", [None, False, True])
@pytest.mark.parametrize("asked", [None, False, True])
def test_clean_up(family, setting, asked):
    options = {} if setting is None else {"clean_up_tokenization_spaces": setting}
    ours = AutoTokenizer.from_pretrained(family.whole, **options)
    theirs = transformers.AutoTokenizer.from_pretrained(family.whole, **options)
    ids = ours(SPACED)["input_ids"]
    expected = theirs.decode(ids, clean_up_tokenization_spaces=asked)
    assert ours.decode(ids, clean_up_tokenization_spaces=asked) == expected
    assert ours.batch_decode([ids, ids[:3]], True, asked) == theirs.batch_decode([ids, ids[:3]], True, asked)
    assert ours.clean_up_tokenization(SPACED) == theirs.clean_up_tokenization(SPACED) != SPACED


def test_clean_up_of_bpe_is_said_once(families, caplog):
    ours = AutoTokenizer.from_pretrained(families["gpt2"].whole)
    with caplog.at_level(logging.WARNING, logger="seqgraft"):
        for _ in range(2):
            ours.decode([9, 10], clean_up_tokenization_spaces=True)
    assert len(caplog.records) == 1


def test_what_can_be_decoded(both):
    ours, theirs = both
    rows = ours(["the encoder", "a b c"], padding=ours.pad_token is not None, truncation=True, max_length=4)[
        "input_ids"
    ]
    rows = [row[: min(map(len, rows))] for row in rows]
    texts = theirs.batch_decode(rows)
    for given in (
        rows,
        np.array(rows),
        torch.tensor(rows),
        [np.array(row) for row in rows],
        [torch.tensor(r) for r in rows],
    ):
        assert ours.decode(given) == texts
        assert ours.batch_decode(given) == texts
    row = rows[0]
    for given in (row, tuple(row), np.array(row), torch.tensor(row), [torch.tensor(index) for index in row]):
        assert ours.decode(given) == texts[0]
        assert ours.batch_decode(list(given)) == theirs.batch_decode(row)
    assert ours.decode({"input_ids": row}) == texts[0]
    for index in (9, np.int64(9), torch.tensor(9)):
        assert ours.decode(index) == theirs.decode(9)
    assert ours.decode([]) == ""
    assert ours.decode([10**8]) == theirs.decode([10**8])
    with pytest.raises(TokenizerError, match=r"integers of 0 or more, but hold -100 \(labels are padded"):
        ours.decode([9, -100])
    with pytest.raises(TokenizerError, match=r"integers of 0 or more, but hold 'a'"):
        ours.decode([9, "a"])


def test_as_an_object(family):
    ours = AutoTokenizer.from_pretrained(family.whole, model_max_length=33)
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert dict(other(["a", "b c"])) == dict(ours(["a", "b c"]))
        assert repr(other) == repr(ours)
        other.add_tokens("neu")
        assert len(other) == len(ours) + 1
    assert bool(ours)
    assert ours.is_fast
    assert repr(ours).startswith(f"{family.ours.__name__}(name_or_path=")
    assert "model_max_length=33" in repr(ours)
    assert isinstance(ours, text.PreTrainedTokenizerFast)
    assert isinstance(ours, text.PreTrainedTokenizer)


def test_an_object_of_the_library(families, texts):
    theirs = families["roberta"].theirs.from_pretrained(families["roberta"].whole)
    options = {"pad_token": "<pad>", "bos_token": "<s>", "extra_special_tokens": ["<x>"], "model_max_length": 9}
    ours = text.Tokenizer(tokenizer_object=theirs.backend_tokenizer, **options)
    reference = transformers.PreTrainedTokenizerFast(tokenizer_object=theirs.backend_tokenizer, **options)
    assert dict(ours([*texts, "a <x>"], padding=True)) == dict(reference([*texts, "a <x>"], padding=True))
    ours.add_tokens("neu")
    assert "neu" not in theirs.get_vocab()
    file = families["roberta"].whole / "tokenizer.json"
    assert text.Tokenizer(tokenizer_file=file, pad_token="<pad>")(texts)["input_ids"] == ours(texts)["input_ids"]


def test_every_name_is_there():
    for name in text.__all__:
        assert getattr(text, name).__name__ in (name, name.removesuffix("Fast"), "Tokenizer", "RobertaTokenizer")
    assert text.BartTokenizer is text.RobertaTokenizer
    assert text.BertTokenizerFast is text.BertTokenizer
    with pytest.raises(AttributeError, match="no attribute 'T6Tokenizer'"):
        _ = text.T6Tokenizer


def test_import_is_cheap():
    code = "import seqgraft.text, sys; print([m for m in ('torch', 'tokenizers', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    code = (
        "from seqgraft.text import AutoTokenizer, PairTokenizer; import sys;"
        "print([m for m in ('torch', 'transformers', 'sentencepiece') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
