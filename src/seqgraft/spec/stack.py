"""What a Transformer stack computes: frozen, hashable, checked when it is made.

A spec states mathematics, never a checkpoint's words. Everything that runs a stack, in any framework, branches on
these values and on nothing else.
"""

from dataclasses import dataclass
from typing import Literal

from seqgraft.errors import SpecError

ACTIVATIONS = ("gelu", "gelu_tanh", "relu", "silu", "tanh")
"""Activation functions; `gelu_tanh` is the tanh approximation of Hendrycks & Gimpel 2016."""


@dataclass(frozen=True)
class Norm:
    """Layer normalisation (Ba et al. 2016), or by the root mean square alone (Zhang & Sennrich 2019)."""

    kind: Literal["layer", "rms"]
    eps: float
    bias: bool = True

    def __post_init__(self) -> None:
        _one_of("Norm.kind", self.kind, ("layer", "rms"))
        _at_least("Norm.eps", self.eps, 0)
        if self.kind == "rms" and self.bias:
            raise SpecError("Norm.bias must be False for the kind 'rms', but is True.")


@dataclass(frozen=True)
class Rotary:
    """Rotary positions (Su et al. 2021), the two halves of a head turned against each other."""

    theta: float

    def __post_init__(self) -> None:
        _at_least("Rotary.theta", self.theta, 1)


@dataclass(frozen=True)
class Attention:
    """One attention block: self-attention, or cross-attention when `memory_width` is set."""

    heads: int
    key_value_heads: int
    head_width: int
    input_bias: bool = False
    """Whether the query, key and value projections have a bias."""
    output_bias: bool = False
    scale: float | None = None
    """Factor of the scores; None means head_width ** -0.5."""
    rotary: Rotary | None = None
    window: tuple[int, int] | None = None
    """Positions visible (back, ahead) of a query, both inclusive, beside its own; None means all."""
    head_norm: Norm | None = None
    """Norm of each head's queries and keys, before the rotation."""
    memory_width: int | None = None
    """Width of the states attended to, when they are another stack's."""
    gate: Literal["tanh"] | None = None
    """A learned scalar g multiplies the block's output by tanh(g); g starts at 0 (Flamingo, Alayrac et al. 2022)."""
    dropout: float = 0.0
    """Of the attention probabilities."""

    def __post_init__(self) -> None:
        for name in ("heads", "key_value_heads", "head_width"):
            _at_least(f"Attention.{name}", getattr(self, name), 1)
        if self.heads % self.key_value_heads:
            raise SpecError(
                f"The number of key-value heads must divide the number of attention heads ({self.heads}), "
                f"but is {self.key_value_heads}."
            )
        if self.rotary is not None and self.head_width % 2:
            raise SpecError(f"Rotary positions need an even head width, but it is {self.head_width}.")
        if self.window is not None and min(self.window) < 0:
            raise SpecError(f"Attention.window must hold two numbers of at least 0, but is {self.window}.")
        if self.memory_width is not None:
            _at_least("Attention.memory_width", self.memory_width, 1)
            if self.rotary is not None or self.window is not None:
                raise SpecError("Cross-attention has no rotary positions and no window of its own.")
        _probability("Attention.dropout", self.dropout)


@dataclass(frozen=True)
class FeedForward:
    """Two linear maps with an activation between; gated: a third, activated, multiplies the first (Shazeer 2020)."""

    width: int
    activation: str
    gated: bool = False
    bias: bool = True
    dropout: float = 0.0
    """After the activation."""

    def __post_init__(self) -> None:
        _at_least("FeedForward.width", self.width, 1)
        _one_of("FeedForward.activation", self.activation, ACTIVATIONS)
        _probability("FeedForward.dropout", self.dropout)


