"""What a Transformer stack computes: frozen, hashable, checked when it is made.

A spec states mathematics, never a checkpoint's words. Everything that runs a stack, in any framework, branches on
these values and on nothing else.
"""

from dataclasses import dataclass
from typing import Literal

from seqgraft.errors import SpecError
from seqgraft.spec.attention import Buckets, Norm
from seqgraft.spec.checks import at_least, one_of, probability
from seqgraft.spec.convolution import Convolution
from seqgraft.spec.disentangled import Distances
from seqgraft.spec.feed_forward import ACTIVATIONS
from seqgraft.spec.layer import Layer
from seqgraft.spec.prefix import Prefix
from seqgraft.spec.streams import Streams


@dataclass(frozen=True)
class Positions:
    """Absolute positions that are added to the embeddings: a learned table, or sines."""

    rows: int
    offset: int = 0
    """Row of the first position."""
    counted: Literal["all", "real", "shown"] = "all"
    """all: every token counts. real: only tokens that the mask shows, hidden ones take the row before the first.
    shown: likewise, but a hidden token takes the row of the last token shown."""
    kind: Literal["learned", "sines", "sines_tensor2tensor"] = "learned"
    """sines: sin and cos of i / 10000^(2j / width), one half each (Vaswani et al. 2017). sines_tensor2tensor: the last
    rate is exactly 1 / 10000, and the row of padding is zero."""
    given: Literal["rows", "places"] = "rows"
    """What positions handed in are: rows of the table, or places from 0, to which the offset is added (OPT)."""

    def __post_init__(self) -> None:
        one_of("Positions.given", self.given, ("rows", "places"))
        at_least("Positions.rows", self.rows, 1)
        at_least("Positions.offset", self.offset, 0)
        one_of("Positions.counted", self.counted, ("all", "real", "shown"))
        one_of("Positions.kind", self.kind, ("learned", "sines", "sines_tensor2tensor"))
        if self.offset >= self.rows:
            raise SpecError(f"Positions.offset must be below the number of rows ({self.rows}), but is {self.offset}.")
        if self.counted != "all" and self.offset < 1:
            raise SpecError("Positions.offset must be at least 1 when only real tokens count, but is 0.")

    @property
    def longest(self) -> int:
        """The longest sequence that the table serves."""
        return self.rows - self.offset


@dataclass(frozen=True)
class Constant:
    """A table of embeddings of an input that a text does not have: without it the first row is added to every token."""

    name: str
    rows: int
    times: int = 1
    """How often the first row is added; 0 for a table that is read only where the input is given (XLM)."""
    given: str | None = None
    """The input of a call that says which rows [batch, time], or [batch, time, columns], are added instead."""
    columns: tuple[tuple[int, ...], ...] = ()
    """Of an input with columns: each adds the row that a column says, or one column less another (LayoutLM)."""
    width: int | None = None
    """Width of a row that is joined to the token's embedding, before the map that widens both, rather than added
    (RoCBert). It is padding's row, and so is not trained."""


@dataclass(frozen=True)
class TokenDropout:
    """One token's embedding is zero, as if dropped, and the others make up for it: they are multiplied by
    (1 - rate) / (1 - share), `rate` being the training's and `share` the sequence's (ESM, Rives et al. 2021)."""

    token: int
    rate: float

    def __post_init__(self) -> None:
        at_least("TokenDropout.token", self.token, 0)
        probability("TokenDropout.rate", self.rate)


@dataclass(frozen=True)
class Narrow:
    """Token embeddings of another width than the states, and the linear map between (ALBERT, Lan et al. 2020)."""

    width: int
    bias: bool = True
    sums: Literal["narrow", "wide"] = "narrow"
    """Whether positions, token types and the embedding norm come before the map or after it."""
    back: bool = False
    """Whether another map, without a bias, makes the last states as narrow again (OPT 350m)."""

    def __post_init__(self) -> None:
        at_least("Narrow.width", self.width, 1)
        one_of("Narrow.sums", self.sums, ("narrow", "wide"))


@dataclass(frozen=True)
class Transform:
    """A linear map between the states and the output table, with an activation and a norm after it where there are."""

    activation: str | None
    norm: Norm | None
    width: int | None = None
    """What it maps to; None means the width of the states."""
    bias: bool = True

    def __post_init__(self) -> None:
        if self.activation is not None:
            one_of("Transform.activation", self.activation, ACTIVATIONS)


