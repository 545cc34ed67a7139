"""Decoder spec -> decoder spec that sees an encoder."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from seqgraft.errors import ConfigurationError, SpecError
from seqgraft.spec.stack import Stack


@dataclass(frozen=True)
class Graft:
    """How cross-attention is put into a decoder that was published without it.

    `how="between"` gives a layer its own norm, cross-attention and residual after self-attention and before the
    feed-forward (Vaswani et al. 2017; T5Gemma). With `gate="tanh"` the block starts shut, so that the grafted
    decoder is the plain one until training opens it (Flamingo, Alayrac et al. 2022).
    """

    how: Literal["between"] = "between"
    every: int = 1
    gate: Literal["tanh"] | None = "tanh"

    def __post_init__(self) -> None:
        if self.how != "between":
            raise ConfigurationError(f"`how` of a graft must be 'between', but is {self.how!r}.")
        if isinstance(self.every, bool) or not isinstance(self.every, int) or self.every < 1:
            raise ConfigurationError(f"`every` of a graft must be a whole number of at least 1, but is {self.every!r}.")
        if self.gate not in ("tanh", None):
            raise ConfigurationError(f"`gate` of a graft must be 'tanh' or None, but is {self.gate!r}.")

    @classmethod
    def read(cls, value: "Graft | dict[str, Any] | None") -> "Graft":
        """A graft from what a user or a configuration file says of it; None means the defaults."""
        if isinstance(value, Graft):
            return value
        unknown = sorted(set(value or {}) - set(cls.__dataclass_fields__))
        if unknown:
            fields = ", ".join(cls.__dataclass_fields__)
            raise ConfigurationError(
                f"A graft must be described by {fields}, but is described by {', '.join(unknown)}."
            )
        return cls(**(value or {}))


def graft(decoder: Stack, memory_width: int, how: Graft | None = None) -> Stack:
    """The decoder with cross-attention in every `how.every`-th layer, counted so that the last ones have it.

    Cross-attention takes the head layout, norms and scale of the layer's self-attention, never its positions or window.
    """
    how = how or Graft()
    if decoder.sees_memory:
        raise SpecError("A graft needs a decoder without cross-attention, but this one has it already.")
    if how.every > len(decoder.layers):
        raise SpecError(
            f"`every` of a graft must be at most the number of layers ({len(decoder.layers)}), but is {how.every}."
        )
    layers = list(decoder.layers)
    for index in range(how.every - 1, len(layers), how.every):
        if layers[index].order == "parallel":
            raise ConfigurationError(
                "`how` of a graft must be another than 'between' for a decoder whose blocks stand side by side: "
                "there is no place between its self-attention and its feed-forward."
            )
        if layers[index].order == "post":
            raise ConfigurationError(
                "`how` of a graft must be another than 'between' for a decoder with norms after its residuals: "
                "one more of them would change what the decoder computes, shut as the gate may be."
            )
        own = layers[index].self_attention
        placeless = replace(own, rotary=None, window=None, alibi=None, buckets=None, sink=False)
        cross = replace(placeless, memory_width=memory_width, gate=how.gate)
        layers[index] = replace(layers[index], cross_attention=cross)
    return replace(decoder, layers=tuple(layers))