@dataclass(frozen=True)
class Layer:
    """Self-attention, cross-attention if any, and feed-forward, each with its residual and norm."""

    self_attention: Attention
    feed_forward: FeedForward
    norm: Norm
    order: Literal["pre", "post"]
    """pre: x + block(norm(x)); post: norm(x + block(x))."""
    cross_attention: Attention | None = None
    dropout: float = 0.0
    """Of each block's output, before the residual is added."""

    def __post_init__(self) -> None:
        _one_of("Layer.order", self.order, ("pre", "post"))
        _probability("Layer.dropout", self.dropout)
        if self.self_attention.memory_width is not None:
            raise SpecError("Self-attention attends to its own stack, so its memory_width must be None.")
        if self.cross_attention is not None and self.cross_attention.memory_width is None:
            raise SpecError("Cross-attention must say the width of what it attends to, but its memory_width is None.")


@dataclass(frozen=True)
class Positions:
    """A learned table of absolute positions."""

    rows: int
    offset: int = 0
    """Row of the first position."""
    counted: Literal["all", "real"] = "all"
    """all: every token counts; real: only tokens that the mask shows, hidden ones take the row before the first."""

    def __post_init__(self) -> None:
        _at_least("Positions.rows", self.rows, 1)
        _at_least("Positions.offset", self.offset, 0)
        _one_of("Positions.counted", self.counted, ("all", "real"))
        if self.offset >= self.rows:
            raise SpecError(f"Positions.offset must be below the number of rows ({self.rows}), but is {self.offset}.")
        if self.counted == "real" and self.offset < 1:
            raise SpecError("Positions.offset must be at least 1 when only real tokens count, but is 0.")

    @property
    def longest(self) -> int:
        """The longest sequence that the table serves."""
        return self.rows - self.offset


@dataclass(frozen=True)
class Transform:
    """A linear map, an activation and a norm between the states and the output table (BERT's head)."""

    activation: str
    norm: Norm

    def __post_init__(self) -> None:
        _one_of("Transform.activation", self.activation, ACTIVATIONS)


@dataclass(frozen=True)
class Head:
    """From states to logits over the vocabulary."""

    tied: bool
    """Whether the output table is the input table (Press & Wolf 2017)."""
    bias: bool = False
    transform: Transform | None = None


@dataclass(frozen=True)
class Stack:
    """A whole stack: embeddings, layers, and a head when it is a language model."""

    width: int
    vocabulary: int
    layers: tuple[Layer, ...]
    causal: bool
    """Whether a position sees only itself and those before it."""
    embed_scale: float = 1.0
    positions: Positions | None = None
    token_types: int = 0
    embed_norm: Norm | None = None
    embed_dropout: float = 0.0
    final_norm: Norm | None = None
    head: Head | None = None
    deviation: float = 0.02
    """Standard deviation of fresh weights."""
    output_deviation: float | None = None
    """Of fresh output projections of the blocks, where it differs (GPT-2 divides by the root of its depth)."""

    def __post_init__(self) -> None:
        for name in ("width", "vocabulary"):
            _at_least(f"Stack.{name}", getattr(self, name), 1)
        if not self.layers:
            raise SpecError("A stack must have at least one layer, but has none.")
        _at_least("Stack.token_types", self.token_types, 0)
        _probability("Stack.embed_dropout", self.embed_dropout)
        if self.causal and any(layer.self_attention.window and layer.self_attention.window[1] for layer in self.layers):
            raise SpecError("A causal stack sees no position ahead, so every window must be (back, 0).")

    @property
    def sees_memory(self) -> bool:
        """Whether any layer attends to an encoder's states."""
        return any(layer.cross_attention is not None for layer in self.layers)

    @property
    def memory_width(self) -> int | None:
        """Width of the encoder states that the cross-attention reads."""
        widths = {layer.cross_attention.memory_width for layer in self.layers if layer.cross_attention is not None}
        if len(widths) > 1:
            raise SpecError(
                f"All layers must read encoder states of one width, but they read {sorted(map(str, widths))}."
            )
        return next(iter(widths), None)


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SpecError(f"{name} must be one of {', '.join(allowed)}, but is {value!r}.")


def _at_least(name: str, value: float, least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < least:
        raise SpecError(f"{name} must be a number of at least {least}, but is {value!r}.")


def _probability(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise SpecError(f"{name} must be a probability from 0 to 1, but is {value!r}.")
