"""One attention block: projections, heads, what is seen, and the softmax."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from seqgraft.functional.disentangled import Apart, of_contents, scores_apart
from seqgraft.functional.ops import Array, Size
from seqgraft.functional.positions import Rotation, bucket, rotate, slopes
from seqgraft.functional.run import Run, lowest, normed
from seqgraft.functional.sparse import everywhere
from seqgraft.functional.streams import Ahead, attend_ahead
from seqgraft.spec import Attention

KeysValues = tuple[Array, Array]

_FEW = 16
"""Queries of a source (and group of heads) beside which its keys are the larger matrix."""


@dataclass(frozen=True)
class View:
    """What the queries of one call see of the keys."""

    bias: Array | None = None
    """[rows or 1, heads or 1, queries or 1, keys], very negative where hidden."""
    distance: Array | None = None
    """The key's position minus the query's [queries, keys], where a stack's own keys are looked at."""
    apart: Apart | None = None
    """What scores depend on of distances and contents together."""
    ahead: Ahead | None = None
    """What streams see, where there are some; it then says all that there is to say."""
    named: Array | None = None
    """Tokens that see everything [rows, time], true for them."""
    shown: Array | None = None
    """What they see of it [rows or 1, 1, 1, keys]; None means all."""
    prefix: KeysValues | None = None
    """Keys and values [1, groups, length, head_width] that stand before the others, and that all queries see."""

    def leaned(self, more: Array) -> View:
        """With a bias more."""
        return replace(self, bias=more if self.bias is None else self.bias + more)


@dataclass
class Seen:
    """Probabilities that a call is asked to keep, layer by layer."""

    own: list[Array] = field(default_factory=list)
    memory: list[Array] = field(default_factory=list)


def split(run: Run, spec: Attention, x: Array, heads: int) -> Array:
    """[rows, time, heads * head_width] -> [rows, heads, time, head_width]"""
    ops = run.ops
    if spec.clip is not None:
        x = ops.minimum(ops.maximum(x, -spec.clip), spec.clip)
    rows, time = ops.shape(x)[:2]
    return ops.transpose(ops.reshape(x, (rows, time, heads, spec.head_width)), (0, 2, 1, 3))


def queries(run: Run, spec: Attention, x: Array, turn: Rotation | None) -> Array:
    """x [rows, time, width] -> [rows, heads, time, head_width]"""
    return _shaped(run, spec, "query", run.linear("query", x), spec.heads, turn)


def keys_values(run: Run, spec: Attention, x: Array, turn: Rotation | None) -> KeysValues:
    """x [rows, time, width] -> keys and values [rows, groups, time, head_width]"""
    groups = spec.key_value_heads
    key = _shaped(run, spec, "key", run.linear("key", x), groups, turn)
    value = split(run, spec, run.linear("value", x), groups)
    if turn is not None and spec.rotary is not None and spec.rotary.values:
        value = _turned(run, spec, value, turn)
    return key, value


def _shaped(run: Run, spec: Attention, part: str, x: Array, heads: int, turn: Rotation | None) -> Array:
    """Projected queries or keys, split, normed and turned."""
    norm, spans, name = spec.head_norm, spec.head_norm_spans, f"{part}_norm"
    if norm is not None and spans == "all":
        x = run.norm(name, norm, x)
    x = split(run, spec, x, heads)
    if norm is not None and spans == "head":
        x = run.norm(name, norm, x)
    elif norm is not None and spans in ("each", "apart"):
        if spans == "each":
            weight = run.weight(f"{name}.weight")
        else:
            weight = run.ops.concatenate([run.weight(f"{name}.{head}.weight")[None] for head in range(heads)], 0)
        x = normed(run.ops, norm, x, weight[:, None])
    return x if turn is None or spec.rotary is None else _turned(run, spec, x, turn)


def _turned(run: Run, spec: Attention, x: Array, turn: Rotation) -> Array:
    if spec.rotary is None:
        return x
    return rotate(run.ops, x, turn, spec.rotary.width or spec.head_width, spec.head_width, spec.rotary.layout)


