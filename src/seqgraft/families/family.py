"""What a family declares."""

import functools
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
    """Raises SeqgraftError, and nothing else, for a configuration that describes no model."""
    names: Callable[[Any], Names]

    def __post_init__(self) -> None:
        object.__setattr__(self, "spec", _checked(self.spec))


DEEPEST = 10_000
"""Layers that a configuration may ask for: a description has a place for each."""
_DEPTHS = ("num_hidden_layers", "encoder_layers", "decoder_layers", "num_decoder_layers")


def _checked(spec: Callable[[Any], Stack]) -> Callable[[Any], Stack]:
    """The same, where values of the wrong kind are an error of the configuration."""

    @functools.wraps(spec)
    def checked(config: Any) -> Stack:
        for name in _DEPTHS:
            depth = getattr(config, name, None)
            if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth > DEEPEST):
                raise ConfigurationError(f"`{name}` must be a whole number of at most {DEEPEST:,}, but is {depth!r}.")
        try:
            return spec(config)
        except (TypeError, ZeroDivisionError, OverflowError) as error:
            raise ConfigurationError(
                f"The configuration of a '{config.model_type}' must describe a model, but one of its values is of "
                f"the wrong kind: {error}."
            ) from error

    return checked


@dataclass(frozen=True)
class Whole:
    """A published encoder-decoder: its halves, under one configuration, stand in one file.

    There each half has the names that it has in a headed file of its own, and what they share stands once.
    """

    table: Callable[[Any], str | None]
    """The file's name of the token embeddings that both halves read; None where each has its own."""
    copies: tuple[str, ...] = ()
    """What the encoder and the decoder call that table in files of their own, where they call it otherwise."""
    fixed: tuple[str, ...] = ()
    """Canonical names of what the decoder has only here, which training leaves alone and a file may lack: zeros."""
    wraps: bool = False
    """Whether labels become decoder inputs by their last token, the language's, going before the first (mBART)."""


@dataclass(frozen=True)
class Family:
    """One published family, or several that share everything but their defaults."""

    config: type[PretrainedConfig]
    encoder: Half | None
    decoder: Half | None
    """None where the family has no such half. The decoder half has a language-model head; its spec has cross-attention
    when the configuration asks for it."""
    grafted: bool = False
    """Whether cross-attention is no part of the published design, and so comes by a graft."""
    sees_back: bool = False
    """Whether the family was published as a causal model alone, so that its use as an encoder lifts the causal mask."""
    pooled: bool = False
    """Whether the published body ends in a pooler over the first token."""
    whole: Whole | None = None
    """How both halves stand in one file, where the family was published as an encoder-decoder."""
    output_table: str | None = None
    """The output table's name, where the file tells whether it is tied and not the configuration (T5 version 1.1)."""
    pooler: str = "pooler.dense"
    """The published name of its linear map."""

    def half(self, side: Literal["encoder", "decoder"]) -> Half:
        """One side's declaration; ConfigurationError when the family cannot stand there."""
        found: Half | None = getattr(self, side)
        if found is None:
            raise ConfigurationError(f"'{self.config.model_type}' must stand on the other side: it has no {side} half.")
        return found
