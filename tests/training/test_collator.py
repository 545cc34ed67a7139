"""The sequence-to-sequence collator against the reference's."""

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from seqgraft import text
from seqgraft.errors import TokenizerError
from seqgraft.training.collator import DataCollatorForSeq2Seq

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"]
FEATURES = [
    {"input_ids": [2, 5, 3], "token_type_ids": [0, 0, 0], "attention_mask": [1, 1, 1], "labels": [2, 6, 7, 7, 3]},
    {"input_ids": [2, 5, 6, 7, 3], "token_type_ids": [0] * 5, "attention_mask": [1] * 5, "labels": [2, 3]},
    {"input_ids": [2, 3], "token_type_ids": [0] * 2, "attention_mask": [1] * 2, "labels": []},
]


class Model:
    """Shifts labels as models do."""

    def prepare_decoder_input_ids_from_labels(self, labels):
        return labels + 1


@pytest.fixture
def both():
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    options = {"pad_token": "[PAD]", "model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    return (
        text.Tokenizer(tokenizer_object=backend, **options),
        transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **options),
    )


def features(kind):
    """The examples, with labels as lists, arrays or tensors."""
    make = {"list": list, "array": np.array, "tensor": torch.tensor}[kind]
    rows = [dict(row) for row in FEATURES[: 2 if kind != "list" else 3]]
    return [{**row, "labels": make(row["labels"])} for row in rows]


def equal(mine, reference):
    assert list(mine) == list(reference)
    for key, value in mine.items():
        assert type(value) is type(reference[key])
        assert value.dtype == reference[key].dtype
        assert value.tolist() == reference[key].tolist()


@pytest.mark.parametrize("model", [None, Model(), object()], ids=["none", "model", "object"])
@pytest.mark.parametrize("kind", ["list", "array"])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("tensors", ["pt", "np"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": "longest", "pad_to_multiple_of": 4},
        {"padding": "max_length", "max_length": 9},
        {"padding": "max_length", "max_length": 9, "pad_to_multiple_of": 4},
        {"label_pad_token_id": 0},
    ],
)
def test_equal(both, model, kind, side, tensors, options):
    ours, theirs = both
    ours.padding_side = theirs.padding_side = side
    mine = DataCollatorForSeq2Seq(ours, model, return_tensors=tensors, **options)(features(kind))
    reference = transformers.DataCollatorForSeq2Seq(theirs, model, return_tensors=tensors, **options)(features(kind))
    equal(mine, reference)
    assert ("decoder_input_ids" in mine) == isinstance(model, Model)


def test_tensors_as_labels(both):
    ours, _ = both
    equal(DataCollatorForSeq2Seq(ours)(features("tensor")), DataCollatorForSeq2Seq(ours)(features("array")))


def test_label_and_none(both):
    ours, theirs = both
    for row in ([{"input_ids": [2], "label": [5]}], [{"input_ids": [2], "labels": None}], [{"input_ids": [2]}]):
        mine, reference = DataCollatorForSeq2Seq(ours)(row), transformers.DataCollatorForSeq2Seq(theirs)(row)
        assert list(mine) == list(reference)
        assert (mine["labels"] is None) == (reference["labels"] is None)
        assert mine["labels"] is None or mine["labels"].tolist() == reference["labels"].tolist()


def test_examples_stay_as_they_are(both):
    rows = features("list")
    DataCollatorForSeq2Seq(both[0])(rows)
    assert rows == features("list")


def test_asked_for_at_the_call(both):
    batch = DataCollatorForSeq2Seq(both[0])(features("list"), return_tensors="np")
    assert isinstance(batch["labels"], np.ndarray)


def test_without_padding(both):
    ours, theirs = both
    rows = [dict(FEATURES[0]), dict(FEATURES[0])]
    equal(
        DataCollatorForSeq2Seq(ours, padding=False)(rows),
        transformers.DataCollatorForSeq2Seq(theirs, padding=False)(rows),
    )
    with pytest.raises(TokenizerError, match=r"lengths 3, 5; pass `padding=True`"):
        DataCollatorForSeq2Seq(ours, padding=False)(features("list")[:2])
    rows[1]["labels"] = [1]
    with pytest.raises(TokenizerError, match=r"`labels` must be rows .* lengths 1, 5"):
        DataCollatorForSeq2Seq(ours, padding=False)(rows)
    with pytest.raises(TokenizerError, match="at least one example"):
        DataCollatorForSeq2Seq(ours)([])


def test_two_tokenizers(both):
    """A pair pads its inputs with the source's pad token."""
    ours, _ = both
    other = text.Tokenizer(tokenizer_object=ours.backend_tokenizer, pad_token="c")
    batch = DataCollatorForSeq2Seq(text.PairTokenizer(ours, other))(features("list"))
    assert batch["input_ids"].tolist() == [[2, 5, 3, 0, 0], [2, 5, 6, 7, 3], [2, 3, 0, 0, 0]]
