"""What one attention block computes: norms, positions that enter its scores, its heads and its view."""

from dataclasses import dataclass
from typing import Literal

from seqgraft.errors import SpecError
from seqgraft.spec.checks import at_least, one_of, probability
from seqgraft.spec.disentangled import Disentangled
from seqgraft.spec.sparse import BlockSparse


@dataclass(frozen=True)
class Norm:
    """Layer normalisation (Ba et al. 2016), or by the root mean square alone (Zhang & Sennrich 2019)."""

    kind: Literal["layer", "rms"]
    eps: float
    bias: bool = True
    weight: bool = True
    """Whether it has one (NanoChat's have none)."""
    offset: float = 0.0
    """Added to the weight before use (Gemma stores weight - 1); the product is then taken in float32."""

    def __post_init__(self) -> None:
        one_of("Norm.kind", self.kind, ("layer", "rms"))
        at_least("Norm.eps", self.eps, 0)
        if self.kind == "rms" and self.bias:
            raise SpecError("Norm.bias must be False for the kind 'rms', but is True.")
        if not self.weight and (self.bias or self.offset):
            raise SpecError("Norm.bias and Norm.offset need a weight, but there is none.")


@dataclass(frozen=True)
class RotaryScaling:
    """How rotary angles are stretched beyond the lengths that a model was trained on first.

    linear: positions divided by `factor` (Chen et al. 2023). dynamic: theta grows with the sequence beyond
    `original` (NTK-aware). llama3: slow angles divided by `factor`, fast ones kept, `low` and `high` between them
    (Llama 3.1). yarn: the same by number of turns, `low` and `high` being beta_slow and beta_fast (Peng et al. 2023).
    longrope: each angle divided by its own factor, `short` up to `original` and `long` beyond (Ding et al. 2024).
    """

    kind: Literal["linear", "dynamic", "llama3", "yarn", "longrope"]
    factor: float = 1.0
    original: int = 0
    low: float = 0.0
    high: float = 0.0
    short: tuple[float, ...] = ()
    long: tuple[float, ...] = ()
    magnitude: float = 1.0
    """Factor of the cosines and sines."""
    whole_turns: bool = True
    """yarn: whether the range of corrected angles is rounded outwards."""

    def __post_init__(self) -> None:
        one_of("RotaryScaling.kind", self.kind, ("linear", "dynamic", "llama3", "yarn", "longrope"))
        if self.kind != "longrope":
            at_least("RotaryScaling.factor", self.factor, 1)
        if self.kind != "linear":
            at_least("RotaryScaling.original", self.original, 1)
        if self.kind == "longrope" and (not self.short or len(self.short) != len(self.long)):
            raise SpecError("RotaryScaling of the kind 'longrope' needs as many short as long factors, at least one.")


@dataclass(frozen=True)
class Rotary:
    """Rotary positions (Su et al. 2021)."""

    theta: float
    width: int | None = None
    """How many of a head's numbers turn, the first ones; None means all."""
    layout: Literal["halves", "pairs"] = "halves"
    """Whether a number turns against the one half the width further, or against its neighbour."""
    scaling: RotaryScaling | None = None
    backwards: bool = False
    """Whether the turn goes the other way (NanoChat)."""
    values: bool = False
    """Whether values turn as keys do (RoFormer's `rotary_value`)."""

    def __post_init__(self) -> None:
        at_least("Rotary.theta", self.theta, 1)
        one_of("Rotary.layout", self.layout, ("halves", "pairs"))
        if self.width is not None and (self.width < 2 or self.width % 2):
            raise SpecError(f"Rotary.width must be an even number of at least 2, but is {self.width}.")


