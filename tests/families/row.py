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
    """The reference's class of the bare body; empty where the family has no encoder half."""
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
    table: str = "encoder.embed_tokens.weight"
    """What our file of that half alone calls its table of embeddings."""
    shared: str = "shared.weight"
    """What the reference's file of the whole body calls it."""
    shifted: bool = True
    """Whether the reference's loss shifts the labels."""
    source: int = 6
    """Length of the encoder's states: the reference's Megatron-BERT fails unless they are as many as the decoder's."""
    cross_works: bool = True
    """Whether the reference's published cross-attention runs."""
    mend: Callable[[Any, bool], None] | None = None
    """(model, whether it is seen both ways): mends what the reference's model does not do as it should."""
    stored: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    """The reference's tensors by its modules' names -> by the names of its files, where those differ."""
    shows_padding: bool = True
    """Whether the reference computes the states of padding too, rather than making them zero."""

    @property
    def sides(self) -> tuple[str, ...]:
        """The halves that the family has."""
        return ("encoder",) * bool(self.body) + ("decoder",) * bool(self.causal)


def says(theirs: Any, ours: Any) -> bool:
    """Whether the reference's field holds our value; a description inside a configuration holds at least ours."""
    theirs, ours = (one.to_dict() if hasattr(one, "to_dict") else one for one in (theirs, ours))
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return theirs | ours == theirs
    return bool(theirs == ours)
