"""Where decoding starts: the inputs of a call as rows of ids and their masks."""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.generation.resolve import SpecialIds

INPUTS = (
    "input_ids",
    "attention_mask",
    "inputs_embeds",
    "encoder_outputs",
    "decoder_input_ids",
    "decoder_attention_mask",
    "token_type_ids",
    "position_ids",
    "global_attention_mask",
)


@dataclass(frozen=True)
class Prompt:
    """Where decoding starts: `ids [sources, time]`, `mask` of that shape, None where every position counts."""

    ids: Tensor
    mask: Tensor | None


def first_token(ids: SpecialIds) -> int | list[int]:
    """The decoder's first token, or one for every row; GenerationError when nobody said it."""
    if ids.start is None:
        raise GenerationError(
            "The first token of the decoder is not known: set `decoder_start_token_id` (or `bos_token_id`) in "
            "`model.config`, in `model.generation_config` or in the call."
        )
    return ids.start


def pair_prompt(given: dict[str, Any], first: int | list[int], sources: int, device: torch.device) -> Prompt:
    """The decoder's start token [sources, 1], with what the caller wants after it."""
    start = torch.as_tensor(first, dtype=torch.long, device=device)
    if start.dim() == 1 and len(start) != sources:
        raise GenerationError(
            f"`decoder_start_token_id` must be one id, or one for each of {sources} rows, but has {len(start)}."
        )
    start = start.view(-1, 1).expand(sources, 1)
    rest, mask = moved(given.get("decoder_input_ids"), device), moved(given.get("decoder_attention_mask"), device)
    if rest is None:
        rest = start.contiguous()
    if len(rest) != sources:
        raise GenerationError(f"`decoder_input_ids` must have {sources} rows, but has {len(rest)}.")
    if rest.shape[1] == 0 or bool((rest[:, :1] != start).all()):
        rest = torch.cat((start, rest), dim=1)
        mask = torch.cat((torch.ones_like(mask[:, :1]), mask), dim=1) if mask is not None else None
    if mask is not None and mask.shape != rest.shape:
        raise GenerationError(f"`decoder_attention_mask` must be {list(rest.shape)}, but is {list(mask.shape)}.")
    return Prompt(rest, mask)


def lone_prompt(given: dict[str, Any], ids: SpecialIds, device: torch.device) -> Prompt:
    """The prompt of a decoder alone."""
    unusable = [name for name, value in given.items() if name in INPUTS[2:] and value is not None]
    if unusable:
        raise GenerationError(f"A decoder alone takes `input_ids` and `attention_mask`, but got {', '.join(unusable)}.")
    input_ids, mask = moved(given.get("input_ids"), device), moved(given.get("attention_mask"), device)
    if input_ids is None:
        if ids.bos is None:
            raise GenerationError("generate() needs `input_ids`, or a `bos_token_id` to start from.")
        return Prompt(torch.full((1, 1), ids.bos, dtype=torch.long, device=device), None)
    if input_ids.numel() == 0:
        raise GenerationError(f"`input_ids` must have a token in at least one row, but is {list(input_ids.shape)}.")
    if mask is None:
        mask = inferred_mask(input_ids, ids.pad, ids.eos)
    if mask is not None:
        if mask.shape != input_ids.shape:
            raise GenerationError(f"`attention_mask` must be {list(input_ids.shape)}, but is {list(mask.shape)}.")
        if not mask[:, -1].all():
            warnings.warn(
                "A decoder alone continues the end of its prompt, which is padding here: pad at the left.", stacklevel=4
            )
        elif mask.all():
            mask = None
    return Prompt(input_ids, mask)


def inferred_mask(ids: Tensor, pad: int | None, ends: Any) -> Tensor | None:
    """The mask that padding implies, [batch, time], or None when there is no padding or it could be an end token."""
    if pad is None or pad in ((ends,) if isinstance(ends, int) else ends or ()):
        return None
    mask = ids != pad
    return None if bool(mask.all()) else mask.long()


def repeated(prompt: Prompt, times: int) -> Prompt:
    """Every row `times` times, source-major."""
    if times == 1:
        return prompt
    mask = prompt.mask.repeat_interleave(times, dim=0) if prompt.mask is not None else None
    return Prompt(prompt.ids.repeat_interleave(times, dim=0), mask)


def moved(value: Any, device: torch.device) -> Any:
    """A tensor on `device`; None stays None."""
    return value if value is None else value.to(device)