def lean(run: Run, spec: Attention, view: View, causal: bool) -> View:
    """The view with what this block's own positions add to the scores."""
    ops = run.ops
    if spec.alibi is not None and view.distance is not None:
        steep = ops.array(spec.alibi_scale * slopes(spec.heads, spec.alibi), "float32")[:, None, None]
        view = view.leaned(-ops.cast(ops.abs(view.distance), "float32")[None] * steep)
    if spec.buckets is not None and view.distance is not None:
        table = run.rows("position_bias", bucket(ops, spec.buckets, view.distance, causal))
        view = view.leaned(ops.transpose(table, (2, 0, 1))[None])
    return view


def attention(
    run: Run,
    spec: Attention,
    x: Array,
    view: View,
    query: Array,
    key: Array,
    value: Array,
    seen: list[Array] | None,
    each: int = 1,
) -> Array:
    """x [rows, time, width] -> [rows, time, width]; query, key and value as the functions above make them.

    `each` rows share one source's keys and values, which are not repeated: they become more queries of one attention.
    """
    ops = run.ops
    scale = spec.scale if spec.scale is not None else spec.head_width**-0.5
    if spec.disentangled is not None and view.apart is not None:
        view = view.leaned(scale * scores_apart(run, spec, spec.disentangled, query, key, view.apart))
        query = of_contents(run, spec.disentangled, query)
    if view.prefix is not None:
        rows = ops.shape(key)[0]
        key, value = (
            ops.concatenate((ops.broadcast(one, (rows, *ops.shape(one)[1:])), own), 2)
            for one, own in zip(view.prefix, (key, value), strict=True)
        )
        if view.bias is not None:
            length = ops.shape(view.prefix[0])[2]
            view = replace(view, bias=ops.pad(view.bias, ((0, 0), (0, 0), (0, 0), (length, 0))))
    states, probabilities = _attend(run, spec, query, key, value, view.bias, scale, each)
    if spec.everywhere and view.named is not None:
        states, probabilities = everywhere(run, spec, x, view.named, view.shown, states, probabilities, scale)
    if seen is not None:
        seen.append(probabilities)
    return merged(run, states)


def merged(run: Run, states: Array) -> Array:
    """[rows, heads, time, head_width] -> [rows, time, width], through the output map."""
    rows, heads, time, width = run.ops.shape(states)
    flat = run.ops.reshape(run.ops.transpose(states, (0, 2, 1, 3)), (rows, time, heads * width))
    return run.linear("output", flat)


def _attend(
    run: Run, spec: Attention, query: Array, key: Array, value: Array, bias: Array | None, scale: float, each: int
) -> tuple[Array, Array]:
    """softmax(query key^T * scale + bias) value, and the softmax, [rows, heads, queries, ...] both.

    query [rows, heads, queries, head_width]; key and value [sources, groups, keys, head_width].
    """
    ops = run.ops
    rows, heads, count, width = ops.shape(query)
    groups, alike = spec.key_value_heads, spec.heads // spec.key_value_heads
    sources = ops.shape(key)[0]
    if each > 1:
        query = ops.transpose(ops.reshape(query, (sources, each, heads, count, width)), (0, 2, 1, 3, 4))
    folded = alike * each * count
    query = ops.reshape(query, (sources, groups, folded, width))
    if isinstance(folded, int) and folded <= _FEW:  # keys stand first, or XLA would turn all of them at every step
        scores = ops.transpose(ops.matmul(key, ops.transpose(query, (0, 1, 3, 2))), (0, 1, 3, 2)) * scale
    else:
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * scale
    scores = ops.reshape(scores, (sources, heads, each * count, ops.shape(key)[2]))
    if spec.softcap is not None:
        scores = spec.softcap * ops.tanh(scores / spec.softcap)
    dtype = ops.dtype(scores)
    scores = ops.cast(scores, "float32")
    if bias is not None:
        scores = scores + ops.cast(bias, "float32")
    if spec.sink:
        nothing = ops.cast(run.weight("sink"), "float32")[None, :, None, None]
        nothing = ops.broadcast(nothing, (*ops.shape(scores)[:3], 1))
        seen = ops.softmax(ops.concatenate((scores, nothing), -1))[..., :-1]
    else:
        seen = ops.softmax(scores)
    seen = ops.cast(seen, dtype)
    by_group = ops.reshape(run.drop(seen, spec.dropout), (sources, groups, folded, ops.shape(key)[2]))
    states = ops.matmul(by_group, value)
    return (
        _unfolded(run, states, (sources, heads, each, count, width), rows),
        _unfolded(run, seen, (sources, heads, each, count, ops.shape(key)[2]), rows),
    )


