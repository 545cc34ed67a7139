"""From the settings of a call, of the configuration given with it, and of the model, to what one generation does."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seqgraft.errors import GenerationError
from seqgraft.generation.caching import cache_refusals
from seqgraft.generation.config import GenerationConfig
from seqgraft.generation.fields import DEFAULT_NEW_TOKENS, DEFAULTS
from seqgraft.generation.rules import faults, length_faults, remarks

_OFF = {**DEFAULTS, "top_k": 0}  # what None means when a call says it: `top_k=None` keeps every token
_SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")


@dataclass(frozen=True)
class SpecialIds:
    """The special ids of one generation; `start` may be one for every row.

    `pad_is_end`: nobody gave a pad id, and the first end id serves.
    """

    start: int | list[int] | None
    bos: int | None
    eos: tuple[int, ...]
    pad: int | None
    pad_is_end: bool = False


def settings_of(call: Mapping[str, Any], given: GenerationConfig | None, own: GenerationConfig) -> GenerationConfig:
    """A copy in which the call's settings lie over the given configuration's, those over the model's `own`.

    What nobody set has the published default; lengths and special ids stay None. Raises GenerationError for
    contradictions and for what is not supported, naming settings and values.
    """
    made = copy.deepcopy(own) if given is None else given.over(own)
    for name, value in DEFAULTS.items():
        if getattr(made, name) is None:
            setattr(made, name, value)
    for name, value in call.items():
        setattr(made, name, _OFF.get(name) if value is None else value)
    found = [*faults(made, lengths=False), *length_faults(call)]
    if given is not None:
        found += length_faults(given.to_dict())
    found += cache_refusals(made)
    found += [f"`{name}` is not supported yet, but is {value!r}." for name, value in made.unsupported().items()]
    if found:
        raise GenerationError(" ".join(dict.fromkeys(found)))
    for remark in remarks(made, set(call)):
        warnings.warn(remark, UserWarning, stacklevel=4)
    if made.use_cache is False and "use_cache" in call:
        warnings.warn(
            "`use_cache=False` changes nothing: generation keeps its cache, the tokens are the same.", stacklevel=4
        )
    return made


def special_ids(config: GenerationConfig, call: Mapping[str, Any], layers: Sequence[Any]) -> SpecialIds:
    """Each id from the settings, or else from the first of `layers` (model configurations) that has it.

    An id that the call sets to None is none. Without a pad id the first end id serves.
    """

    def first(name: str) -> Any:
        if name in call:
            return call[name]
        values = (getattr(layer, name, None) for layer in (config, *layers))
        return next((value for value in values if value is not None), None)

    pad, bos, eos, start = (first(name) for name in _SPECIAL)
    ends = () if eos is None else (eos,) if isinstance(eos, int) else tuple(eos)
    start = bos if start is None else start
    if pad is None and ends:
        return SpecialIds(start, bos, ends, ends[0], pad_is_end=True)
    return SpecialIds(start, bos, ends, pad)


def set_lengths(config: GenerationConfig, prompt_length: int, position_limit: int | None, prompt_name: str) -> int:
    """Set `max_length` and `min_length`, the prompt counted, from whatever the settings give; returns `max_length`."""
    if config.max_new_tokens is not None:
        if config.max_length is not None:
            warnings.warn(
                f"Both `max_new_tokens` ({config.max_new_tokens}) and `max_length` ({config.max_length}) are set; "
                "`max_new_tokens` is followed.",
                stacklevel=4,
            )
        config.max_length = prompt_length + config.max_new_tokens
    elif config.max_length is None:
        config.max_length = prompt_length + DEFAULT_NEW_TOKENS
        if position_limit is not None:
            config.max_length = max(min(config.max_length, position_limit), prompt_length + 1)
        most = config.max_length - prompt_length
        warnings.warn(
            f"Neither `max_new_tokens` nor `max_length` is set: at most {most} new tokens are made.", stacklevel=4
        )
    if prompt_length >= config.max_length:
        raise GenerationError(
            f"`max_length` ({config.max_length}) counts the prompt and must be more than the length of `{prompt_name}` "
            f"({prompt_length}); set `max_new_tokens` to count new tokens only."
        )
    least = config.min_length or 0
    if config.min_new_tokens is not None:
        least = prompt_length + config.min_new_tokens
    if least > config.max_length:
        name = "min_length" if config.min_new_tokens is None else "min_new_tokens"
        warnings.warn(
            f"`{name}` ({getattr(config, name)}) asks for more than `max_length` ({config.max_length}) allows; "
            "generation stops at `max_length`.",
            stacklevel=4,
        )
    config.min_length = least
    return int(config.max_length)


def position_limit(halves: tuple[Any, ...]) -> int | None:
    """How many positions the last half has that says so."""
    limits = (getattr(half, "max_position_embeddings", None) for half in reversed(halves))
    return next((limit for limit in limits if limit is not None), None)
