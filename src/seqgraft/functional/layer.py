"""One layer: self-attention, cross-attention if any, feed-forward, each with its residual and norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from seqgraft.functional.attention import (
    KeysValues,
    Seen,
    View,
    attention,
    joined,
    keys_values,
    lean,
    queries,
    streams,
)
from seqgraft.functional.ops import Array, Size
from seqgraft.functional.positions import Rotation
from seqgraft.functional.run import Run, activate
from seqgraft.spec import Adapter, Experts, FeedForward, Inserted, Layer


@dataclass(frozen=True)
class Place:
    """Where one layer's call stands: what it sees of its own stack and of a memory."""

    view: View
    turn: Rotation | None = None
    cache: tuple[Array, Array, Size] | None = None
    """Keys and values [rows, groups, total, head_width] so far, and how many of them are the past's.

    Or [rows * groups, total, head_width], as a loop of one row carries them: this is the shape that XLA's products
    read. Of another it writes the new token's twice at every step, once into a copy of the whole.
    """
    memory: KeysValues | None = None
    memory_bias: Array | None = None
    """On the scores of the memory [sources, 1, 1, keys]."""
    memory_prefix: KeysValues | None = None
    each: int = 1
    """How many rows look at one source."""
    causal: bool = False
    time: Size = 0
    """Tokens of the text in this call, streams not counted."""
    seen: Seen | None = None


def layer(run: Run, spec: Layer, x: Array, place: Place) -> tuple[Array, KeysValues | None]:
    """x [rows, time, width] -> the same shape, and the cache with this call's keys and values."""
    if spec.inserted is not None and place.memory is not None:
        x = _inserted(run.under("inserted"), spec.inserted, x, place)
    before = _before(run, spec, "self_attention", x)
    attended, kept = _self(run.under("self_attention"), spec, before, place)
    if spec.order == "parallel":
        forward = before if spec.one_norm else _before(run, spec, "feed_forward", x)
        out = feed_forward(run.under("feed_forward"), spec.feed_forward, forward)
        return x + _dropped(run, spec, "self_attention", attended) + _dropped(run, spec, "feed_forward", out), kept
    x = _add(run, spec, "self_attention", x, attended, place)
    if spec.cross_attention is not None and place.memory is not None:
        before = _before(run, spec, "cross_attention", x)
        looked = _look(run.under("cross_attention"), spec.cross_attention, before, place)
        x = _add(run, spec, "cross_attention", x, looked, place)
    out = feed_forward(run.under("feed_forward"), spec.feed_forward, _before(run, spec, "feed_forward", x))
    return _add(run, spec, "feed_forward", x, out, place), kept


def remember(run: Run, spec: Layer, states: Array) -> KeysValues | None:
    """What this layer makes of an encoder's states [sources, time, memory_width]; None where it does not look."""
    if spec.looks is None:
        return None
    name = "inserted.cross_attention" if spec.inserted else "self_attention" if spec.merged else "cross_attention"
    return keys_values(run.under(name), spec.looks, states, None)


def _self(run: Run, spec: Layer, x: Array, place: Place) -> tuple[Array, KeysValues | None]:
    own, ops, view = spec.self_attention, run.ops, place.view
    key, value = keys_values(run, own, x, place.turn)
    if view.ahead is not None:
        main = key[:, :, : place.time], value[:, :, : place.time]
        kept, shown = _kept(run, place, main)
        out, seen = streams(run, own, x, view.ahead, (key, value), shown, place.time)
        if place.seen is not None:
            place.seen.own.append(seen)
        return out, kept
    kept, (key, value) = _kept(run, place, (key, value))
    view = lean(run, own, view, place.causal)
    if spec.merged and place.memory is not None:
        key, value, view = joined(run, place.memory, place.memory_bias, (key, value), view, place.each)
    query = queries(run, own, x, place.turn)
    out = attention(run, own, x, view, query, key, value, None if place.seen is None else place.seen.own)
    return ops.cast(out, ops.dtype(x)), kept


def _kept(run: Run, place: Place, new: KeysValues) -> tuple[KeysValues | None, KeysValues]:
    """The cache with these keys and values, and what is seen of them [rows, groups, total, head_width]."""
    if place.cache is None:
        return None, new
    key, value = (_written(run, into, part, place.cache[2]) for into, part in zip(place.cache[:2], new, strict=True))
    return (key, value), (_like(run, key, new[0]), _like(run, value, new[1]))


def _written(run: Run, into: Array, part: Array, past: Size) -> Array:
    ops = run.ops
    if len(ops.shape(into)) == 4:
        return ops.write(into, part, past, 2)
    rows, groups, time, width = ops.shape(part)
    return ops.write(into, ops.reshape(part, (rows * groups, time, width)), past, 1)


