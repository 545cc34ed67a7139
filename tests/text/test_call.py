"""Padding, truncation, pairs, targets and tensors, against the reference."""

import itertools
import logging
import sys
import threading

import numpy as np
import pytest
import torch
import transformers

from seqgraft.errors import TokenizerError
from seqgraft.text import AutoTokenizer, BertTokenizer, Tokenizer
from seqgraft.text.batching import plain

SOME = ("bert-uncased", "roberta", "gpt2", "llama-bos")
FIRST = ["The encoder reads the source.", "", "Yes!", "its cross-attention is new " * 8]
SECOND = ["Warm-started pairs learn", "It's here, isn't it? " * 6, "", "日本語"]

PADDING = [False, True, "longest", "max_length", "do_not_pad"]
TRUNCATION = [None, False, True, "longest_first", "only_first", "only_second", "do_not_truncate"]


def both(families, name, **options):
    """Our tokenizer and the reference's, of one folder, with a pad token."""
    folder = families[name].whole
    if name == "gpt2":
        options = {"pad_token": "<pad>", **options}
    return (
        AutoTokenizer.from_pretrained(folder, **options),
        transformers.AutoTokenizer.from_pretrained(folder, **options),
    )


def outcome(tokenizer, *texts, **options):
    """What a call gives, or that it fails: ours with its own error, the reference with whatever its layers raise."""
    errors = TokenizerError if isinstance(tokenizer, Tokenizer) else Exception
    try:
        return dict(tokenizer(*texts, **options))
    except errors:
        return "impossible"


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.filterwarnings("ignore:`max_length` ")
def test_every_mode(families, name, side, pair):
    ours, theirs = both(families, name, padding_side=side, truncation_side=side, model_max_length=24)
    texts = (FIRST, SECOND) if pair else (FIRST,)
    compared = 0
    for padding, truncation, length in itertools.product(PADDING, TRUNCATION, [None, 0, 1, 2, 7, 16, 40]):
        options = {"padding": padding, "truncation": truncation, "max_length": length}
        expected = outcome(theirs, *texts, **options)
        assert outcome(ours, *texts, **options) == expected, options
        compared += expected != "impossible"
    assert compared > 150


@pytest.mark.parametrize("name", SOME)
@pytest.mark.filterwarnings("ignore:`max_length` ")
def test_without_a_limit(families, name):
    ours, theirs = both(families, name)
    assert ours.model_max_length == theirs.model_max_length == int(1e30)
    for padding, truncation in itertools.product(PADDING, TRUNCATION):
        options = {"padding": padding, "truncation": truncation}
        assert outcome(ours, FIRST, **options) == outcome(theirs, FIRST, **options), options


@pytest.mark.parametrize("multiple", [2, 8])
@pytest.mark.parametrize("side", [None, "left", "right"])
def test_multiples(families, multiple, side):
    ours, theirs = both(families, "bert-uncased")
    options = {"padding": True, "pad_to_multiple_of": multiple, "padding_side": side}
    assert dict(ours(FIRST, **options)) == dict(theirs(FIRST, **options))
    with pytest.raises(TokenizerError, match=r"`pad_to_multiple_of` \(8\) must divide .* but that is 12"):
        ours(FIRST, padding=True, truncation=True, max_length=12, pad_to_multiple_of=8)


@pytest.mark.parametrize(
    "options",
    [
        {"add_special_tokens": False},
        {"return_token_type_ids": True},
        {"return_token_type_ids": False, "return_attention_mask": False},
        {"return_special_tokens_mask": True, "return_offsets_mapping": True, "return_length": True, "padding": True},
        {"return_overflowing_tokens": True, "truncation": True, "max_length": 8, "stride": 2},
        {"split_special_tokens": True},
    ],
)
@pytest.mark.parametrize("name", SOME)
def test_what_is_returned(families, name, options):
    ours, theirs = both(families, name)
    for texts in ([*FIRST, "<s> in </s> [SEP]"], "one <s> text [SEP]"):
        mine, reference = ours(texts, **options), theirs(texts, **options)
        assert list(mine) == list(reference)
        assert dict(mine) == dict(reference)


