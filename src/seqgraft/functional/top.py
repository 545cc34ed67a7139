"""The few highest of many, as compiled programs find them fast."""

from __future__ import annotations

from seqgraft.functional.ops import Array, Ops

_BLOCK = 128
_LONG = 4096
"""Numbers in a row below which one search is as fast."""


def highest(ops: Ops, x: Array, count: int) -> tuple[Array, Array]:
    """The `count` highest of each row of x [rows, n] and their places, the first of equal ones first.

    XLA sorts whole rows for this. So the highest of each block come first: whatever is among the `count` best stands in
    one of the `count` blocks that have the highest maxima.
    """
    length = ops.shape(x)[-1]
    if not isinstance(length, int) or length < _LONG or count * _BLOCK * 2 > length:
        return ops.top_k(x, count)
    rows, blocks = ops.shape(x)[0], -(-length // _BLOCK)
    more = blocks * _BLOCK - length
    if more:  # below everything, and behind it
        low = ops.cast(ops.full((rows, more), float("-inf"), "float32"), ops.dtype(x))
        x = ops.concatenate((x, low), 1)
    best = ops.max(ops.reshape(x, (rows, blocks, _BLOCK)), 2)
    chosen = ops.sort(ops.top_k(best, count)[1])  # in order again, so that the first of equal ones is found first
    places = ops.reshape(chosen[..., None] * _BLOCK + ops.arange(_BLOCK), (rows, count * _BLOCK))
    values, order = ops.top_k(ops.gather(x, places), count)
    return values, ops.gather(places, order)
