"""Decoder spec -> decoder spec that sees an encoder."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from seqgraft.errors import ConfigurationError, SpecError
from seqgraft.spec.attention import Attention
from seqgraft.spec.experts import Experts
from seqgraft.spec.layer import Inserted, Layer
from seqgraft.spec.stack import Stack


@dataclass(frozen=True)
class Graft:
    """How a decoder that was published without cross-attention comes to see an encoder.

    Args:
        how: "between" gives a layer its own norm, cross-attention and residual after self-attention and before the
            feed-forward (Vaswani et al. 2017; T5Gemma). "inserted" puts a whole layer, attention and feed-forward,
            before it (Llama 3.2 Vision). "merged" lets self-attention see the encoder's states beside its own, through
            the same projections, with no new weights (T5Gemma 2). None: "between" where there is a place for it, else
            "inserted" (blocks side by side, norms after the residuals).
        every: every so many layers, counted so that the last has it.
        layers: which layers, instead of `every`.
        gate: "tanh" starts the new blocks shut, so that the grafted decoder is the plain one until training opens
            them (Flamingo, Alayrac et al. 2022); None starts them open. Merged ones have no gate.
        init: "random", or "self_attention": start from the layer's own projections where the shapes allow (T5Gemma).
    """

    how: Literal["between", "inserted", "merged"] | None = None
    every: int = 1
    layers: tuple[int, ...] | None = None
    gate: Literal["tanh"] | None = "tanh"
    init: Literal["random", "self_attention"] = "random"

    def __post_init__(self) -> None:
        if self.how not in ("between", "inserted", "merged", None):
            raise ConfigurationError(
                f"`how` of a graft must be 'between', 'inserted' or 'merged', but is {self.how!r}."
            )
        if isinstance(self.every, bool) or not isinstance(self.every, int) or self.every < 1:
            raise ConfigurationError(f"`every` of a graft must be a whole number of at least 1, but is {self.every!r}.")
        if self.gate not in ("tanh", None):
            raise ConfigurationError(f"`gate` of a graft must be 'tanh' or None, but is {self.gate!r}.")
        if self.init not in ("random", "self_attention"):
            raise ConfigurationError(f"`init` of a graft must be 'random' or 'self_attention', but is {self.init!r}.")
        if self.layers is not None:
            if not isinstance(self.layers, list | tuple | range | set | frozenset):
                raise ConfigurationError(
                    f"`layers` of a graft must be a list of the numbers of layers, but is {self.layers!r}."
                )
            object.__setattr__(self, "layers", tuple(self.layers))
            if not self.layers or any(isinstance(i, bool) or not isinstance(i, int) or i < 0 for i in self.layers):
                raise ConfigurationError(
                    f"`layers` of a graft must hold the numbers of layers, but is {list(self.layers)}."
                )
            if self.every != 1:
                raise ConfigurationError(f"A graft must have `layers` or `every`, but has both ({self.every}).")

    @classmethod
    def read(cls, value: "Graft | dict[str, Any] | None") -> "Graft":
        """A graft from what a user or a configuration file says of it; None means the defaults."""
        if isinstance(value, Graft):
            return value
        if value is not None and not isinstance(value, dict):
            raise ConfigurationError(
                f"A graft must be a Graft, or a dictionary of {', '.join(cls.__dataclass_fields__)}, but is {value!r}."
            )
        unknown = sorted(set(value or {}) - set(cls.__dataclass_fields__))
        if unknown:
            fields = ", ".join(cls.__dataclass_fields__)
            raise ConfigurationError(
                f"A graft must be described by {fields}, but is described by {', '.join(unknown)}."
            )
        return cls(**(value or {}))

    def places(self, depth: int) -> tuple[int, ...]:
        """The layers of a decoder of this depth that the graft is put into."""
        if self.layers is not None:
            if max(self.layers) >= depth:
                raise SpecError(f"`layers` of a graft must be below {depth}, but the highest is {max(self.layers)}.")
            return tuple(sorted(set(self.layers)))
        if self.every > depth:
            raise SpecError(f"`every` of a graft must be at most the number of layers ({depth}), but is {self.every}.")
        return tuple(range(self.every - 1, depth, self.every))


def graft(decoder: Stack, memory_width: int, how: Graft | None = None) -> Stack:
    """The decoder with eyes for an encoder in the layers that the graft names.

    Cross-attention takes the head layout, norms, scale and softcap of the layer's self-attention, never its positions
    or its window.
    """
    how = how or Graft()
    if decoder.sees_memory:
        raise SpecError("A graft needs a decoder without cross-attention, but this one has it already.")
    layers = list(decoder.layers)
    for index in how.places(len(layers)):
        layers[index] = _grafted(layers[index], memory_width, decoder.width, how)
    return replace(decoder, layers=tuple(layers))


def _grafted(layer: Layer, memory_width: int, width: int, how: Graft) -> Layer:
    between = layer.order not in ("parallel", "post")
    kind = how.how or ("between" if between else "inserted")
    if kind == "merged":
        if memory_width != width:
            raise SpecError(
                f"A merged graft reads states of the decoder's own width ({width}), but they are {memory_width} wide."
            )
        return replace(layer, merged=True)
    cross = _cross(layer.self_attention, memory_width, how)
    if kind == "inserted":
        forward = layer.feed_forward
        inner = forward.each if isinstance(forward, Experts) else forward
        return replace(layer, inserted=Inserted(cross, inner, layer.norm, how.gate))
    if not between:
        where = "side by side" if layer.order == "parallel" else "with norms after their residuals"
        raise ConfigurationError(
            f"`how` of a graft must be 'inserted' or 'merged' for a decoder whose blocks stand {where}, "
            "but is 'between': one more block there would change what the decoder computes."
        )
    return replace(layer, cross_attention=cross)


def _cross(own: Attention, memory_width: int, how: Graft) -> Attention:
    placeless = replace(own, rotary=None, window=None, alibi=None, buckets=None, disentangled=None, sink=False)
    return replace(placeless, memory_width=memory_width, gate=how.gate)