def _like(run: Run, kept: Array, part: Array) -> Array:
    """A cache with its rows and groups apart."""
    ops = run.ops
    rows, groups, _, width = ops.shape(part)
    return kept if len(ops.shape(kept)) == 4 else ops.reshape(kept, (rows, groups, ops.shape(kept)[1], width))


def _look(run: Run, spec: Any, x: Array, place: Place) -> Array:
    key, value = place.memory or (None, None)
    view = View(bias=place.memory_bias, prefix=place.memory_prefix)
    query = queries(run, spec, x, None)
    kept = None if place.seen is None else place.seen.memory
    if place.each > 1 and view.prefix is None:
        return attention(run, spec, x, view, query, key, value, kept, place.each)
    if place.each > 1:
        ops = run.ops
        key, value = ops.repeat(key, place.each, 0), ops.repeat(value, place.each, 0)
        bias = None if view.bias is None else ops.repeat(view.bias, place.each, 0)
        view = View(bias=bias, prefix=view.prefix)
    return attention(run, spec, x, view, query, key, value, kept)


def _inserted(run: Run, spec: Inserted, x: Array, place: Place) -> Array:
    """x + gate * attention(norm(x)), then x + gate * feed_forward(norm(x))."""
    tanh = run.ops.tanh
    out = _look(
        run.under("cross_attention"), spec.cross_attention, run.norm("cross_attention_norm", spec.norm, x), place
    )
    x = x + (out * tanh(run.weight("cross_attention.gate")) if spec.cross_attention.gate else out)
    out = feed_forward(run.under("feed_forward"), spec.feed_forward, run.norm("feed_forward_norm", spec.norm, x))
    return x + (out * tanh(run.weight("gate")) if spec.gate else out)


def _before(run: Run, spec: Layer, block: str, x: Array) -> Array:
    """What a block reads."""
    name = f"{block}_norm"
    return x if name not in spec.norms or spec.order in ("post", "after") else run.norm(name, spec.norm, x)


def _add(run: Run, spec: Layer, block: str, x: Array, out: Array, place: Place) -> Array:
    """The residual, and the norm over it or over what is added."""
    if spec.order in ("sandwich", "after"):
        out = run.norm(f"{block}_post_norm" if spec.order == "sandwich" else f"{block}_norm", spec.norm, out)
    if block == "cross_attention" and spec.cross_attention is not None and spec.cross_attention.gate:
        out = out * run.ops.tanh(run.weight("cross_attention.gate"))  # after the norm, which would undo it
    x = x + _dropped(run, spec, block, out)
    if spec.adapter is not None and block == "feed_forward":
        x = _adapted(run, spec, spec.adapter, x)
    return run.norm(f"{block}_norm", spec.norm, x) if spec.order == "post" else x


def _adapted(run: Run, spec: Layer, adapter: Adapter, x: Array) -> Array:
    normed = x
    if adapter.norm is not None:
        normed = run.norm("feed_forward_norm" if adapter.norm == "feed_forward" else "adapter_norm", spec.norm, x)
    own = run.under("adapter")
    out = own.linear("down", activate(run.ops, adapter.activation, own.linear("up", normed)))
    return (normed if adapter.normed_residual else x) + run.drop(out, spec.dropout)


def _dropped(run: Run, spec: Layer, block: str, out: Array) -> Array:
    if spec.residual_scale != 1.0:
        out = out * spec.residual_scale
    forward = spec.feed_forward_dropout if block == "feed_forward" else None
    return run.drop(out, spec.dropout if forward is None else forward)


def feed_forward(run: Run, spec: FeedForward | Experts, x: Array) -> Array:
    """x [..., width] -> the same shape."""
    if isinstance(spec, Experts):
        return _experts(run, spec, x)
    ops = run.ops
    up = run.linear("up", x)
    if not spec.gated:
        inner = activate(ops, spec.activation, up)
    else:
        gate = run.linear("gate", x)
        if spec.clamp is not None:
            gate = ops.minimum(gate, spec.clamp)
            up = ops.minimum(ops.maximum(up, -spec.clamp), spec.clamp) + 1
        inner = activate(ops, spec.activation, gate) * up
    return run.linear("down", run.drop(inner, spec.dropout))


def _experts(run: Run, spec: Experts, x: Array) -> Array:
    """Every expert sees every token, and those that were not chosen weigh 0, so that no shape depends on it."""
    ops = run.ops
    scores = run.linear("router", x)
    best, chosen = ops.top_k(ops.cast(scores, "float32"), spec.chosen)
    weights = ops.softmax(best)
    out: Array = 0.0
    for expert in range(spec.count):
        share = ops.sum(ops.where(chosen == expert, weights, ops.array(0.0, "float32")), -1, keepdims=True)
        made = feed_forward(run.under(f"experts.{expert}"), spec.each, x)
        out = out + made * ops.cast(share, ops.dtype(made))
    return out