@dataclass(frozen=True)
class Head:
    """From states to logits over the vocabulary."""

    tied: bool
    """Whether the output table is the input table (Press & Wolf 2017)."""
    bias: bool = False
    transform: Transform | None = None
    scale: float = 1.0
    """Factor of the logits (or of the states: the same)."""
    softcap: float | None = None
    """c: the logits become c * tanh(logits / c) (Gemma 2)."""


@dataclass(frozen=True)
class Stack:
    """A whole stack: embeddings, layers, and a head when it is a language model."""

    width: int
    vocabulary: int
    layers: tuple[Layer, ...]
    causal: bool
    """Whether a position sees only itself and those before it."""
    embed_scale: float = 1.0
    padding: int | None = None
    """Token whose input embedding training leaves alone; where it also starts the target (Marian), that tells."""
    scales_given: bool = False
    """Whether that factor is of embeddings handed in too (Granite), rather than of the table's rows alone."""
    token_dropout: TokenDropout | None = None
    narrow: Narrow | None = None
    positions: Positions | None = None
    token_types: int = 0
    constants: tuple[Constant, ...] = ()
    embed_norm: Norm | None = None
    embed_norm_first: bool = False
    """Whether that norm is taken of the token embeddings alone, before positions are added (Blenderbot's decoder)."""
    embed_dropout: float = 0.0
    embed_dropout_first: bool = False
    """Whether that dropout comes before the embedding norm (BigBird)."""
    streams: Streams | None = None
    """Others beside the one that reads the text, which look ahead (ProphetNet)."""
    position_bias: Buckets | None = None
    """A bias on the scores of self-attention that all layers share; the table has one column a head."""
    distances: Distances | None = None
    """A table of distances for the layers whose attention is disentangled (DeBERTa)."""
    distances_norm: Norm | None = None
    """Its norm."""
    prefix: Prefix | None = None
    """Keys and values that stand before those of the layers' blocks (MVP, Tang et al. 2022)."""
    convolution: Convolution | None = None
    """Of the embeddings, beside the first layer, with a norm of the layer's kind."""
    shared: tuple[int, ...] | None = None
    """For each layer, the layer whose parameters it uses (ALBERT); None means that each has its own."""
    layer_drop: float = 0.0
    """Probability with which training skips a whole layer (Fan et al. 2020)."""
    final_norm: Norm | None = None
    final_dropout: float = 0.0
    head: Head | None = None
    deviation: float = 0.02
    """Standard deviation of fresh weights."""
    output_deviation: float | None = None
    """Of fresh output projections of the blocks, where it differs (GPT-2 divides by the root of its depth)."""

    def __post_init__(self) -> None:
        for name in ("width", "vocabulary"):
            at_least(f"Stack.{name}", getattr(self, name), 1)
        if self.padding is not None and not 0 <= self.padding < self.vocabulary:
            raise SpecError(
                f"Stack.padding must be a token of the vocabulary (0 to {self.vocabulary - 1}), but is {self.padding}."
            )
        if not self.layers:
            raise SpecError("A stack must have at least one layer, but has none.")
        at_least("Stack.token_types", self.token_types, 0)
        if self.joined and (self.narrow is None or self.narrow.sums != "wide"):
            raise SpecError("Constants are joined to the embeddings before a map that widens them: Stack.narrow.")
        probability("Stack.embed_dropout", self.embed_dropout)
        probability("Stack.final_dropout", self.final_dropout)
        probability("Stack.layer_drop", self.layer_drop)
        if self.convolution is not None and (self.causal or self.width % self.convolution.groups):
            raise SpecError("Stack.convolution needs a stack that is not causal, and groups that divide its width.")
        if self.distances is None and (
            self.distances_norm or any(layer.self_attention.disentangled for layer in self.layers)
        ):
            raise SpecError("Disentangled attention needs a table of distances, but Stack.distances is None.")
        if any(layer.self_attention.sparse for layer in self.layers) and (self.causal or self.position_bias):
            raise SpecError("Attention.sparse needs a stack that is not causal and has no Stack.position_bias.")
        if any(layer.self_attention.everywhere for layer in self.layers) and (self.causal or self.position_bias):
            raise SpecError("Attention.everywhere needs a stack that is not causal and has no Stack.position_bias.")
        relative = {layer.self_attention.relative for layer in self.layers}
        if self.streams is None and relative != {None}:
            raise SpecError("Attention.relative is of a stack with streams, but Stack.streams is None.")
        if self.streams is not None:
            learned = self.positions is not None and self.positions.kind == "learned"
            if not self.causal or not learned or len(relative) > 1 or None in relative:
                raise SpecError(
                    "Stack.streams needs a causal stack with a table of positions, and Attention.relative, "
                    "the same in all layers."
                )
        if self.prefix is not None:
            self._check_prefix(self.prefix)
        if self.embed_norm_first and self.embed_norm is None:
            raise SpecError("Stack.embed_norm_first needs an embedding norm, but there is none.")
        if self.causal and any(layer.self_attention.window and layer.self_attention.window[1] for layer in self.layers):
            raise SpecError("A causal stack sees no position ahead, so every window must be (back, 0).")
        if self.shared is not None:
            if len(self.shared) != len(self.layers) or any(s > i for i, s in enumerate(self.shared)):
                raise SpecError(
                    f"Stack.shared must name, for each of {len(self.layers)} layers, itself or one before it, "
                    f"but is {self.shared}."
                )
            if any(self.layers[i] != self.layers[s] or self.shared[s] != s for i, s in enumerate(self.shared)):
                raise SpecError("Layers that share parameters must be alike, and their owner must own its parameters.")

    def _check_prefix(self, prefix: Prefix) -> None:
        for block in prefix.blocks:
            kinds = {getattr(layer, block) for layer in self.layers}
            if None in kinds or len({(kind.key_value_heads, kind.head_width) for kind in kinds}) > 1:
                raise SpecError(f"Stack.prefix needs a {block} in every layer, all with heads alike.")
        if any(layer.self_attention.sparse or layer.self_attention.everywhere for layer in self.layers) or self.streams:
            raise SpecError("Stack.prefix needs a stack whose attention is neither sparse nor of several streams.")

    @property
    def embed_width(self) -> int:
        """Width of the table of token embeddings."""
        return self.narrow.width if self.narrow else self.width

    @property
    def joined(self) -> tuple[Constant, ...]:
        """Constants that are joined to the token embeddings."""
        return tuple(constant for constant in self.constants if constant.width is not None)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs of a call that say more than ids, masks, positions and token types do."""
        given = [constant.given for constant in self.constants]
        given += [layer.adapter.given for layer in self.layers if layer.adapter is not None]
        return tuple(dict.fromkeys(name for name in given if name is not None))

    @property
    def adapted_by(self) -> str | None:
        """That of them which says whose adapters a row has."""
        return next((layer.adapter.given for layer in self.layers if layer.adapter is not None), None)

    @property
    def state_width(self) -> int:
        """Width of the states that the stack gives, and that its head reads."""
        return self.narrow.width if self.narrow and self.narrow.back else self.width

    @property
    def sum_width(self) -> int:
        """Width of the tables that are added to the token embeddings, and of the embedding norm."""
        return self.narrow.width if self.narrow and self.narrow.sums == "narrow" else self.width

    @property
    def owners(self) -> tuple[int, ...]:
        """The layers that have parameters of their own."""
        return tuple(range(len(self.layers))) if self.shared is None else tuple(sorted(set(self.shared)))

    @property
    def sees_everywhere(self) -> bool:
        """Whether a call may name tokens that see all and are seen by all."""
        return any(layer.self_attention.everywhere for layer in self.layers)

    @property
    def relates_segments(self) -> bool:
        """Whether scores depend on whether two tokens are of one type."""
        own = (layer.self_attention.disentangled for layer in self.layers)
        return any(tangled is not None and tangled.segments for tangled in own)

    @property
    def sees_memory(self) -> bool:
        """Whether any layer attends to an encoder's states."""
        return any(layer.looks is not None for layer in self.layers)

    @property
    def memory_width(self) -> int | None:
        """Width of the encoder states that the layers read."""
        widths = {looks.memory_width or self.width for layer in self.layers if (looks := layer.looks) is not None}
        if len(widths) > 1:
            raise SpecError(
                f"All layers must read encoder states of one width, but they read {sorted(map(str, widths))}."
            )
        return next(iter(widths), None)
