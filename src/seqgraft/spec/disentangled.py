"""Disentangled attention (He et al. 2021): what stands at a position and how far it is enter the scores apart."""

from dataclasses import dataclass

from seqgraft.errors import SpecError
from seqgraft.spec.checks import at_least, probability


@dataclass(frozen=True)
class Distances:
    """A table of embeddings of the distances between two tokens, which all layers share.

    Its rows stand for -span to span - 1 (the query's position minus the key's); whatever is further has the last one.
    """

    span: int
    longest: int | None = None
    """Distances of more than half the span share rows, the more the further they are, up to this one (He et al. 2021b);
    None means that each has its own."""

    def __post_init__(self) -> None:
        at_least("Distances.span", self.span, 1)
        if self.longest is not None:
            at_least("Distances.span", self.span, 4)
            at_least("Distances.longest", self.longest, self.span // 2 + 2)


@dataclass(frozen=True)
class Disentangled:
    """What an attention block adds to its scores from the stack's table of distances."""

    content_to_position: bool
    """query . key of the distance."""
    position_to_content: bool
    """query of the distance . key."""
    shared: bool = False
    """Whether distances go through the maps of the block's own queries and keys (DeBERTa version 3)."""
    key_bias: bool = True
    """Whether the map to the distances' keys has a bias (in the first DeBERTa it has none)."""
    dropout: float = 0.0
    """Of the distances' embeddings."""

    def __post_init__(self) -> None:
        if not (self.content_to_position or self.position_to_content):
            raise SpecError("Disentangled must look at contents, at positions, or at both, but looks at neither.")
        probability("Disentangled.dropout", self.dropout)
