"""One stack for every spec, as a function of its weights.

ids [rows, time] -> states [rows, time, width] -> logits [rows, time, vocabulary]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from seqgraft.functional.attention import KeysValues, Seen, View, hide
from seqgraft.functional.disentangled import Apart
from seqgraft.functional.layer import Place, layer, remember
from seqgraft.functional.ops import Array, Ops, Size
from seqgraft.functional.positions import (
    Rotation,
    bucket,
    rotation,
    rows_of,
    rows_of_distance,
    sine_table,
    sines_of_distance,
)
from seqgraft.functional.run import Run, activate, lowest, normed
from seqgraft.functional.sparse import block_bias
from seqgraft.functional.streams import ahead
from seqgraft.spec import Constant, Convolution, Layer, Positions, Rotary, Stack, TokenDropout


@dataclass(frozen=True)
class Memory:
    """What a decoder sees of its sources."""

    states: Array | None = None
    """[sources, time, width]; not needed once `remembered`."""
    mask: Array | None = None
    """[sources, time], not 0 where a token may be seen; None means everywhere."""
    remembered: tuple[KeysValues | None, ...] | None = None
    """Each layer's keys and values of them."""
    each: int = 1
    """How many rows look at one source."""


@dataclass(frozen=True)
class Cache:
    """Each layer's keys and values [rows, groups, total, head_width], and how many of `total` are the past's."""

    layers: tuple[KeysValues, ...]
    past: Size


@dataclass
class Record:
    """What a call is asked to keep of its way."""

    states: list[Array] | None = None
    seen: Seen | None = None
    ahead: list[Array] | None = None
    """The last states of the streams that look ahead [rows, streams, time, width]."""


@dataclass(frozen=True)
class Text:
    """What a call reads; ids [rows, time] or their embeddings [rows, time, width], and what says more of them."""

    ids: Array | None = None
    embeddings: Array | None = None
    mask: Array | None = None
    """[rows, past + time], or longer where a cache has room for more; not 0 where a token may be seen."""
    positions: Array | None = None
    token_types: Array | None = None
    everywhere: Array | None = None
    inputs: Mapping[str, Array] = field(default_factory=dict)

    @property
    def first(self) -> Array:
        """Ids or embeddings."""
        return self.embeddings if self.ids is None else self.ids


def constants(spec: Stack) -> dict[str, npt.NDArray[np.float32]]:
    """Tables that no checkpoint holds, computed once: they stand among the weights under these names."""
    if spec.positions is None or spec.positions.kind == "learned":
        return {}
    return {"sines": sine_table(spec.positions, spec.sum_width)}


def empty_cache(ops: Ops, spec: Stack, rows: Size, total: Size, dtype: str) -> Cache:
    """Room for `total` tokens of each row."""
    made = []
    for one in spec.layers:
        own = one.self_attention
        shape = (rows, own.key_value_heads, total, own.head_width)
        made.append((ops.full(shape, 0, dtype), ops.full(shape, 0, dtype)))
    return Cache(tuple(made), 0)


def remembered(run: Run, spec: Stack, states: Array) -> tuple[KeysValues | None, ...]:
    """Each layer's keys and values of an encoder's states [sources, time, memory_width]."""
    owners = spec.shared or tuple(range(len(spec.layers)))
    return tuple(
        remember(run.under(f"layers.{owner}"), one, states) for owner, one in zip(owners, spec.layers, strict=True)
    )


