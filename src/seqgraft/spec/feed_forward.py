"""The feed-forward of a layer."""

from dataclasses import dataclass

from seqgraft.errors import SpecError
from seqgraft.spec.checks import at_least, one_of, probability

ACTIVATIONS = ("gelu", "gelu_tanh", "quick_gelu", "relu", "relu_squared", "silu", "tanh")
"""Activation functions; `gelu_tanh` and `quick_gelu` are the two approximations of Hendrycks & Gimpel 2016."""


@dataclass(frozen=True)
class FeedForward:
    """Two linear maps with an activation between; gated: a third, activated, multiplies the first (Shazeer 2020)."""

    width: int
    activation: str
    gated: bool = False
    bias: bool = True
    down_bias: bool | None = None
    """Whether the last map has a bias, where it differs (GTE)."""
    dropout: float = 0.0
    """After the activation."""

    clamp: float | None = None
    """c: what is activated stays below c, what it multiplies within -c and c and is then raised by 1 (GPT-OSS)."""

    def __post_init__(self) -> None:
        at_least("FeedForward.width", self.width, 1)
        if self.clamp is not None and not self.gated:
            raise SpecError(f"FeedForward.clamp needs a gated feed-forward, but is {self.clamp}.")
        one_of("FeedForward.activation", self.activation, ACTIVATIONS)
        probability("FeedForward.dropout", self.dropout)

    @property
    def biases(self) -> tuple[bool, bool]:
        """Whether the maps that widen, and the one that narrows, have a bias."""
        return self.bias, self.bias if self.down_bias is None else self.down_bias
