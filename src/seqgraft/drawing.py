"""Which blocks training draws for block-sparse attention (Zaheer et al. 2020): the same in every framework."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from seqgraft.spec import BlockSparse

_OLD_PLAN = (1024, 3072, 4096)
"""Lengths for which blocks are drawn as the paper's own experiments did it, among the first 1024 tokens."""


@lru_cache(maxsize=256)
def drawn(spec: BlockSparse, count: int, heads: int, layer: int) -> npt.NDArray[np.int64]:
    """What training draws for the blocks between the first and the last [heads, count - 2, drawn].

    The published models take the layer's number for the seed, in each call again.
    """
    random = np.random.RandomState(layer)
    if count * spec.block in _OLD_PLAN:
        planned = spec.planned // spec.block
        rows = [[random.permutation(_old(spec, planned, i)) for i in range(1, planned - 1)] for _ in range(heads)]
        return np.array([[row[: spec.drawn] for row in head[: count - 2]] for head in rows], dtype=np.int64)
    among = 5 + 2 * spec.drawn
    chosen = np.empty((heads, count - 2, spec.drawn), dtype=np.int64)
    for i in range(1, count - 1):
        hidden = {i - 1, i, i + 1, 0, among - 1, *([among - 2] if i == 1 else []), *([1] if i == among - 2 else [])}
        for head in range(heads):
            order = random.permutation(np.arange(among, dtype=np.int32))
            chosen[head, i - 1] = [block for block in order if block not in hidden][: spec.drawn]
    return chosen


def _old(spec: BlockSparse, planned: int, i: int) -> npt.NDArray[np.int32]:
    """From which blocks the paper's old plan draws for block `i`."""
    last = 1024 // spec.block - 1 if 2 * spec.block < 1024 else planned - 1
    inner = np.arange(1, planned - 1, dtype=np.int32)
    if i <= 2:
        return inner[i + 1 : last]
    if i >= planned - 3:
        return inner[:last]
    if i - 2 > last:
        return inner[:last]
    return inner[: i - 2] if i + 1 == last else np.concatenate((inner[: i - 2], inner[i + 1 : last]))
