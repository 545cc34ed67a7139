"""What a family declares."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from seqgraft.errors import ConfigurationError
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.naming import Names
from seqgraft.spec import Stack


@dataclass(frozen=True)
class Half:
    """One side of a pair: what the configuration computes, and how its tensors are named."""

    spec: Callable[[Any], Stack]
    names: Callable[[Any], Names]


@dataclass(frozen=True)
class Family:
    """One published family, or several that share everything but their defaults."""

    config: type[PretrainedConfig]
    encoder: Half | None
    decoder: Half | None
    """None where the family has no such half. The decoder half has a language-model head; its spec has cross-attention when the configuration asks for it."""
    grafted: bool = False
    """Whether cross-attention is no part of the published design, and so comes by a graft."""
    sees_back: bool = False
    """Whether the family was published as a causal model alone, so that its use as an encoder lifts the causal mask."""
    pooled: bool = False
    """Whether the published body ends in a pooler over the first token."""

    def half(self, side: Literal["encoder", "decoder"]) -> Half:
        """One side's declaration; ConfigurationError when the family cannot stand there."""
        found: Half | None = getattr(self, side)
        if found is None:
            raise ConfigurationError(f"'{self.config.model_type}' must stand on the other side: it has no {side} half.")
        return found
