"""One layer: its blocks, their order, and how it sees another stack's states."""

from dataclasses import dataclass
from typing import Literal

from seqgraft.errors import SpecError
from seqgraft.spec.attention import Attention, Norm
from seqgraft.spec.checks import at_least, one_of, probability
from seqgraft.spec.experts import Experts
from seqgraft.spec.feed_forward import ACTIVATIONS, FeedForward


@dataclass(frozen=True)
class Adapter:
    """Two linear maps with an activation between and a residual, after the feed-forward (X-MOD, Pfeiffer 2022)."""

    width: int
    activation: str
    norm: Literal["own", "feed_forward"] | None = None
    """The norm of what it reads: one of its own, or that of the feed-forward once more."""
    normed_residual: bool = True
    """Whether its residual is taken after that norm."""
    given: str | None = None
    """The input of a call that says which of several adapters a row has, where a checkpoint holds several."""

    def __post_init__(self) -> None:
        at_least("Adapter.width", self.width, 1)
        one_of("Adapter.activation", self.activation, ACTIVATIONS)
        if self.norm is not None:
            one_of("Adapter.norm", self.norm, ("own", "feed_forward"))


@dataclass(frozen=True)
class Inserted:
    """Cross-attention and a feed-forward, each x + gate * block(norm(x)), before a layer (Llama 3.2 Vision)."""

    cross_attention: Attention
    feed_forward: FeedForward | Experts
    norm: Norm
    gate: Literal["tanh"] | None = None
    """Of the feed-forward: a learned scalar g multiplies its output by tanh(g); g starts at 0."""

    def __post_init__(self) -> None:
        if self.cross_attention.memory_width is None:
            raise SpecError("Cross-attention must say the width of what it attends to, but its memory_width is None.")


@dataclass(frozen=True)
class Layer:
    """Self-attention, cross-attention if any, and feed-forward, each with its residual and norm."""

    self_attention: Attention
    feed_forward: FeedForward | Experts
    norm: Norm
    order: Literal["pre", "post", "sandwich", "after", "parallel"]
    """pre: x + block(norm(x)). post: norm(x + block(x)). sandwich: x + norm(block(norm(x))). after: x + norm(block(x)).

    parallel: x + attention(norm(x)) + feed_forward(norm(x)), both from the same x (Wang & Komatsuzaki 2021).
    """
    cross_attention: Attention | None = None
    dropout: float = 0.0
    """Of each block's output, before the residual is added."""
    feed_forward_dropout: float | None = None
    """Of the feed-forward's output, where it differs."""
    one_norm: bool = False
    """Whether the two blocks of a parallel layer read the same norm's output."""
    bare_attention: bool = False
    """Whether self-attention reads its input without a norm (ModernBERT's first layer)."""
    residual_scale: float = 1.0
    """Factor of each block's output before it is added (Granite)."""
    adapter: Adapter | None = None
    inserted: Inserted | None = None
    """A layer that looks at the memory before this one."""
    merged: bool = False
    """Whether self-attention sees the memory's states beside its own, through the same projections (T5Gemma 2)."""

    def __post_init__(self) -> None:
        one_of("Layer.order", self.order, ("pre", "post", "sandwich", "after", "parallel"))
        probability("Layer.dropout", self.dropout)
        if self.feed_forward_dropout is not None:
            probability("Layer.feed_forward_dropout", self.feed_forward_dropout)
        if self.self_attention.memory_width is not None:
            raise SpecError("Self-attention attends to its own stack, so its memory_width must be None.")
        if self.cross_attention is not None and self.cross_attention.memory_width is None:
            raise SpecError("Cross-attention must say the width of what it attends to, but its memory_width is None.")
        if self.one_norm and self.order != "parallel":
            raise SpecError(f"Layer.one_norm needs the order 'parallel', but it is {self.order!r}.")
        if self.bare_attention and self.order != "pre":
            raise SpecError(f"Layer.bare_attention needs the order 'pre', but it is {self.order!r}.")
        if self.adapter is not None and self.order not in ("pre", "post"):
            raise SpecError(f"Layer.adapter needs the order 'pre' or 'post', but it is {self.order!r}.")

        ways = [self.cross_attention is not None, self.inserted is not None, self.merged]
        if sum(ways) > 1:
            raise SpecError("A layer must see the memory in one way: by cross-attention, an inserted layer, or merged.")

    @property
    def looks(self) -> Attention | None:
        """The attention that reads the memory, if any does."""
        if self.inserted is not None:
            return self.inserted.cross_attention
        return self.self_attention if self.merged else self.cross_attention

    @property
    def norms(self) -> tuple[str, ...]:
        """The layer's norms by their canonical names, in the order of the computation."""
        names: list[str] = []
        for block in ("self_attention", "cross_attention", "feed_forward"):
            if block == "cross_attention" and self.cross_attention is None:
                continue
            bare = self.bare_attention and block == "self_attention"
            shared = self.one_norm and block == "feed_forward"
            if not bare and not shared:
                names.append(f"{block}_norm")
            if self.order == "sandwich":
                names.append(f"{block}_post_norm")
        if self.adapter is not None and self.adapter.norm == "own":
            names.append("adapter_norm")
        return tuple(names)
