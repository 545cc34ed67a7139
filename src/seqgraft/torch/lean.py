"""One decoding step of a layer as straight-line code: the same lines as `layers.py`, for one new token a row.

At a batch of one a step is over in microseconds a layer, and what modules, views and branches cost counts as much as
the products. So what never changes between steps (norms, projections, the order of the blocks) is settled when a
stack is prepared, and a step works on [rows, width].
"""

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqgraft.torch.attention import Attention, View, attend
from seqgraft.torch.cache import LayerCache
from seqgraft.torch.feed_forward import FeedForward
from seqgraft.torch.layers import Layer
from seqgraft.torch.norm import Norm
from seqgraft.torch.product import Linear, Packed, watched
from seqgraft.torch.rotary import Rotation

Kept = tuple[Tensor, Tensor]
Step = Callable[[Tensor, View, Rotation | None, LayerCache, Kept | None, View], Tensor]
"""x [rows, width], what is seen of the past, its rotation, the layer's cache, the memory and what is seen of it."""

Maps = dict[str, Linear]
Block = Callable[..., Tensor]


def lean(layer: Layer, maps: dict[nn.Module, Maps]) -> Step:
    """The layer's step; by its own `forward` where it has a part that is not written out here, or is watched."""
    own, cross, forward = layer.self_attention, layer.cross_attention, layer.feed_forward
    if not written_out(layer, maps):
        return functools.partial(_whole, layer)
    attended = _self_attention(own, maps[own])
    fed = _feed_forward(forward, maps[forward]) if isinstance(forward, FeedForward) else forward
    if layer.spec.order == "parallel":
        return _parallel(layer, attended, fed)
    first = _block(layer, "self_attention", attended, None, _sum(maps[own]["output"]))
    third = _block(layer, "feed_forward", fed, None, _sum(maps[forward]["down"] if forward in maps else None))
    second = None
    if cross is not None:
        looked = _cross_attention(cross, maps[cross])
        second = _block(layer, "cross_attention", looked, cross.gate, _sum(maps[cross]["output"]))

    def step(
        x: Tensor, view: View, turn: Rotation | None, cache: LayerCache, memory: Kept | None, memory_view: View
    ) -> Tensor:
        x = first(x, view, turn, cache)
        if second is not None and memory is not None:
            x = second(x, memory, memory_view)
        return third(x)

    return step


def written_out(layer: Layer, maps: dict[nn.Module, Maps]) -> bool:
    """Whether a layer's parts are all among those of this file, prepared where need be, and nobody watches one."""
    looks = [one for one in (layer.self_attention, layer.cross_attention) if one is not None]
    if layer.adapter or layer.inserted or layer.spec.merged or _watched(layer):
        return False
    forward = layer.feed_forward
    return all(one in maps and _known(one) for one in looks) and (
        not isinstance(forward, FeedForward) or forward in maps
    )


def _whole(
    layer: Layer,
    x: Tensor,
    view: View,
    turn: Rotation | None,
    cache: LayerCache,
    memory: Kept | None,
    memory_view: View,
) -> Tensor:
    out: Tensor = layer(x[:, None], view, turn, cache, memory, memory_view)
    return out[:, 0]


def _watched(layer: Layer) -> bool:
    """Whether somebody hooked a module, and so wants it called."""
    return any(map(watched, layer.modules()))


def _known(attention: Attention) -> bool:
    spec = attention.spec
    return not (attention.eager or spec.relative or spec.disentangled or spec.sparse or attention.everywhere)


def _sum(last: Linear | None) -> Callable[[Tensor, Tensor], Tensor]:
    """(what a block gives, x) -> their sum; in place where the block's last map is one that makes a new float32."""
    return Tensor.add_ if isinstance(last, Packed) else Tensor.add


def _block(
    layer: Layer, name: str, inner: Block, gate: Tensor | None, add: Callable[[Tensor, Tensor], Tensor]
) -> Block:
    """x and what `inner` adds to it, with the block's norms where the layer's order has them."""
    order, scale = layer.spec.order, layer.spec.residual_scale
    own = plain_norm(getattr(layer, f"{name}_norm"))
    last = plain_norm(getattr(layer, f"{name}_post_norm")) if order == "sandwich" else own
    times = (1.0 if gate is None else torch.tanh(gate.detach())) * scale
    if gate is None and scale == 1.0:
        if order == "post":
            return lambda x, *more: last(add(inner(x, *more), x))
        if order == "pre":
            return lambda x, *more: add(inner(own(x), *more), x)

    def run(x: Tensor, *more: object) -> Tensor:
        out = inner(x if order in ("post", "after") else own(x), *more)
        if order in ("sandwich", "after"):
            out = last(out)
        x = x + out * times
        return last(x) if order == "post" else x

    return run