def stack_states(
    run: Run,
    spec: Stack,
    text: Text,
    memory: Memory | None = None,
    cache: Cache | None = None,
    record: Record | None = None,
) -> tuple[Array, Cache | None]:
    """The states [rows, time, width], and the cache with this call's keys and values."""
    ops, record, memory = run.ops, record or Record(), memory or Memory()
    training = run.noise is not None
    time = ops.shape(text.first)[1]
    past = 0 if cache is None else cache.past
    wide = 0
    if spec.streams is not None:  # the first is what the stack gives; the others change nothing of it
        wide = spec.streams.count if training or record.ahead is not None else 1
    x = _embed(run, spec, text, past, time, wide)
    dtype = ops.dtype(x)
    keys = time if cache is None else ops.shape(cache.layers[0][0])[-2]
    views, turns = _geometry(run, spec, text, past, time, keys, wide, dtype)
    memory_bias = None if memory.mask is None else hide(run, memory.mask)
    kept = memory.remembered
    if kept is None and memory.states is not None:
        kept = remembered(run, spec, memory.states)
    prefixes = {block: _prefix(run, spec, block) for block in spec.prefix.blocks} if spec.prefix else {}
    owners = spec.shared or tuple(range(len(spec.layers)))
    beside, written = x, []
    for index, (owner, one) in enumerate(zip(owners, spec.layers, strict=True)):
        if record.states is not None:
            record.states.append(x[:, :time])
        view = _sparse_view(run, one, views[one.self_attention.window], time, index)
        if "self_attention" in prefixes:
            view = replace(view, prefix=prefixes["self_attention"][index])
        place = Place(
            view=view,
            turn=turns.get(one.self_attention.rotary),
            cache=None if cache is None else (*cache.layers[index], past),
            memory=None if kept is None else kept[index],
            memory_bias=memory_bias,
            memory_prefix=prefixes["cross_attention"][index] if "cross_attention" in prefixes else None,
            each=memory.each,
            causal=spec.causal,
            time=time,
            seen=record.seen,
        )
        out, more = layer(run.under(f"layers.{owner}"), one, x, place)
        if run.noise is not None and spec.layer_drop and cache is None:
            out = ops.where(ops.uniform(run.noise.key(), ()) < spec.layer_drop, x, out)
        x = out
        if more is not None:
            written.append(more)
        if index == 0 and spec.convolution is not None:
            mixed = _mixed(run, spec.convolution, beside, text.mask)
            x = run.norm("convolution_norm", one.norm, x + mixed)
    x = _finished(run, spec, x)
    if record.states is not None:
        record.states.append(x[:, :time])
    new = None if cache is None else Cache(tuple(written), past + time)
    if not wide:
        return x, new
    if record.seen is not None:
        record.seen.memory[:] = [seen[:, :, :time] for seen in record.seen.memory]
    if record.ahead is not None:
        rows = ops.shape(x)[0]
        record.ahead.append(ops.reshape(x[:, time:], (rows, wide, time, spec.state_width)))
    return x[:, time : 2 * time], new


def _finished(run: Run, spec: Stack, x: Array) -> Array:
    """What follows the last layer."""
    if spec.final_norm is not None:
        x = run.norm("final_norm", spec.final_norm, x)
    if spec.narrow is not None and spec.narrow.back:
        x = run.linear("narrow_again", x)
    return run.drop(x, spec.final_dropout)


def logits(run: Run, spec: Stack, states: Array) -> Array:
    """states [..., width] -> logits [..., vocabulary]; TypeError without a language-model head."""
    head, ops = spec.head, run.ops
    if head is None:
        raise TypeError("This stack has no language-model head, so it has no logits.")
    transform = head.transform
    if transform is not None:
        states = run.linear("head.dense", states)
        if transform.activation is not None:
            states = activate(ops, transform.activation, states)
        if transform.norm is not None:
            states = run.norm("head.norm", transform.norm, states)
    if head.scale != 1.0:
        states = states * head.scale
    if head.tied and not run.has("head.output.kernel"):
        out = _by_rows(ops, states, run.weight("embed.weight"))
        if head.bias:
            out = out + run.weight("head.output.bias")
    else:
        out = run.linear("head.output", states)
    return out if head.softcap is None else head.softcap * ops.tanh(out / head.softcap)