@dataclass(frozen=True)
class Buckets:
    """A learned bias on the scores by distance, in buckets that widen with it (Raffel et al. 2020)."""

    count: int
    longest: int
    """Distance from which all positions share the last bucket."""

    def __post_init__(self) -> None:
        at_least("Buckets.count", self.count, 4)
        at_least("Buckets.longest", self.longest, self.count // 2)


@dataclass(frozen=True)
class Attention:
    """One attention block: self-attention, or cross-attention when `memory_width` is set."""

    heads: int
    key_value_heads: int
    head_width: int
    input_bias: bool = False
    """Whether the query, key and value projections have a bias."""
    key_bias: bool | None = None
    """Whether the key projection has one, where it differs (DeBERTa: a key's bias changes no probability)."""
    output_bias: bool = False
    scale: float | None = None
    """Factor of the scores; None means head_width ** -0.5."""
    rotary: Rotary | None = None
    window: tuple[int, int] | None = None
    """Positions visible (back, ahead) of a query, both inclusive, beside its own; None means all."""
    everywhere: bool = False
    """Whether tokens that a call names are seen by all and see all, beyond the window; what they see, they see with
    queries, keys and values of their own (Longformer's global attention, Beltagy et al. 2020)."""
    sparse: BlockSparse | None = None
    """Which blocks a longer text sees; None means all."""
    buckets: Buckets | None = None
    """A table of this block's own; a table that all layers share is the stack's."""
    relative: Buckets | None = None
    """A bias on the scores by distance, in buckets, that a linear map makes of what the query is made of."""
    disentangled: Disentangled | None = None
    """What the stack's table of distances adds to the scores."""
    alibi: float | None = None
    """Scores fall linearly with distance (Press et al. 2022); the number is the exponent of the steepest slope."""
    alibi_scale: float = 1.0
    """Factor of those slopes (Falcon scales them as it scales the scores)."""
    clip: float | None = None
    """c: queries, keys and values are kept within -c and c (MPT 7B StoryWriter)."""
    softcap: float | None = None
    """c: the scores become c * tanh(scores / c) (Gemma 2)."""
    sink: bool = False
    """A learned score a head for looking at nothing (GPT-OSS)."""
    head_norm: Norm | None = None
    """Norm of the queries and keys before the rotation."""
    head_norm_spans: Literal["head", "all", "each", "apart"] = "head"
    """Whether that norm is taken over each head's numbers or over all heads' together (OLMo 2).

    each: over each head's numbers, with weights of each head's own (Command R+). apart: the same, each head's weights
    a tensor of their own (StableLM 2 12B)."""
    memory_width: int | None = None
    """Width of the states attended to, when they are another stack's."""
    gate: Literal["tanh"] | None = None
    """A learned scalar g multiplies the block's output by tanh(g); g starts at 0 (Flamingo, Alayrac et al. 2022)."""
    dropout: float = 0.0
    """Of the attention probabilities."""

    def __post_init__(self) -> None:
        for name in ("heads", "key_value_heads", "head_width"):
            at_least(f"Attention.{name}", getattr(self, name), 1)
        if self.heads % self.key_value_heads:
            raise SpecError(
                f"The number of key-value heads must divide the number of attention heads ({self.heads}), "
                f"but is {self.key_value_heads}."
            )
        if self.rotary is not None and (self.rotary.width or self.head_width) % 2:
            raise SpecError(f"Rotary positions need an even head width, but it is {self.head_width}.")
        if self.rotary is not None and (self.rotary.width or 0) > self.head_width:
            raise SpecError(
                f"Rotary.width must be at most the head width ({self.head_width}), but is {self.rotary.width}."
            )
        if self.window is not None and min(self.window) < 0:
            raise SpecError(f"Attention.window must hold two numbers of at least 0, but is {self.window}.")
        if self.everywhere and (
            self.window is None
            or self.key_value_heads != self.heads
            or self.rotary
            or self.buckets
            or self.alibi
            or self.disentangled
            or self.softcap
            or self.sink
            or self.head_norm
        ):
            raise SpecError(
                "Attention.everywhere needs a window, as many key-value heads as heads, and nothing else that changes "
                "the scores."
            )
        one_of("Attention.head_norm_spans", self.head_norm_spans, ("head", "all", "each", "apart"))
        norm = self.head_norm if self.head_norm_spans in ("each", "apart") else None
        if norm is not None and (norm.bias or not norm.weight):
            raise SpecError("Attention.head_norm must have a weight and no bias when each head has its own.")
        if self.memory_width is not None:
            at_least("Attention.memory_width", self.memory_width, 1)
            if self.rotary or self.window or self.sparse or self.buckets or self.alibi or self.disentangled:
                raise SpecError("Cross-attention has no positions and no window of its own.")
        if self.disentangled is not None and self.key_value_heads != self.heads:
            raise SpecError("Disentangled attention needs as many key-value heads as heads.")
        if self.relative is not None and (
            self.key_value_heads != self.heads or self.rotary or self.window or self.memory_width
        ):
            raise SpecError(
                "Attention.relative needs self-attention with as many key-value heads as heads, and no window."
            )
        if self.sparse is not None and (
            self.key_value_heads != self.heads
            or self.window
            or self.buckets
            or self.alibi
            or self.disentangled
            or self.softcap
            or self.sink
        ):
            raise SpecError(
                "Attention.sparse needs as many key-value heads as heads, and nothing else that changes the scores."
            )
        probability("Attention.dropout", self.dropout)

    @property
    def biases(self) -> tuple[bool, bool]:
        """Whether the query and value projections, and the key projection, have a bias."""
        return self.input_bias, self.input_bias if self.key_bias is None else self.key_bias