def _parallel(layer: Layer, attended: Block, fed: Block) -> Step:
    before = plain_norm(layer.self_attention_norm)
    other = None if layer.spec.one_norm else plain_norm(layer.feed_forward_norm)
    scale = layer.spec.residual_scale

    def step(
        x: Tensor, view: View, turn: Rotation | None, cache: LayerCache, memory: Kept | None, memory_view: View
    ) -> Tensor:
        read = before(x)
        out = attended(read, view, turn, cache)
        forward = fed(read if other is None else other(x))
        return x + out + forward if scale == 1.0 else x + out * scale + forward * scale

    return step


def plain_norm(norm: Norm | None) -> Block:
    """The norm as a function, without what a module's call costs; of None, the identity."""
    if norm is None:
        return lambda x: x
    spec, shape = norm.spec, list(norm.shape)
    if norm.heads is not None or (spec.offset and norm.weight is not None):
        return norm.forward
    weight, bias, eps = norm.weight, norm.bias, spec.eps
    if spec.kind == "layer":
        return lambda x: torch.layer_norm(x, shape, weight, bias, eps)
    return lambda x: torch.rms_norm(x, shape, weight, eps)


def _feed_forward(forward: FeedForward, maps: Maps) -> Block:
    down = maps["down"]
    if forward.gate is None:
        activated = maps["activated"]
        return lambda x: down(activated(x))
    stacked, gated = maps["stacked"], forward._gated
    return lambda x: down(gated(*stacked(x).chunk(2, -1)))


def _self_attention(attention: Attention, maps: Maps) -> Block:
    """x [rows, width] -> [rows, width]; the new token's key and value go into the cache."""
    spec = attention.spec
    heads, groups, width = spec.heads, spec.key_value_heads, spec.head_width
    inner, stacked, output = heads * width, maps["stacked"], maps["output"]
    look = _look(attention)
    bare = attention.query_norm is None and attention.key_norm is None and spec.clip is None and spec.rotary is None

    def run(x: Tensor, view: View, turn: Rotation | None, cache: LayerCache) -> Tensor:
        made = stacked(x)
        if bare:
            query = made.narrow(1, 0, inner).view(-1, heads, 1, width)
            key, value = cache.put(made.narrow(1, inner, 2 * groups * width).view(-1, 2, groups, width))
        else:
            one, two, three = torch.split(made[:, None], [inner, groups * width, groups * width], -1)
            query = attention._queries(one, turn)
            key, value = cache.append(*attention._keys_values(two, three, turn))
        return output(look(query, key, value, view))

    return run


def _cross_attention(attention: Attention, maps: Maps) -> Block:
    """x [rows, width], a memory's keys and values -> [rows, width]."""
    heads, width = attention.spec.heads, attention.spec.head_width
    query, output, look = maps["query"], maps["output"], _look(attention)
    bare = attention.query_norm is None and attention.spec.clip is None

    def run(x: Tensor, memory: Kept, view: View) -> Tensor:
        made = query(x)
        asked = made.view(-1, heads, 1, width) if bare else attention._queries(made[:, None], None)
        return output(look(asked, *memory, view))

    return run


def _look(attention: Attention) -> Callable[[Tensor, Tensor, Tensor, View], Tensor]:
    """query [rows, heads, 1, head_width], key and value [sources, groups, keys, head_width] -> [rows, inner]."""
    spec, scale, sink = attention.spec, attention.scale, attention.sink
    heads, inner = spec.heads, spec.heads * spec.head_width
    plain = spec.softcap is None and sink is None and spec.heads == spec.key_value_heads

    def run(query: Tensor, key: Tensor, value: Tensor, view: View) -> Tensor:
        rows, sources = query.shape[0], key.shape[0]
        if not plain:
            states, _ = attend(query, key, value, view, scale=scale, softcap=spec.softcap, sink=sink)
            return states.reshape(rows, inner)
        if rows == sources:
            states = F.scaled_dot_product_attention(query, key, value, attn_mask=view.bias, scale=scale)
            return states.reshape(rows, inner)
        query = query.view(sources, rows // sources, heads, -1).transpose(1, 2)
        states = F.scaled_dot_product_attention(query, key, value, attn_mask=view.bias, scale=scale)
        return states.transpose(1, 2).reshape(rows, inner)

    return run