def _by_rows(ops: Ops, x: Array, table: Array) -> Array:
    """x [..., width] -> [..., rows]: its product with every row of a table.

    Of one token a row the table stands first: XLA would turn the whole of it at every step to have it second.
    """
    shape = ops.shape(x)
    if len(shape) != 3 or not isinstance(shape[1], int) or shape[1] != 1:
        return ops.matmul(x, ops.transpose(table, (1, 0)))
    return ops.transpose(ops.matmul(table, ops.transpose(x[:, 0], (1, 0))), (1, 0))[:, None]


def _embed(run: Run, spec: Stack, text: Text, past: Size, time: Size, streams: int) -> Array:
    ops = run.ops
    if (text.ids is None) == (text.embeddings is None):
        raise ValueError("Exactly one of token ids and embeddings must be given.")
    x = text.embeddings if text.ids is None else _table_rows(run, spec, text.ids)
    if spec.embed_scale != 1.0 and (text.ids is not None or spec.scales_given):
        x = x * ops.cast(ops.array(spec.embed_scale, "float32"), ops.dtype(x))  # rounded as the published models do
    if spec.token_dropout is not None and text.ids is not None:
        x = _without_token(run, spec.token_dropout, x, text.ids, text.mask)
    if spec.joined:
        lead = ops.shape(x)[:-1]
        more = [_constant(run, constant, text.inputs) for constant in spec.joined]
        x = ops.concatenate(
            [x, *(ops.broadcast(m, (*lead, c.width or 0)) for m, c in zip(more, spec.joined, strict=True))], -1
        )
    if spec.narrow is not None and spec.narrow.sums == "wide":
        x = run.linear("widen", x)
    if spec.embed_norm is not None and spec.embed_norm_first:
        x = run.norm("embed_norm", spec.embed_norm, x)
    if spec.token_types:
        x = x + (
            run.weight("token_types.weight")[0]
            if text.token_types is None
            else run.rows("token_types", text.token_types)
        )
    if spec.positions is not None:
        rows = _position_rows(run, spec.positions, text, past, time)
        x = x + ops.cast(_position_table(run, spec.positions, rows), ops.dtype(x))
        if streams:
            x = _with_streams(run, spec.positions, x, rows, streams)
    for constant in spec.constants:
        added = _constant(run, constant, text.inputs) if constant.width is None else None
        x = x if added is None else x + added
    if spec.embed_dropout_first:
        x = run.drop(x, spec.embed_dropout)
    if spec.embed_norm is not None and not spec.embed_norm_first:
        x = run.norm("embed_norm", spec.embed_norm, x)
    if not spec.embed_dropout_first:
        x = run.drop(x, spec.embed_dropout)
    if spec.narrow is not None and spec.narrow.sums == "narrow":
        x = run.linear("widen", x)
    return x


def _table_rows(run: Run, spec: Stack, ids: Array) -> Array:
    """Token embeddings; no gradient goes to the one that padding has, where the spec names it."""
    x = run.rows("embed", ids)
    if spec.padding is None or run.noise is None:
        return x
    return run.ops.where((ids == spec.padding)[..., None], run.ops.constant(x), x)


def _position_rows(run: Run, spec: Positions, text: Text, past: Size, time: Size) -> Array:
    if text.positions is not None:
        return text.positions + spec.offset if spec.given == "places" else text.positions
    if isinstance(past, int) and isinstance(time, int) and past + time > spec.longest:
        raise ValueError(
            f"A sequence must have at most {spec.longest} tokens, the length of the table of positions, "
            f"but has {past + time}."
        )
    return rows_of(run.ops, spec, text.mask, past, time)


def _position_table(run: Run, spec: Positions, rows: Array) -> Array:
    if spec.kind == "learned":
        return run.rows("positions", rows)
    return run.ops.take(run.weight("sines"), rows)


