"""Attention to a few blocks (Zaheer et al. 2020), and tokens that see everything (Beltagy et al. 2020)."""

import numpy as np

from seqgraft.drawing import drawn
from seqgraft.functional.ops import Array, Ops, Size
from seqgraft.functional.run import Run
from seqgraft.spec import Attention, BlockSparse

_LEAST = np.float32(-1e30)


def block_bias(ops: Ops, spec: BlockSparse, time: Size, heads: int, layer: int | None) -> Array | None:
    """What few blocks come to as a bias on all scores [1, heads or 1, time, time]; None where the text sees all of
    itself. `layer` is the number from which training draws, None outside training.

    A block that counts n times has the logarithm of n. Raises ValueError for a length that is not known when compiled.
    """
    if not isinstance(time, int):
        raise ValueError(
            "Block-sparse attention needs a length that is known when a program is compiled: give `input_ids` of a "
            "fixed length."
        )
    if time <= spec.full:
        return None
    count = -(-time // spec.block)
    place = np.arange(count)
    counts = np.repeat((np.abs(place[:, None] - place) <= 1)[None], 1 if layer is None else heads, 0).astype(np.float32)
    counts[:, :, 0] = counts[:, :, -1] = 1
    if layer is None:
        counts[:, :, 0] += spec.drawn
    elif spec.drawn:
        found = drawn(spec, count, heads, layer)
        for head in range(heads):
            np.add.at(counts[head, 1:-1], (np.arange(count - 2)[:, None], found[head]), 1)
    counts[:, 0] = counts[:, -1] = 1
    with np.errstate(divide="ignore"):
        bias = np.maximum(np.log(counts), _LEAST)
    whole = ops.repeat(ops.repeat(ops.array(bias, "float32"), spec.block, 1), spec.block, 2)
    return whole[None, :, :time, :time]


def everywhere(
    run: Run, spec: Attention, x: Array, named: Array, shown: Array | None, states: Array, seen: Array, scale: float
) -> tuple[Array, Array]:
    """States and probabilities, those of named tokens replaced: what they see, with projections of their own.

    x [rows, time, width]; named [rows, time], true for them; shown [rows, 1, 1, time], a bias.
    """
    ops = run.ops
    own = run.under("everywhere")
    rows, time = ops.shape(x)[:2]
    query, key, value = (
        ops.transpose(ops.reshape(own.linear(part, x), (rows, time, spec.heads, spec.head_width)), (0, 2, 1, 3))
        for part in ("query", "key", "value")
    )
    scores = ops.cast(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * scale, "float32")
    seats = ops.cast(ops.softmax(scores if shown is None else scores + shown), ops.dtype(x))
    found = ops.matmul(run.drop(seats, spec.dropout), value)
    here = named[:, None, :, None]
    return ops.where(here, found, states), ops.where(here, seats, seen)
