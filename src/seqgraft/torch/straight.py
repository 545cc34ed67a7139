"""One token a row through a whole stack, where nothing but the number of tokens so far differs between two steps.

The same lines as `Stack.states` and `Head.forward`, less what a plain decoder does not have: of the past a step knows
one place, the same for all rows, and one view, the same for all layers. Stacks that have more take the general way.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqgraft.torch.attention import Attention, View
from seqgraft.torch.cache import EncoderDecoderCache, LayerCache
from seqgraft.torch.feed_forward import FeedForward
from seqgraft.torch.head import Head
from seqgraft.torch.layers import Layer
from seqgraft.torch.lean import Block, Kept, Maps, Step, plain_norm, written_out
from seqgraft.torch.product import Packed
from seqgraft.torch.rotary import Rotation
from seqgraft.torch.screen import screen

if TYPE_CHECKING:
    from seqgraft.torch.stack import Stack


@dataclass(frozen=True)
class Straight:
    """The step in two pieces."""

    states: Callable[[Tensor, int, View, EncoderDecoderCache, View], Tensor]
    """ids [rows, 1], the place of these tokens, what they see of the past, the cache and what is seen of the memory ->
    the last states [rows, width]. The cache is extended."""
    logits: Block
    """states [rows, width] -> logits [rows, vocabulary]"""
    best: Block
    """states [rows, width] -> the ids [rows] of the highest logits"""


def straight(stack: "Stack", maps: dict[nn.Module, Maps], steps: Sequence[Step]) -> Straight | None:
    """The step of a stack whose layers' steps are these; None where its spec asks for more, or somebody hooked it."""
    embed, head = _embed(stack), _head(stack.head, maps)
    spec = stack.spec
    own = [layer.self_attention for layer in spec.layers]
    alike = not any(one.window or one.rotary or one.alibi or one.buckets for one in own)
    more = spec.distances or spec.position_bias or spec.streams or spec.prefix or spec.convolution or stack.narrow_again
    if embed is None or head is None or more or not alike:
        return None
    last = plain_norm(stack.final_norm)
    layers = cast("Iterable[Layer]", stack.layers)
    steps = [_in_one(layer, maps) or step for layer, step in zip(layers, steps, strict=True)]

    def run(ids: Tensor, place: int, view: View, cache: EncoderDecoderCache, memory_view: View) -> Tensor:
        x = embed(ids.view(-1), place)
        remembered = cache.remembered
        for index, (step, layer) in enumerate(zip(steps, cache.layers, strict=True)):
            x = step(x, view, None, layer, remembered(index), memory_view)
        return last(x)

    return Straight(run, *head)


