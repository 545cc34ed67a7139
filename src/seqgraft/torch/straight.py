"""One token a row through a whole stack, where nothing but the number of tokens so far differs between two steps.

The same lines as `Stack.states` and `Head.forward`, less what a plain decoder does not have: of the past a step knows
one place, the same for all rows, and one view, the same for all layers. Stacks that have more take the general way.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from seqgraft.torch.attention import View
from seqgraft.torch.cache import EncoderDecoderCache
from seqgraft.torch.head import Head
from seqgraft.torch.lean import Block, Maps, Step, plain_norm

if TYPE_CHECKING:
    from seqgraft.torch.stack import Stack

Straight = Callable[[Tensor, int, View, EncoderDecoderCache, View], Tensor]
"""ids [rows, 1], the place of these tokens, what they see of the past, the cache and what is seen of the memory ->
logits [rows, vocabulary]. The cache is extended."""


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

    def run(ids: Tensor, place: int, view: View, cache: EncoderDecoderCache, memory_view: View) -> Tensor:
        x = embed(ids.view(-1), place)
        remembered = cache.remembered
        for index, (step, layer) in enumerate(zip(steps, cache.layers, strict=True)):
            x = step(x, view, None, layer, remembered(index), memory_view)
        return head(last(x))

    return run


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


def _head(head: Head | None, maps: dict[nn.Module, Maps]) -> Block | None:
    """States [rows, width] -> logits [rows, vocabulary]; None where there is no head, or it is not prepared."""
    if head is None or head not in maps:
        return None
    own, scale, cap = maps[head], head.spec.scale, head.spec.softcap
    output, dense, norm = own["output"], own.get("dense"), plain_norm(head.norm)

    def run(x: Tensor) -> Tensor:
        if dense is not None:
            x = norm(dense(x))
        if scale != 1.0:
            x = x * scale
        logits = output(x)
        return logits if cap is None else cap * torch.tanh(logits / cap)

    return run
