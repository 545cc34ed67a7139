"""JAX computes what the reference computes, for every family."""

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("jax")

from seqgraft.flax.ops import JaxOps

from ..families.rows import Row, batch, distance, encoder_of, pad_of
from ..functional.cases import BOUND, DECODERS, ENCODERS, run_half
from ..torch.test_family_mathematics import memory, real


def torched(x: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(x))


@pytest.mark.parametrize(("row", "both"), ENCODERS)
@torch.no_grad()
def test_encoder(made: Any, row: Row, both: bool) -> None:
    theirs = encoder_of(made.theirs(row, "encoder", both_ways=both))
    inputs = batch("right", pad=pad_of(row))
    mine = torched(run_half(JaxOps(), made.ours(row, "encoder", both_ways=both), inputs))
    mask = inputs["attention_mask"] if row.sees_back or not row.shows_padding else None
    assert distance(*real(mask, mine, theirs(**inputs)[0])) < BOUND


@pytest.mark.parametrize(("row", "cross"), DECODERS)
@torch.no_grad()
def test_decoder(made: Any, row: Row, cross: bool) -> None:
    theirs, ours = made.theirs(row, "decoder", cross), made.ours(row, "decoder", cross)
    inputs = {**batch("left", pad=pad_of(row)), **(memory(row.source) if cross else {})}
    mine = torched(run_half(JaxOps(), ours, inputs))
    assert distance(*real(inputs.get("attention_mask"), mine, theirs(**inputs, use_cache=False)[0])) < BOUND