def _in_one(layer: Layer, maps: dict[nn.Module, Maps]) -> Step | None:
    """The step of `lean.py` in one piece, for plain attentions, packed maps and sums with no factor; else None.

    On cold caches calls between these lines cost 3 to 7 % of a generation at a batch of one.
    """
    own, cross, forward = layer.self_attention, layer.cross_attention, layer.feed_forward
    looks, order = [one for one in (own, cross) if one is not None], layer.spec.order
    if not written_out(layer, maps) or not all(map(_bare, looks)):
        return None
    if not isinstance(forward, FeedForward) or order not in ("post", "pre") or layer.spec.residual_scale != 1.0:
        return None
    held = {**maps[own], **maps[forward]} | ({f"cross_{name}": m for name, m in maps[cross].items()} if cross else {})
    packed = {name: one.written_out for name, one in held.items() if isinstance(one, Packed)}
    if len(packed) < len(held) or "activated" not in packed:
        return None
    product, stacked = packed["stacked"]
    output, up, down = (packed[name][1] for name in ("output", "activated", "down"))
    query, crossed = (packed[f"cross_{name}"][1] if cross else () for name in ("query", "output"))
    norms = (layer.self_attention_norm, layer.cross_attention_norm, layer.feed_forward_norm)
    first, second, third = map(plain_norm, norms)
    (heads, width, scale), (others, wide, cross_scale) = _shape(own), _shape(cross or own)
    inner, cross_inner, post = heads * width, others * wide, order == "post"
    attend = F.scaled_dot_product_attention

    def step(
        x: Tensor, view: View, turn: Rotation | None, cache: LayerCache, memory: Kept | None, memory_view: View
    ) -> Tensor:
        made = product(x if post else first(x), *stacked).view(-1, 3, heads, width)
        key, value = cache.put(made.narrow(1, 1, 2))
        asked = made.select(1, 0).view(key.shape[0], -1, heads, width).transpose(1, 2)
        seen = attend(asked, key, value, attn_mask=view.bias, scale=scale)
        x = product(seen.transpose(1, 2).reshape(-1, inner), *output).add_(x)
        if post:
            x = first(x)
        if cross is not None and memory is not None:
            key, value = memory
            asked = product(x if post else second(x), *query).view(key.shape[0], -1, others, wide).transpose(1, 2)
            seen = attend(asked, key, value, attn_mask=memory_view.bias, scale=cross_scale)
            x = product(seen.transpose(1, 2).reshape(-1, cross_inner), *crossed).add_(x)
            if post:
                x = second(x)
        x = product(product(x if post else third(x), *up), *down).add_(x)
        return third(x) if post else x

    return step


def _shape(attention: Attention) -> tuple[int, int, float]:
    return attention.spec.heads, attention.spec.head_width, attention.scale


def _bare(attention: Attention) -> bool:
    """Whether queries, keys and values go into the fused attention as the maps give them."""
    spec = attention.spec
    changed = attention.query_norm is not None or attention.key_norm is not None or spec.clip or spec.rotary
    more = attention.gate is not None or spec.softcap or attention.sink is not None
    return not (changed or more) and spec.heads == spec.key_value_heads


def _embed(stack: "Stack") -> Callable[[Tensor, int], Tensor] | None:
    """Ids [rows] at one place -> [rows, width]; None where more than tables is summed."""
    spec, places = stack.spec, stack.spec.positions
    words, positions, types = stack.embed, stack.positions, stack.token_types
    if spec.token_dropout or spec.constants or stack.widen or spec.embed_norm_first or spec.embed_scale != 1.0:
        return None
    tables = [table for table in (words, positions, types) if table is not None]
    plain = all(type(table) is nn.Embedding and table.weight.dtype is words.weight.dtype for table in tables)
    if not plain or (places is not None and positions is None):
        return None
    norm, offset = plain_norm(stack.embed_norm), places.offset if places is not None else 0

    def run(ids: Tensor, place: int) -> Tensor:
        x = torch.embedding(words.weight, ids)
        if types is not None:
            x.add_(types.weight.select(0, 0))
        if positions is not None:
            x.add_(positions.weight.select(0, place + offset))
        return norm(x)

    return run


def _head(head: Head | None, maps: dict[nn.Module, Maps]) -> tuple[Block, Block] | None:
    """States [rows, width] -> logits [rows, vocabulary], or the ids [rows] of the highest of them.

    None where there is no head, or it is not prepared.
    """
    if head is None or head not in maps:
        return None
    own, scale, cap = maps[head], head.spec.scale, head.spec.softcap
    output, dense, norm = own["output"], own.get("dense"), plain_norm(head.norm)

    # Beams and samples never ask for it.
    screened = functools.cache(lambda: screen(head.output) if cap is None else None)

    def before(x: Tensor) -> Tensor:
        if dense is not None:
            x = norm(dense(x))
        return x if scale == 1.0 else x * scale

    def logits(x: Tensor) -> Tensor:
        made = output(before(x))
        return made if cap is None else cap * torch.tanh(made / cap)

    def best(x: Tensor) -> Tensor:
        look = screened()
        if look is None:
            return logits(x).argmax(-1)
        x = before(x)
        found = look(x)
        return output(x).argmax(-1) if found is None else found

    return logits, best
