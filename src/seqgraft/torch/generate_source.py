"""What a call to `generate` brings: its arguments sorted, and the encoder's view of the source."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.generation.config import GenerationConfig
from seqgraft.generation.outputs import BaseModelOutput
from seqgraft.generation.resolve import SpecialIds
from seqgraft.torch.search_prompt import INPUTS, Prompt, inferred_mask, moved

NEGATIVE = ("negative_prompt_ids", "negative_prompt_attention_mask")

# Arguments that the field has and that are not supported yet: None is what a caller that wraps `generate` passes.
LATER = (
    "synced_gpus",
    "past_key_values",
)


@dataclass(frozen=True)
class Source:
    """What the encoder gave: `mask [sources, source_time]`, None where every position counts."""

    outputs: BaseModelOutput
    mask: Tensor | None
    sources: int

    def of(self, place: int) -> "Source":
        """One of the sources alone."""
        own = slice(place, place + 1)
        kept = (getattr(self.outputs, name, None) for name in ("last_hidden_state", "hidden_states", "attentions"))
        return Source(BaseModelOutput(*(_part(value, own) for value in kept)), _part(self.mask, own), 1)


@dataclass(frozen=True)
class Work:
    """What one search is about; `source_ids [sources, time]` only where processors want them.

    `other` is what guidance leads away from: the source and the prompt of the unconditional branch.
    """

    source: Source | None
    prompt: Prompt
    source_ids: Tensor | None = None
    allowed: Callable[[int, Tensor], Any] | None = None
    other: tuple[Source | None, Prompt] | None = None

    def of(self, place: int) -> "Work":
        """One of the sources alone."""
        own, allowed, other = slice(place, place + 1), self.allowed, self.other

        def prompt_of(prompt: Prompt) -> Prompt:
            return Prompt(prompt.ids[own], _part(prompt.mask, own))

        return Work(
            self.source.of(place) if self.source is not None else None,
            prompt_of(self.prompt),
            _part(self.source_ids, own),
            None if allowed is None else lambda _, ids: allowed(place, ids),
            None if other is None else (other[0] and other[0].of(place), prompt_of(other[1])),
        )


def _part(value: Any, own: slice) -> Any:
    """Some rows of a tensor, or of each of a tuple of them."""
    if isinstance(value, tuple):
        return tuple(_part(one, own) for one in value)
    return None if value is None else value[own]


def sorted_arguments(
    kwargs: dict[str, Any], own: GenerationConfig, given: GenerationConfig | None, further: tuple[str, ...] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The model's inputs and the settings of a call; TypeError for what is neither.

    `further` are inputs that the encoder's family has beside the usual ones. Settings are the fields of the model's
    `own` configuration and of the one `given` to the call.
    """
    inputs, call, unknown = {}, {}, []
    for name, value in kwargs.items():
        if name in INPUTS or name in NEGATIVE or name in further:
            inputs[name] = value
        elif own.has(name) or (given is not None and given.has(name)):
            call[name] = value
        elif name not in LATER:
            unknown.append(name)
        elif value is not None:
            raise GenerationError(f"`{name}` is not supported yet, but is {value!r}.")
    if unknown:
        raise TypeError(f"generate() got unexpected arguments: {', '.join(unknown)}.")
    return inputs, call


def encoded_source(
    encode: Callable[..., BaseModelOutput],
    given: dict[str, Any],
    config: GenerationConfig,
    ids: SpecialIds,
    *,
    encoder_config: Any,
    device: torch.device,
    further: tuple[str, ...] = (),
) -> Source:
    """Run the encoder on the inputs `given` (or take its outputs from them), padding masked.

    Raises GenerationError unless exactly one of `input_ids`, `inputs_embeds`, `encoder_outputs` is the source.
    """
    input_ids, embeds = given.get("input_ids"), given.get("inputs_embeds")
    outputs, mask = given.get("encoder_outputs"), given.get("attention_mask")
    if outputs is not None:
        if not hasattr(outputs, "last_hidden_state"):  # a tuple or a dictionary of the same
            outputs = BaseModelOutput(*outputs) if isinstance(outputs, tuple) else BaseModelOutput(**outputs)
    elif (input_ids is None) == (embeds is None):
        have = "both `input_ids` and `inputs_embeds`" if embeds is not None else "no source"
        raise GenerationError(
            f"generate() needs one of `input_ids`, `inputs_embeds`, `encoder_outputs`, but has {have}."
        )
    shown = outputs.last_hidden_state if outputs is not None else embeds if input_ids is None else input_ids
    if shown is not None and 0 in shown.shape[:2]:
        raise GenerationError(f"The source must have at least one row and one token, but is {list(shown.shape)}.")
    if mask is None and input_ids is not None:
        pad, ends = getattr(encoder_config, "pad_token_id", None), getattr(encoder_config, "eos_token_id", None)
        mask = inferred_mask(input_ids, *((ids.pad, ids.eos) if pad is None else (pad, ends)))
    if outputs is None:
        outputs = encode(
            input_ids=moved(input_ids, device),
            attention_mask=moved(mask, device),
            inputs_embeds=moved(embeds, device),
            token_type_ids=moved(given.get("token_type_ids"), device),
            position_ids=moved(given.get("position_ids"), device),
            **_only_given(given, ("global_attention_mask", *further), device),
            output_attentions=bool(config.return_dict_in_generate and config.output_attentions),
            output_hidden_states=bool(config.return_dict_in_generate and config.output_hidden_states),
        )
    states = outputs.last_hidden_state
    if mask is not None and tuple(mask.shape) != tuple(states.shape[:2]):
        raise GenerationError(f"`attention_mask` must be {list(states.shape[:2])}, but is {list(mask.shape)}.")
    mask = moved(mask, device)
    if mask is not None and given.get("encoder_outputs") is None and not config.return_dict_in_generate:
        longest = int((mask != 0).any(0).nonzero().amax()) + 1 if bool((mask != 0).any()) else states.shape[1]
        if longest < states.shape[1]:  # nobody sees what follows, and every step would pay for it
            outputs, mask = BaseModelOutput(states[:, :longest].contiguous()), mask[:, :longest]
    return Source(outputs, mask, len(states))


def _only_given(given: dict[str, Any], names: tuple[str, ...], device: torch.device) -> dict[str, Tensor]:
    """Inputs that most encoders do not take."""
    return {name: moved(given[name], device) for name in names if given.get(name) is not None}