@pytest.mark.parametrize("name", SOME)
def test_words(families, name):
    ours, theirs = both(families, name, **({} if name in ("bert-uncased", "llama-bos") else {"add_prefix_space": True}))
    for texts in (["The", "encoder's", "日本語"], [["The", "source"], ["Yes", "!"]]):
        mine, reference = ours(texts, is_split_into_words=True), theirs(texts, is_split_into_words=True)
        assert dict(mine) == dict(reference)
        assert mine.word_ids(0) == reference.word_ids(0)


def test_targets(families):
    ours, theirs = both(families, "bert-uncased")
    for options in (
        {"text": FIRST, "text_target": SECOND},
        {"text_target": SECOND},
        {"text": "one", "text_target": "two words"},
        {"text": FIRST, "text_target": SECOND, "truncation": True, "max_length": 12, "max_target_length": 5},
        {"text": FIRST, "text_target": SECOND, "text_pair_target": FIRST, "padding": True},
    ):
        mine, reference = ours(**options), theirs(**options)
        assert list(mine) == list(reference)
        assert dict(mine) == dict(reference)
    with pytest.raises(TokenizerError, match="`text`, `text_target` or both"):
        ours()


def test_one_pair(families):
    ours, theirs = both(families, "roberta")
    for pair in ("a second", "", None):
        assert dict(ours("The first", pair)) == dict(theirs("The first", pair))


@pytest.mark.parametrize("kind", ["pt", "np"])
def test_tensors(families, kind):
    ours, theirs = both(families, "bert-uncased")
    for texts in (FIRST, "one text"):
        options = {"padding": True, "return_tensors": kind, "return_length": True}
        mine, reference = ours(texts, **options), theirs(texts, **options)
        assert list(mine) == list(reference)
        for key, value in mine.items():
            assert type(value) is type(reference[key])
            assert value.dtype == reference[key].dtype
            assert value.tolist() == reference[key].tolist()
    assert ours("one", return_tensors=kind)["input_ids"].shape[0] == 1


def test_tensors_need_equal_rows(families):
    ours, _ = both(families, "bert-uncased")
    for kind in ("pt", "np"):
        with pytest.raises(TokenizerError, match=r"`input_ids` must be rows .* lengths 2, .*pass `padding=True`"):
            ours(FIRST, return_tensors=kind)
    with pytest.raises(TokenizerError, match="`return_tensors` must be 'pt', 'np', 'jax', 'tf' or None, but is 'mx'"):
        ours(FIRST, padding=True, return_tensors="mx")


def test_no_texts(families):
    ours, _ = both(families, "bert-uncased")
    assert dict(ours([])) == {"input_ids": [], "token_type_ids": [], "attention_mask": []}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ((5,), "`text` must be a text, a list of texts.* but is 5"),
        (([1, 2],), r"`text` must be a text, a list of texts.* but is \[1, 2\]"),
        ((["a", 2],), "`text` must be a text, a list of texts"),
        ((["a", "b"], ["c"]), r"as long as `text` \(2\), but is 1 texts"),
        ((["a", "b"], "c"), r"as long as `text` \(2\), but is one text"),
    ],
)
def test_no_text(families, texts, message):
    ours, _ = both(families, "bert-uncased")
    with pytest.raises(TokenizerError, match=message):
        ours(*texts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": "both"}, "`padding` must be True, False or one of 'longest', .* but is 'both'"),
        ({"truncation": "short"}, "`truncation` must be True, False or one of 'longest_first', .* but is 'short'"),
        ({"truncation": True, "max_length": 8, "stride": 20}, "Cannot truncate to 8 with stride 20"),
    ],
)
def test_impossible_wishes(families, options, message):
    ours, _ = both(families, "bert-uncased")
    with pytest.raises(TokenizerError, match=message):
        ours(FIRST, **options)


def test_unknown_argument(families):
    ours, _ = both(families, "bert-uncased")
    with pytest.raises(TypeError, match="paddign"):
        ours("text", paddign=True)


def test_padding_needs_a_token(families):
    ours = AutoTokenizer.from_pretrained(families["gpt2"].whole)
    for call in (lambda: ours(FIRST, padding=True), lambda: ours.pad({"input_ids": [[1], [1, 2]]})):
        with pytest.raises(TokenizerError, match="Padding needs a pad token"):
            call()
    ours.pad_token = ours.eos_token
    assert ours(["a", "a b"], padding=True)["input_ids"][0][-1] == ours.eos_token_id