def _with_streams(run: Run, spec: Positions, x: Array, rows: Array, count: int) -> Array:
    """x [rows, time, width] -> [rows, (1 + count) * time, width]: a stream's embedding and the next position's."""
    ops = run.ops
    following = _position_table(run, spec, ops.minimum(rows + 1, spec.rows - 1))
    table = run.weight("streams.weight")
    known = ops.shape(table)[0]
    # As published, the first stream has the table's last row, and the second the first one.
    each = [ops.broadcast(table[(stream - 1) % known] + following, ops.shape(x)) for stream in range(count)]
    return ops.concatenate((x, *each), 1)


def _constant(run: Run, spec: Constant, inputs: Mapping[str, Array]) -> Array | None:
    """What a further input adds, or is joined as, [width] or [rows, time, width]; None where it is nothing."""
    ops = run.ops
    weight = run.weight(f"constants.{spec.name}.weight")
    given = inputs.get(spec.given) if spec.given is not None else None
    if given is None and spec.width is not None:
        return ops.constant(weight[0])
    if given is None:
        return spec.times * weight[0] if spec.times else None
    if not spec.columns:
        found = ops.take(weight, given)
        return found if spec.width is None else ops.where((given == 0)[..., None], ops.constant(found), found)
    out: Any = 0
    for column in spec.columns:
        out = out + ops.take(weight, given[..., column[0]] - (given[..., column[1]] if len(column) > 1 else 0))
    return out


def _without_token(run: Run, spec: TokenDropout, x: Array, ids: Array, mask: Array | None) -> Array:
    """Embeddings [rows, time, width] with those of one token zero, and the others larger for it."""
    ops = run.ops
    gone = ids == spec.token
    length = (
        ops.cast(ops.array(ops.shape(ids)[1]), "float32")
        if mask is None
        else ops.sum(ops.cast(mask != 0, "float32"), -1)
    )
    growth = (1 - spec.rate) / (1 - ops.sum(ops.cast(gone, "float32"), -1) / length)
    kept = ops.where(gone[..., None], ops.cast(ops.array(0.0), ops.dtype(x)), x)
    return ops.cast(ops.cast(kept, "float32") * growth[:, None, None], ops.dtype(x))


def _geometry(
    run: Run, spec: Stack, text: Text, past: Size, time: Size, keys: Size, streams: int, dtype: str
) -> tuple[dict[tuple[int, int] | None, View], dict[Rotary | None, Rotation]]:
    """Views by window and rotations by rotary spec, each computed once, however many layers share it."""
    ops = run.ops
    places = ops.arange(time) + past
    distance = ops.arange(keys)[None, :] - places[:, None]
    relative = spec.layers[0].self_attention.relative
    if spec.streams is not None and relative is not None:
        return {None: View(ahead=ahead(ops, streams, relative, distance, text.mask))}, {}
    shown = None if text.mask is None else hide(run, text.mask)
    shared = None
    if spec.position_bias is not None:
        table = run.rows("position_bias", bucket(ops, spec.position_bias, distance, spec.causal))
        shared = ops.cast(ops.transpose(table, (2, 0, 1))[None], "float32")
    apart = _apart(run, spec, text, distance, keys, past) if spec.distances is not None else None
    views: dict[tuple[int, int] | None, View] = {}
    turns: dict[Rotary | None, Rotation] = {}
    zero = ops.array(0.0, "float32")
    named = None if text.everywhere is None else text.everywhere != 0
    if named is not None and text.mask is not None:
        named = named & (text.mask != 0)
    for one in spec.layers:
        own = one.self_attention
        if own.window not in views:
            bias = shown
            hidden = distance > 0 if spec.causal else None
            if own.window is not None:
                back, forth = own.window
                beyond = (distance < -back) | (distance > forth)
                hidden = beyond if hidden is None else hidden | beyond
            if hidden is not None and own.window is not None and named is not None:
                hidden = hidden[None, None] & ~named[:, None, None, :]
            elif hidden is not None:
                hidden = hidden[None, None]
            if hidden is not None:
                rule = ops.where(hidden, ops.array(lowest(ops, zero), "float32"), zero)
                bias = rule if bias is None else ops.minimum(bias, rule)
            if shared is not None:
                bias = shared if bias is None else bias + shared
            views[own.window] = View(bias, distance, apart, named=named, shown=shown)
        if own.rotary is not None and own.rotary not in turns:
            where = places[None] if text.positions is None else text.positions
            longest = past + time if text.positions is None else ops.max(ops.reshape(where, (-1,)), 0) + 1
            turns[own.rotary] = rotation(ops, own.rotary, where, own.head_width, dtype, longest)
    return views, turns


