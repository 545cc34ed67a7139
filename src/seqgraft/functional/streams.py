"""Streams that look ahead beside the one that reads the text (Qi et al. 2020)."""

from dataclasses import dataclass

from seqgraft.functional.ops import Array, Ops, Size
from seqgraft.functional.positions import bucket
from seqgraft.functional.run import Run, lowest
from seqgraft.spec import Buckets


@dataclass(frozen=True)
class Ahead:
    """What the streams of one call see; the queries are the main ones and then those of each stream."""

    count: int
    """Streams beside the main one; 0 where nobody asks for them."""
    near: Array
    """Bucket of a key for a main query [time, keys]."""
    far: Array
    """Bucket of a main key for a stream's query: a place further [time, keys]."""
    bias: Array
    """On the scores of main keys [rows or 1, 1, (1 + count) * time, keys], very negative where hidden."""


def ahead(ops: Ops, count: int, buckets: Buckets, distance: Array, mask: Array | None) -> Ahead:
    """Of a key's position minus a query's [time, keys]; mask [rows, keys]."""
    keys = ops.arange(ops.shape(distance)[1])
    parts = [distance > 0, *((distance > -k) & (keys > 0) for k in range(count))]
    hidden = ops.concatenate(parts, 0)[None, None]
    if mask is not None:
        hidden = hidden | (mask == 0)[:, None, None, :]
    zero = ops.array(0.0, "float32")
    bias = ops.where(hidden, ops.array(lowest(ops, zero), "float32"), zero)
    return Ahead(count, bucket(ops, buckets, distance, True), bucket(ops, buckets, distance - 1, True), bias)


def attend_ahead(
    run: Run,
    query: Array,
    main: tuple[Array, Array],
    own: tuple[Array, ...],
    leaning: Array,
    view: Ahead,
    scale: float,
    dropout: float,
    time: Size,
) -> tuple[Array, Array]:
    """Every query sees main keys, and one of a stream itself beside them.

    query [rows, heads, (1 + count) * time, head_width]; main keys and values [rows, heads, keys, head_width]; the
    streams' own [rows, heads, count * time, head_width]; leaning [rows, heads, (1 + count) * time, buckets], what each
    bucket adds to a query's scores. Returns states shaped as `query`, and the main probabilities.
    """
    ops = run.ops
    index = ops.concatenate((view.near, *(view.far for _ in range(view.count))), 0)[None, None]
    scores = ops.matmul(query, ops.transpose(main[0], (0, 1, 3, 2))) * scale
    scores = scores + ops.gather(leaning, index) + view.bias
    seen = ops.softmax(scores[:, :, :time])
    first = ops.matmul(run.drop(seen, dropout), main[1])
    if not view.count:
        return first, seen
    alone = ops.sum(query[:, :, time:] * own[0], -1, keepdims=True) * scale + leaning[:, :, time:, :1]
    both = run.drop(ops.softmax(ops.concatenate((scores[:, :, time:], alone), -1)), dropout)
    others = ops.matmul(both[..., :-1], main[1]) + both[..., -1:] * own[1]
    return ops.concatenate((first, others), 2), seen
