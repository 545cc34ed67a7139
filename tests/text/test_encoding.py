"""BatchEncoding: a dictionary, its attributes, its maps and its tensors."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers

from seqgraft.errors import MissingExtraError, TokenizerError
from seqgraft.text import AutoTokenizer, BatchEncoding, CharSpan, TokenSpan
from seqgraft.text.batching import framework, plain

LINES = ["The encoder's source,  e\u0301!", "Two words"]


@pytest.fixture(params=["bert-uncased", "roberta", "xlm-roberta"])
def batches(request, families):
    folder = families[request.param].whole
    return AutoTokenizer.from_pretrained(folder)(LINES, LINES[::-1]), (
        transformers.AutoTokenizer.from_pretrained(folder)(LINES, LINES[::-1])
    )


def test_dictionary(batches):
    ours, _ = batches
    assert set(ours.keys()) == set(dict(**ours))
    assert ours.input_ids is ours["input_ids"]
    assert "attention_mask" in ours
    assert [key for key, _ in ours.items()] == list(ours)
    assert ours[0].ids == ours["input_ids"][0]
    assert ours[-1].tokens == ours.tokens(1)
    assert BatchEncoding(dict(ours))[:1] == {key: value[:1] for key, value in ours.items()}
    with pytest.raises(KeyError, match="read by a name"):
        _ = BatchEncoding({"input_ids": [[1]]})[0]
    with pytest.raises(AttributeError, match=r"holds input_ids, .*not 'labels'"):
        _ = ours.labels
    with pytest.raises(AttributeError):
        _ = BatchEncoding.__new__(BatchEncoding).data


def test_maps(batches):
    ours, theirs = batches
    assert ours.is_fast
    assert ours.n_sequences == theirs.n_sequences == 2
    assert len(ours.encodings) == 2
    for row in range(2):
        assert ours.tokens(row) == theirs.tokens(row)
        assert ours.word_ids(row) == theirs.word_ids(row)
        assert ours.sequence_ids(row) == theirs.sequence_ids(row)
        for token in range(len(ours["input_ids"][row])):
            assert ours.token_to_chars(row, token) == theirs.token_to_chars(row, token)
            assert ours.token_to_word(row, token) == theirs.token_to_word(row, token)
            assert ours.token_to_sequence(row, token) == theirs.token_to_sequence(row, token)
        for sequence in range(2):
            for char in range(len(LINES[row if sequence == 0 else 1 - row])):
                assert ours.char_to_token(row, char, sequence) == theirs.char_to_token(row, char, sequence)
                assert ours.char_to_word(row, char, sequence) == theirs.char_to_word(row, char, sequence)
            for word in range(2):
                assert ours.word_to_tokens(row, word, sequence) == theirs.word_to_tokens(row, word, sequence)
                assert ours.word_to_chars(row, word, sequence) == theirs.word_to_chars(row, word, sequence)
    assert ours.char_to_token(4) == theirs.char_to_token(4)
    assert ours.token_to_word(-2) == ours.token_to_word(0, len(ours["input_ids"][0]) - 2)
    assert isinstance(ours.word_to_tokens(0), TokenSpan)
    assert isinstance(ours.word_to_chars(0), CharSpan)
    assert ours.token_to_chars(0) is None
    with pytest.raises(TokenizerError, match="known only to a batch that came from text"):
        BatchEncoding({"input_ids": [[1]]}).tokens()


def test_copies(batches):
    ours, _ = batches
    for other in (copy.copy(ours), copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert dict(other) == dict(ours)
        assert other.tokens(1) == ours.tokens(1)


def test_to_a_device():
    batch = BatchEncoding({"input_ids": [[1, 2]], "length": 2}, tensor_type="pt")
    batch["name"] = "stays"
    moved = batch.to("meta", non_blocking=True)
    assert moved is batch
    assert batch["input_ids"].device.type == "meta"
    assert batch["name"] == "stays"
    assert BatchEncoding({"input_ids": torch.ones(2, 3)}).to(torch.device("meta")).input_ids.is_meta


def test_converting():
    batch = BatchEncoding({"input_ids": [1, 2], "mask": np.ones(2)})
    assert batch.convert_to_tensors(None) is batch
    assert batch["input_ids"] == [1, 2]
    batch.convert_to_tensors("np", prepend_batch_axis=True)
    assert batch["input_ids"].shape == (1, 2)
    assert batch["mask"].shape == (2,)  # what is a tensor already stays
    assert BatchEncoding({"input_ids": [[], []]}, tensor_type="pt")["input_ids"].shape == (2, 0)


def test_a_framework_that_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "seqgraft.flax.tensors", None)
    monkeypatch.setitem(__import__("sys").modules, "seqgraft.flax", None)
    with pytest.raises(MissingExtraError, match=r"`return_tensors='jax'` must have flax installed"):
        BatchEncoding({"input_ids": [[1]]}, tensor_type="jax")


@pytest.mark.parametrize(("kind", "module"), [("jax", "jax.numpy"), ("tf", "tensorflow")])
def test_arrays_of_other_frameworks(kind, module):
    made = pytest.importorskip(module)
    rows = [[1, 2, 3], [4, 5, 0]]
    batch = BatchEncoding({"input_ids": rows, "attention_mask": rows}, tensor_type=kind)
    expected = made.asarray(np.array(rows, np.int32)) if kind == "jax" else made.constant(rows)
    for value in batch.values():
        assert type(value) is type(expected)
        assert value.dtype == expected.dtype
        assert np.asarray(value).tolist() == rows
    assert framework(batch["input_ids"]) == framework([batch["input_ids"][0]]) == kind
    assert plain(batch["input_ids"]) == rows
    single = BatchEncoding({"input_ids": [1, 2]}).convert_to_tensors(kind, prepend_batch_axis=True)
    assert tuple(single["input_ids"].shape) == (1, 2)
    with pytest.raises(TokenizerError, match="rows of lengths 1, 2"):
        BatchEncoding({"input_ids": [[1], [1, 2]]}, tensor_type=kind)


@pytest.mark.parametrize(("kind", "room", "missing"), [("jax", "flax", "jax"), ("tf", "tensorflow", "tensorflow")])
def test_the_extra_of_a_framework_is_named(kind, room, missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None\nfrom seqgraft.text import BatchEncoding\n"
        f"assert 'torch' not in sys.modules\nBatchEncoding({{'input_ids': [[1]]}}, tensor_type={kind!r})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    said = f"`return_tensors='{kind}'` must have {room} installed (`pip install seqgraft[{room}]`), but {missing} is"
    assert f"MissingExtraError: {said} missing" in run.stderr
