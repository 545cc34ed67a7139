"""Learned keys and values that stand before a block's own (prefix tuning, Li & Liang 2021)."""

from dataclasses import dataclass
from typing import Literal

from seqgraft.errors import SpecError
from seqgraft.spec.checks import at_least, one_of, probability
from seqgraft.spec.feed_forward import ACTIVATIONS

Block = Literal["self_attention", "cross_attention"]


@dataclass(frozen=True)
class Prefix:
    """For each of `blocks`, in every layer, `length` keys and values more, which all queries see.

    They are made of a table of `length` embeddings, for all layers at once: down(activation(up(embedding))).
    """

    length: int
    inner: int
    """Width between the two maps."""
    blocks: tuple[Block, ...]
    activation: str = "gelu"
    dropout: float = 0.0
    """Of the keys and values."""

    def __post_init__(self) -> None:
        at_least("Prefix.length", self.length, 1)
        at_least("Prefix.inner", self.inner, 1)
        one_of("Prefix.activation", self.activation, ACTIVATIONS)
        probability("Prefix.dropout", self.dropout)
        if not self.blocks:
            raise SpecError("Prefix.blocks must name a block, but is empty.")
        for block in self.blocks:
            one_of("Prefix.blocks", block, ("self_attention", "cross_attention"))
