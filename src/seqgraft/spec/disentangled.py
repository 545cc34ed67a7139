"""What stands at a position and how far it is enter the scores apart: Transformer-XL (Dai et al. 2019), DeBERTa (He et
al. 2021)."""

from dataclasses import dataclass
from typing import Literal

from seqgraft.errors import SpecError
from seqgraft.spec.checks import at_least, one_of, probability


@dataclass(frozen=True)
class Distances:
    """A table of embeddings of the distances between two tokens, which all layers share.

    Its rows stand for -span to span - 1 (the query's position minus the key's); whatever is further has the last one.
    """

    span: int | None
    """None, of sines alone: every distance has a row of its own."""
    longest: int | None = None
    """Distances of more than half the span share rows, the more the further they are, up to this one (He et al. 2021b);
    None means that each has its own."""
    kind: Literal["learned", "sines"] = "learned"
    """sines: sin and cos of d / 10000^(2j / width), one half each, where d is kept within -span and span (Dai et al.
    2019)."""
    dropout: float = 0.0
    """Of the embeddings, once for all layers."""

    def __post_init__(self) -> None:
        one_of("Distances.kind", self.kind, ("learned", "sines"))
        probability("Distances.dropout", self.dropout)
        if self.span is None and self.kind == "learned":
            raise SpecError("Distances.span must be a number where the table is learned, but is None.")
        if self.span is not None:
            at_least("Distances.span", self.span, 1)
        if self.longest is not None:
            if self.kind == "sines" or self.span is None:
                raise SpecError(f"Distances.longest must be None for the kind 'sines', but is {self.longest}.")
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
    query_biases: bool = False
    """Whether a query has a bias for contents and another for distances (Dai et al. 2019, their u and v)."""
    segments: bool = False
    """Whether the query, with a third bias, also meets one of two embeddings: that of keys of its own token type, or
    that of keys of another (XLNet, Yang et al. 2019)."""

    def __post_init__(self) -> None:
        if not (self.content_to_position or self.position_to_content):
            raise SpecError("Disentangled must look at contents, at positions, or at both, but looks at neither.")
        if self.segments and not self.query_biases:
            raise SpecError("Disentangled.segments needs query_biases, but there are none.")
        if self.query_biases and not self.content_to_position:
            raise SpecError("Disentangled.query_biases needs content_to_position, but there is none.")
        probability("Disentangled.dropout", self.dropout)
