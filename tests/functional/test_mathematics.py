"""The functional core computes what the reference computes, for every family; in numpy: no compiler hides it."""

from typing import Any

import numpy as np
import pytest
import torch

from ..families.rows import Row, batch, distance, encoder_of, pad_of
from ..torch.test_family_mathematics import memory, real
from .cases import BOUND, DECODERS, ENCODERS, asked, run_half
from .numpy_ops import NumpyOps


def torched(x: Any) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x))


@pytest.mark.parametrize("padding", ["right", "left"])
@pytest.mark.parametrize(("row", "both"), ENCODERS)
@torch.no_grad()
def test_encoder(made: Any, row: Row, both: bool, padding: str) -> None:
    theirs = encoder_of(made.theirs(row, "encoder", both_ways=both))
    ours = made.ours(row, "encoder", both_ways=both)
    inputs, record = batch(padding, pad=pad_of(row)), asked()
    mine = torched(run_half(NumpyOps(), ours, inputs, record))
    other = theirs(**inputs, output_hidden_states=True, output_attentions=True)
    mask = inputs["attention_mask"] if row.sees_back or not row.shows_padding else None
    assert distance(*real(mask, mine, other[0])) < BOUND
    for own, their in zip(record.states or (), other.hidden_states, strict=True):
        assert distance(*real(mask, torched(own), their)) < BOUND
    seen = ours(**inputs, output_attentions=True).attentions
    for own, their in zip(record.seen.own if record.seen else (), seen, strict=True):
        assert distance(*real(mask, torched(own).transpose(1, 2), their.transpose(1, 2))) < BOUND


@pytest.mark.parametrize(("row", "both"), ENCODERS)
@torch.no_grad()
def test_a_long_text(made: Any, row: Row, both: bool) -> None:
    """So long that distances share buckets, and blocks are left out."""
    inputs = batch("right", time=64, pad=pad_of(row))
    theirs, ours = encoder_of(made.theirs(row, "encoder", both_ways=both)), made.ours(row, "encoder", both_ways=both)
    mine = torched(run_half(NumpyOps(), ours, inputs))
    assert distance(*real(inputs["attention_mask"], mine, theirs(**inputs)[0])) < BOUND


@pytest.mark.parametrize("padding", ["none", "left"])
@pytest.mark.parametrize(("row", "cross"), DECODERS)
@torch.no_grad()
def test_decoder(made: Any, row: Row, cross: bool, padding: str) -> None:
    theirs, ours = made.theirs(row, "decoder", cross), made.ours(row, "decoder", cross)
    inputs = {**batch(padding, pad=pad_of(row)), **(memory(row.source) if cross else {})}
    mine = torched(run_half(NumpyOps(), ours, inputs))
    assert distance(*real(inputs.get("attention_mask"), mine, theirs(**inputs, use_cache=False)[0])) < BOUND
