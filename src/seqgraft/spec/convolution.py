"""A convolution beside the first layer."""

from dataclasses import dataclass

from seqgraft.errors import SpecError
from seqgraft.spec.checks import at_least, one_of, probability
from seqgraft.spec.feed_forward import ACTIVATIONS


@dataclass(frozen=True)
class Convolution:
    """Neighbouring tokens' embeddings, mixed, activated and added to what the first layer gives; then a norm of its own
    (DeBERTa version 2, He et al. 2021b). Hidden tokens count as zeros."""

    kernel: int
    """How many tokens are mixed, half of them to either side."""
    activation: str
    groups: int = 1
    dropout: float = 0.0
    """Before the activation."""

    def __post_init__(self) -> None:
        at_least("Convolution.kernel", self.kernel, 1)
        at_least("Convolution.groups", self.groups, 1)
        if self.kernel % 2 == 0:
            raise SpecError(f"Convolution.kernel must be an odd number, but is {self.kernel}.")
        one_of("Convolution.activation", self.activation, ACTIVATIONS)
        probability("Convolution.dropout", self.dropout)
