"""What the positions of one call come to: who sees whom, how far it is from there, and how much it turns."""

from collections.abc import Callable

import torch
from torch import Tensor

from seqgraft.spec import Rotary
from seqgraft.spec import Stack as StackSpec
from seqgraft.torch.attention import View, by_head, leaned
from seqgraft.torch.masks import any_hidden, see_own
from seqgraft.torch.positions import bucket
from seqgraft.torch.rotary import Rotation, rotation
from seqgraft.torch.seats import Look, Window


def geometry(
    spec: StackSpec,
    x: Tensor,
    mask: Tensor | None,
    positions: Tensor | None,
    past: int,
    look: Look | None,
    bias_of: Callable[[Tensor], Tensor] | None,
) -> tuple[dict[Window, View], dict[Rotary | None, Rotation], Tensor | None]:
    """Views by window and rotations by rotary spec, each computed once, however many layers share it.

    `bias_of` is the table of a bias by distance that all layers share. The third is the distance of keys from queries
    [queries, keys], where a layer's scores depend on it; with a `look` at shared slots, that of each source [sources,
    queries, keys].
    """
    time = x.shape[1]
    mask = any_hidden(mask)
    views: dict[Window, View] = {}
    turns: dict[Rotary | None, Rotation] = {}
    for layer in spec.layers:
        own = layer.self_attention
        if own.window not in views and look is not None:
            views[own.window] = View(look.bias(own.window))
        elif own.window not in views:
            views[own.window] = see_own(
                time,
                past,
                mask,
                causal=spec.causal,
                window=own.window,
                dtype=x.dtype,
                device=x.device,
            )
        if own.rotary is not None and own.rotary not in turns:
            places = look.places if look is not None else positions
            if places is None:
                places = torch.arange(past, past + time, device=x.device)[None]
            longest = past + time if positions is None else None
            turns[own.rotary] = rotation(own.rotary, places, own.head_width, x.dtype, longest)
    leaning = any(layer.self_attention.alibi or layer.self_attention.buckets for layer in spec.layers)
    if bias_of is None and spec.distances is None and not leaning:
        return views, turns, None
    if look is not None:
        distance = look.distance
    else:
        distance = torch.arange(past + time, device=x.device)[None, :]
        distance = distance - torch.arange(past, past + time, device=x.device)[:, None]
    if bias_of is not None and spec.position_bias is not None:
        table = bias_of(bucket(spec.position_bias, distance, spec.causal))
        lean = by_head(table).to(x.dtype)
        views = {window: leaned(view, lean, distance) for window, view in views.items()}
    return views, turns, distance