def _unfolded(run: Run, x: Array, shape: tuple[Size, ...], rows: Size) -> Array:
    """[sources, groups, folded queries, n] -> [rows, heads, queries, n]"""
    sources, heads, each, count, last = shape
    if each == 1:
        return run.ops.reshape(x, (rows, heads, count, last))
    x = run.ops.transpose(run.ops.reshape(x, (sources, heads, each, count, last)), (0, 2, 1, 3, 4))
    return run.ops.reshape(x, (rows, heads, count, last))


def joined(run: Run, memory: KeysValues, memory_bias: Array | None, own: KeysValues, view: View, each: int) -> Any:
    """A memory's keys and values before the stack's own, and the view of both."""
    ops = run.ops
    rows, count = ops.shape(own[0])[0], ops.shape(own[0])[2]
    length = ops.shape(memory[0])[2]
    key, value = (
        ops.concatenate((ops.repeat(m, each, 0) if each > 1 else m, o), 2) for m, o in zip(memory, own, strict=True)
    )
    if view.bias is None and memory_bias is None:
        return key, value, view
    queries_ = 1 if view.bias is None else ops.shape(view.bias)[2]
    heads = 1 if view.bias is None else ops.shape(view.bias)[1]
    left = ops.full((1, 1, 1, length), 0.0, "float32") if memory_bias is None else ops.cast(memory_bias, "float32")
    left = ops.repeat(left, each, 0) if each > 1 and memory_bias is not None else left
    right = ops.full((1, 1, 1, count), 0.0, "float32") if view.bias is None else ops.cast(view.bias, "float32")
    both = (
        ops.broadcast(left, (rows, heads, queries_, length)),
        ops.broadcast(right, (rows, heads, queries_, count)),
    )
    return key, value, replace(view, bias=ops.concatenate(both, -1))


def streams(run: Run, spec: Attention, x: Array, view: Ahead, own: KeysValues, main: KeysValues, time: Size) -> Any:
    """x [rows, (1 + streams) * time, width] -> the same shape, and the main probabilities.

    `own` are keys and values of all, `main` those of the text, the past's among them.
    """
    ops = run.ops
    count = spec.relative.count if spec.relative is not None else 0
    query = queries(run, spec, x, None)
    rows, queries_ = ops.shape(x)[0], ops.shape(x)[1]
    leaning = ops.reshape(run.linear("relative", x), (rows, queries_, count, spec.heads))
    leaning = ops.transpose(leaning, (0, 3, 1, 2))
    scale = spec.scale if spec.scale is not None else spec.head_width**-0.5
    beside = tuple(part[:, :, time:] for part in own)
    states, seen = attend_ahead(run, query, main, beside, leaning, view, scale, spec.dropout, time)
    return merged(run, states), seen


def hide(run: Run, mask: Array) -> Array:
    """mask [rows, keys], not 0 where visible -> bias [rows, 1, 1, keys]."""
    return run.ops.where(mask != 0, np.float32(0), np.float32(lowest(run.ops, run.ops.array(0.0, "float32"))))[
        :, None, None, :
    ]
