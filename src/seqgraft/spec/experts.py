"""A mixture of experts in a feed-forward's place."""

from dataclasses import dataclass

from seqgraft.errors import SpecError
from seqgraft.spec.checks import at_least
from seqgraft.spec.feed_forward import FeedForward


@dataclass(frozen=True)
class Experts:
    """Several feed-forwards, of which a router chooses a few for each token (Shazeer et al. 2017).

    Their outputs are added, weighted by the softmax of the router's scores of those that were chosen
    (Mixtral, Jiang et al. 2024).
    """

    count: int
    chosen: int
    each: FeedForward
    router_bias: bool = False

    def __post_init__(self) -> None:
        at_least("Experts.count", self.count, 1)
        at_least("Experts.chosen", self.chosen, 1)
        if self.chosen > self.count:
            raise SpecError(
                f"Experts.chosen must be at most the number of experts ({self.count}), but is {self.chosen}."
            )

    @property
    def width(self) -> int:
        """Width of one expert."""
        return self.each.width