def _apart(run: Run, spec: Stack, text: Text, distance: Array, keys: Size, past: Size) -> Apart | None:
    """What the layers' scores depend on, of the distances [queries, keys] of keys from queries."""
    ops, own = run.ops, spec.distances
    if own is None:
        return None
    if own.kind == "sines":
        table, rows = sines_of_distance(ops, own, distance, keys, spec.width)
        table = ops.cast(table, ops.dtype(run.weight("embed.weight")))
    else:
        table, rows = run.weight("distances.weight"), rows_of_distance(ops, own, distance)
        if spec.distances_norm is not None:
            table = normed(
                ops,
                spec.distances_norm,
                table,
                run.weight("distances_norm.weight"),
                run.weight("distances_norm.bias") if spec.distances_norm.bias else None,
            )
    other = None
    if text.token_types is not None and spec.relates_segments:
        own_types = text.token_types
        missing = keys - ops.shape(own_types)[1]
        every = ops.pad(own_types, ((0, 0), (past, missing - past)))
        other = ops.cast(own_types[:, :, None] != every[:, None], "int32")
    return Apart(run.drop(table, own.dropout), rows, other)


def _sparse_view(run: Run, one: Layer, view: View, time: Size, index: int) -> View:
    own = one.self_attention
    if own.sparse is None:
        return view
    bias = block_bias(run.ops, own.sparse, time, own.heads, index if run.noise is not None else None)
    return view if bias is None else view.leaned(bias)


def _prefix(run: Run, spec: Stack, block: str) -> list[KeysValues]:
    """Each layer's keys and values that stand before a block's own, [1, groups, length, head_width] either."""
    ops, own = run.ops, spec.prefix
    part = getattr(spec.layers[0], block)
    if own is None:
        return []
    at = run.under(f"prefixes.{block}")
    made = at.linear("down", activate(ops, own.activation, at.linear("up", at.weight("embed.weight"))))
    shape = (own.length, len(spec.layers), 2, part.key_value_heads, part.head_width)
    made = ops.transpose(run.drop(ops.reshape(made, shape), own.dropout), (1, 2, 3, 0, 4))
    return [(made[index, :1], made[index, 1:]) for index in range(len(spec.layers))]


def _mixed(run: Run, spec: Convolution, x: Array, mask: Array | None) -> Array:
    """Neighbours' embeddings [rows, time, width], mixed; hidden tokens count as zeros."""
    ops = run.ops
    rows, time, width = ops.shape(x)
    if mask is not None:
        x = x * ops.cast(mask != 0, ops.dtype(x))[..., None]
    half, part = spec.kernel // 2, width // spec.groups
    padded = ops.pad(x, ((0, 0), (half, half), (0, 0)))
    weight = run.weight("convolution.weight")  # [width, part, kernel]
    out: Any = 0
    for step in range(spec.kernel):
        near = ops.reshape(padded[:, step : step + time], (rows, time, spec.groups, part))
        kernel = ops.transpose(ops.reshape(weight[:, :, step], (spec.groups, part, part)), (0, 2, 1))
        out = out + ops.matmul(ops.transpose(near, (2, 0, 1, 3)), kernel[:, None])
    out = ops.reshape(ops.transpose(out, (1, 2, 0, 3)), (rows, time, width)) + run.weight("convolution.bias")
    return activate(ops, spec.activation, run.drop(out, spec.dropout))
