"""What queries may see: masks of tokens, causality and windows, as biases on the scores."""

from collections.abc import Mapping

import torch
from torch import Tensor

from seqgraft.spec import Stack
from seqgraft.torch.attention import View
from seqgraft.torch.sparse import Named
from seqgraft.torch.waiting import looking_is_free


def hide(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """mask [batch, keys], 1 where visible -> bias [batch, 1, 1, keys].

    Half of the lowest number stands for minus infinity: a row in which everything is hidden gives an average of
    what is there, never a NaN, in half precision too.
    """
    return (mask[:, None, None, :] == 0).to(dtype) * (torch.finfo(dtype).min / 2)


def see_all(mask: Tensor | None, dtype: torch.dtype) -> View:
    """Every query sees every token that the mask shows."""
    return View() if mask is None else View(hide(mask, dtype))


def see_own(
    queries: int,
    past: int,
    mask: Tensor | None,
    *,
    causal: bool,
    window: tuple[int, int] | None,
    dtype: torch.dtype,
    device: torch.device,
) -> View:
    """What `queries` positions after `past` ones see of their own stack.

    mask [batch, past + queries] or None when every token may be seen.
    """
    keys = past + queries
    windowed = window is not None and (keys - 1 > window[0] or (not causal and keys - 1 > window[1]))
    if not windowed and mask is None:
        if not causal or queries == 1:
            return View()
        if past == 0:
            return View(causal=True)
    if not windowed and (not causal or queries == 1):
        return see_all(mask, dtype)
    place = torch.arange(past, keys, device=device)[:, None]
    distance = torch.arange(keys, device=device)[None, :] - place
    hidden = distance > 0 if causal else torch.zeros_like(distance, dtype=torch.bool)
    if window is not None:
        hidden = hidden | (distance < -window[0]) | (distance > window[1])
    hidden = hidden[None, None]
    if mask is not None:
        hidden = hidden | (mask[:, None, None, :] == 0)
    return View(hidden.to(dtype) * (torch.finfo(dtype).min / 2))


def see_named(view: View, who: Named) -> View:
    """The view with tokens that everything sees, however far away, and that see everything."""
    bias = None if view.bias is None else view.bias.masked_fill(who.tokens[:, None, None, :], 0.0)
    return View(bias, named=who)


def any_hidden(mask: Tensor | None) -> Tensor | None:
    """The mask, or None when it hides nothing (looked at only where looking is free)."""
    if mask is None or (looking_is_free(mask) and bool(mask.all())):
        return None
    return mask


def further_inputs(spec: Stack, inputs: Mapping[str, Tensor | None], family: str) -> dict[str, Tensor]:
    """Those that are given; TypeError for one that the spec does not name."""
    strange = [name for name in inputs if name not in spec.inputs]
    if strange:
        has = ", ".join(f"`{name}`" for name in spec.inputs) or "none"
        raise TypeError(
            f"`{strange[0]}` must be left out, since '{family}' has no such input; of inputs of its own it has {has}."
        )
    return {name: value for name, value in inputs.items() if value is not None}


def seen_everywhere(spec: Stack, mask: Tensor | None, asked: Tensor | None, family: str) -> Tensor | None:
    """Tokens [batch, time] that see everything: those asked for, and those where the mask is 2; None for none."""
    if asked is not None and not spec.sees_everywhere:
        raise ValueError(
            f"`global_attention_mask` must be left out, since '{family}' has no global attention; of the families "
            "here 'longformer' has it."
        )
    if mask is None or not spec.sees_everywhere:
        return asked
    return (mask == 2) if asked is None else (mask == 2) | (asked != 0)
