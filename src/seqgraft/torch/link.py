"""Special ids set anywhere hold everywhere: a model's configuration and its generation settings tell each other."""

from typing import Any

from seqgraft.config import SPECIAL_IDS, EncoderDecoderConfig
from seqgraft.generation import GenerationConfig


def link(config: EncoderDecoderConfig, generation: GenerationConfig) -> None:
    """From now on a special id set in one is set in the other, and generation settings set in `config` move over."""

    def to_generation(name: str, value: Any) -> None:
        if generation.has(name) and getattr(generation, name) != value:
            setattr(generation, name, value)

    def to_config(name: str, value: Any) -> None:
        if name in SPECIAL_IDS and getattr(config, name, None) != value:
            setattr(config, name, value)

    for name in SPECIAL_IDS:
        known = getattr(config, name, None)
        if known is None and getattr(generation, name) is not None:
            setattr(config, name, getattr(generation, name))
        elif known is not None and getattr(generation, name) is None:
            setattr(generation, name, known)
    object.__setattr__(config, "_on_change", to_generation)
    generation.on_change = to_config