def test_too_long_is_said_once(families, caplog):
    ours, _ = both(families, "bert-uncased", model_max_length=4)
    with caplog.at_level(logging.WARNING, logger="seqgraft"):
        ours("a text of many tokens", verbose=False)
        ours("a text of many tokens", max_length=3)
        assert not caplog.records
        ours("a text of many tokens")
        ours("a text of many tokens")
    assert len(caplog.records) == 1
    assert "the model was made for 4" in caplog.text


def test_max_length_without_effect(families):
    ours, _ = both(families, "bert-uncased")
    with pytest.warns(UserWarning, match="`max_length` has no effect"):
        ours(FIRST, padding=True, truncation=False, max_length=4)


ENCODINGS = [
    [
        {"input_ids": [2, 7, 3], "token_type_ids": [0, 0, 1], "special_tokens_mask": [1, 0, 1]},
        {"input_ids": [2, 3], "token_type_ids": [0, 1], "special_tokens_mask": [1, 1]},
    ],
    {"input_ids": [[2, 7, 3], [2]], "attention_mask": [[1, 1, 1], [1]]},
    {"input_ids": [[2, 7, 3], []]},
    {"input_ids": [2, 7, 3]},
    {"input_ids": []},
    {"input_ids": [[2], [3]], "labels": [[1], [2]]},
    {"input_ids": [np.array([2, 7, 3]), np.array([2])]},
    {"input_ids": [torch.tensor([2, 7, 3]), torch.tensor([2])]},
]


@pytest.mark.parametrize("encodings", ENCODINGS)
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": "max_length", "max_length": 5},
        {"pad_to_multiple_of": 4},
        {"padding": "max_length", "max_length": 5, "pad_to_multiple_of": 4},
        {"return_attention_mask": False},
        {"return_attention_mask": True},
        {"return_tensors": "np"},
    ],
)
def test_pad(families, encodings, side, options):
    ours, theirs = both(families, "bert-uncased", padding_side=side)
    copies = [{**e} for e in encodings] if isinstance(encodings, list) else {**encodings}
    mine, reference = ours.pad(copies, **options), theirs.pad(copies, **options)
    assert set(mine) == set(reference)
    for key, value in mine.items():
        assert type(value) is type(reference[key])
        assert plain(value) == plain(reference[key])


def test_pad_refuses(families):
    ours, _ = both(families, "bert-uncased")
    with pytest.raises(TokenizerError, match=r"must hold `input_ids`, but hold \['labels'\]"):
        ours.pad({"labels": [[1]]})
    with pytest.raises(TokenizerError, match=r"`labels` must be rows .* lengths 1, 2"):
        ours.pad({"input_ids": [[1], [2]], "labels": [[1], [1, 2]]}, return_tensors="np")


@pytest.fixture
def restless():
    """Threads that change places all the time."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless")
def test_threads_do_not_mix(families):
    """Padding and truncation are the backend's state: threads with different wishes each get theirs."""
    ours, _ = both(families, "bert-uncased")
    lengths: dict[int, set[int]] = {}

    def work(length):
        rows = [ours(FIRST, padding="max_length", truncation=True, max_length=length) for _ in range(300)]
        lengths[length] = {len(row) for batch in rows for row in batch["input_ids"]}

    threads = [threading.Thread(target=work, args=(length,)) for length in (5, 9, 17, 33)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lengths == {5: {5}, 9: {9}, 17: {17}, 33: {33}}


def test_padding_of_the_last_call_is_gone(families):
    ours, _ = both(families, "bert-uncased")
    alone = ours("one")["input_ids"]
    ours(FIRST, padding="max_length", max_length=30, truncation=True)
    assert ours("one")["input_ids"] == alone
    assert isinstance(ours, BertTokenizer)
    assert isinstance(ours, Tokenizer)


def test_a_limit_that_is_none(families):
    """`max_length=tokenizer.model_max_length` of a tokenizer without a limit is no limit."""
    ours, _ = both(families, "bert-uncased")
    assert dict(ours(FIRST, truncation=True, max_length=int(1e30))) == dict(ours(FIRST))
