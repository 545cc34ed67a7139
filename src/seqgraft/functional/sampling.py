"""What sampling draws from, and the draws.

Where `top_k` is set, all that follows looks at its candidates alone; a draw by row needs one random number.
"""

from __future__ import annotations

import math

from seqgraft.functional.ops import Array, Key, Ops
from seqgraft.functional.settings import Settings
from seqgraft.functional.top import highest

_BLOCK = 128


def narrowed(ops: Ops, settings: Settings, scores: Array, vocabulary: int) -> tuple[Array, Array | None]:
    """Scores [rows, vocabulary] -> what may be drawn [rows, count], the rest minus infinity, and which tokens that is.

    None means the vocabulary, in order. The field's order: temperature, `top_k`, `top_p`, `min_p`.
    """
    if settings.temperature != 1.0:
        scores = scores / settings.temperature
    if settings.top_k and max(settings.top_k, settings.least) < vocabulary:
        scores, tokens = highest(ops, scores, max(settings.top_k, settings.least))
        return _cut_ranked(ops, settings, scores), tokens
    if settings.top_p < 1.0:
        scores = _cut_tail(ops, settings, scores, vocabulary)
    if settings.min_p is not None:
        low = ops.exp(scores - ops.max(scores, -1, keepdims=True)) < settings.min_p
        if settings.least > 1:
            kept, _ = highest(ops, scores, min(settings.least, vocabulary))
            low = low & (scores < kept[:, -1:])
        scores = ops.where(low, ops.array(-math.inf, "float32"), scores)
    return scores, None


def _cut_ranked(ops: Ops, settings: Settings, scores: Array) -> Array:
    """Scores [rows, count], best first, without what `top_p` and `min_p` cut."""
    banned = ops.array(-math.inf, "float32")
    count = int(ops.shape(scores)[1])
    cuttable = (ops.arange(count) >= settings.least)[None]
    if settings.top_p < 1.0:  # Holtzman et al. 2019: cut where those before have the mass already
        chances = ops.softmax(scores)
        before = ops.cumsum(chances, 1) - chances
        scores = ops.where(cuttable & (before >= settings.top_p), banned, scores)
    if settings.min_p is not None:  # Nguyen et al. 2024
        low = ops.exp(scores - scores[:, :1]) < settings.min_p
        scores = ops.where(cuttable & low, banned, scores)
    return scores


def _cut_tail(ops: Ops, settings: Settings, scores: Array, vocabulary: int) -> Array:
    """Scores [rows, vocabulary] without what `top_p` cuts, where no candidates were taken before."""
    ordered = ops.sort(scores)
    removed = ops.cumsum(ops.softmax(ordered), 1) <= 1 - settings.top_p
    count = ops.sum(ops.cast(removed, "int32"), 1, keepdims=True)
    worst = ops.gather(ordered, ops.minimum(count, vocabulary - min(settings.least, vocabulary)))
    return ops.where(scores < worst, ops.array(-math.inf, "float32"), scores)


def drawn(ops: Ops, scores: Array, key: Key) -> Array:
    """One of each row of scores [rows, count] by their softmax, [rows] int32."""
    rows, count = ops.shape(scores)
    weights = ops.exp(scores - ops.max(scores, -1, keepdims=True))
    chance = ops.uniform(key, (rows, 1))
    if count <= 2 * _BLOCK:
        return _reached(ops, weights, chance * ops.sum(weights, -1, keepdims=True))
    blocks = -(-count // _BLOCK)
    weights = ops.pad(weights, ((0, 0), (0, blocks * _BLOCK - count)))
    sums = ops.sum(ops.reshape(weights, (rows, blocks, _BLOCK)), -1)
    target = chance * ops.sum(sums, -1, keepdims=True)
    block = _reached(ops, sums, target)[:, None]
    before = ops.gather(ops.cumsum(sums, 1) - sums, block)
    inside = ops.gather(weights, block * _BLOCK + ops.arange(_BLOCK)[None])
    return block[:, 0] * _BLOCK + _reached(ops, inside, target - before)


def _reached(ops: Ops, weights: Array, target: Array) -> Array:
    """Where the running sum of weights [rows, count] passes target [rows, 1], never where none is, [rows]."""
    passes = (ops.cumsum(weights, 1) > target) & (weights > 0)
    # Rounded sums may end short of the target: then the last that has weight is meant.
    place = ops.where(ops.any(passes, -1), ops.argmax(ops.cast(passes, "float32")), _last(ops, weights))
    return ops.cast(place, "int32")


def _last(ops: Ops, weights: Array) -> Array:
    """The last of each row that has weight, [rows]."""
    count = ops.shape(weights)[1]
    return ops.argmax(ops.cast(weights > 0, "float32") * ops.cast(ops.arange(count) + 1, "float32")[None])


def raced(ops: Ops, scores: Array, count: int, key: Key) -> Array:
    """`count` of each row of scores [rows, n] by their softmax, without replacement, [rows, count], in their order.

    Gumbel noise makes a race of it (Efraimidis & Spirakis 2006; Kool et al. 2019).
    """
    chance = ops.uniform(key, ops.shape(scores))
    noise = -ops.log(-ops.log(ops.maximum(chance, 1e-30)))
    return highest(ops, scores + noise, count)[1]
