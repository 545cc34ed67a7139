"""One row of the suite: what it needs to know of a family."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

VOCABULARY = 61
LONGEST = 72
"""Tokens that every row's table of positions serves."""


@dataclass(frozen=True)
class Row:
    """One family, or one layout of it: a tiny configuration and the reference's classes."""

    name: str
    model_type: str
    config: dict[str, Any] = field(hash=False)
    body: str
    """The reference's class of the bare body."""
    causal: str | None = None
    """The reference's class with a language-model head; None where the family has no decoder half."""
    decoder: dict[str, Any] = field(default_factory=dict, hash=False)
    """Fields that make the configuration a plain decoder's."""
    cross: bool = True
    """Whether the published design has cross-attention."""
    grafts: bool = True
    """Whether a family without it takes it between its blocks."""
    dropouts: tuple[str, ...] = ()
    token_types: bool = False
    positions: bool = True
    """Whether the reference takes `position_ids`."""
    sees_back: bool = False
    """Whether the body is causal, unless `is_causal` is False."""
    own_files: bool = True
    """Whether the reference saves the encoder half alone under the names of the whole body."""
    shifted: bool = True
    """Whether the reference's loss shifts the labels."""
    source: int = 6
    """Length of the encoder's states: the reference's Megatron-BERT fails unless they are as many as the decoder's."""
    counted: bool = False
    """Whether the reference must be told positions counted from the mask, which it forgot to count since version 4."""
    lift: Callable[[Any], None] | None = None
    """Lifts the causal mask of the reference's body where `is_causal` does not, or not as it should."""
    shows_padding: bool = True
    """Whether the reference computes the states of padding too, rather than making them zero."""

    @property
    def sides(self) -> tuple[str, ...]:
        """The halves that the family has."""
        return ("encoder", "decoder") if self.causal else ("encoder",)
