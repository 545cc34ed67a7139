"""Special ids set anywhere hold everywhere: a model's configurations and its generation settings tell each other."""

import copy
from typing import Any

from seqgraft.config import SPECIAL_IDS, EncoderDecoderConfig
from seqgraft.errors import ConfigurationError
from seqgraft.families.configuration import GENERATION_FIELDS
from seqgraft.generation import GenerationConfig


def link(config: EncoderDecoderConfig, generation: GenerationConfig) -> None:
    """From now on the last word on a special id counts, wherever it is said: for the pair, its decoder or generation.

    What `generation` already says counts more than what `config` does. Generation settings set in a configuration
    move over.
    """

    def to_generation(name: str, value: Any) -> None:
        if _shared(name) and generation.has(name) and getattr(generation, name) != value:
            setattr(generation, name, value)

    def to_pair(name: str, value: Any) -> None:
        if _shared(name):
            setattr(config, name, value)

    def to_config(name: str, value: Any) -> None:
        if name in SPECIAL_IDS and getattr(config, name, None) != value:
            setattr(config, name, value)

    unlink(config, generation)
    for name in SPECIAL_IDS:
        if getattr(generation, name) is not None:
            setattr(config, name, getattr(generation, name))
        else:
            setattr(generation, name, getattr(config, name, None))
    object.__setattr__(config, "_on_change", to_generation)
    object.__setattr__(config.decoder, "_on_change", to_pair)
    generation.on_change = to_config


def adopted(
    config: EncoderDecoderConfig, old: EncoderDecoderConfig, generation: GenerationConfig
) -> EncoderDecoderConfig:
    """A copy of `config` to take the place of `old`: the halves stay, and what it says of generation counts."""
    if not isinstance(config, EncoderDecoderConfig):
        raise ConfigurationError(f"`config` must be an EncoderDecoderConfig, but is a {type(config).__name__}.")
    unlink(old, generation)
    made = copy.deepcopy(config)
    made.encoder, made.decoder = old.encoder, old.decoder
    said = {name: value for name, value in vars(made).items() if _shared(name) and value is not None}
    link(made, generation)
    for name, value in said.items():
        setattr(made, name, value)
    return made


def unlink(config: EncoderDecoderConfig, generation: GenerationConfig) -> None:
    """They tell nobody any more."""
    for half in (config, config.decoder):
        object.__setattr__(half, "_on_change", None)
    generation.on_change = None


def _shared(name: str) -> bool:
    return name in SPECIAL_IDS or name in GENERATION_FIELDS
