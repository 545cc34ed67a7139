"""Streams that look ahead, beside the one that reads the text (ProphetNet, Qi et al. 2020)."""

from dataclasses import dataclass

from seqgraft.errors import SpecError
from seqgraft.spec.checks import at_least, probability


@dataclass(frozen=True)
class Streams:
    """At each place `count` further states, through the same layers: an embedding of the stream and the position of
    the next token. The first sees the text up to its place, each other one token less of it, all the first token,
    and each itself. The first stream's last states are the stack's: they predict the next token.
    """

    count: int
    learned: int
    """How many of them, the first ones, count in the loss, all with the same labels."""
    smoothing: float = 0.0
    """Share of the loss that goes to all tokens alike."""

    def __post_init__(self) -> None:
        at_least("Streams.count", self.count, 1)
        at_least("Streams.learned", self.learned, 1)
        probability("Streams.smoothing", self.smoothing)
        if self.learned > self.count:
            raise SpecError(f"Streams.learned must be at most the count ({self.count}), but is {self.learned}.")
