"""What the functions of a stack share: the operations, the weights by canonical name, and the noise of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seqgraft.functional.ops import Array, Key, Ops
from seqgraft.spec import Norm

HALF_OF_THE_LOWEST = {"float32": -1.7014117e38, "bfloat16": -1.6947656e38, "float16": -32752.0, "float64": -8.9e307}
"""Stands for minus infinity: a row in which everything is hidden gives an average of what is there, never a NaN."""


class Noise:
    """A source of random numbers: each question has a key of its own."""

    def __init__(self, ops: Ops, key: Key) -> None:
        self.ops = ops
        self._key = key

    def key(self) -> Key:
        """A key that nobody else has."""
        self._key, own = self.ops.split(self._key)
        return own

    def drop(self, x: Array, rate: float) -> Array:
        """Zeros with probability `rate`, the rest scaled up (Srivastava et al. 2014)."""
        if not rate:
            return x
        kept = self.ops.uniform(self.key(), self.ops.shape(x)) >= rate
        return self.ops.where(kept, x / (1 - rate), self.ops.cast(self.ops.array(0.0), self.ops.dtype(x)))


@dataclass(frozen=True)
class Run:
    """One call: where its weights are, and whether it trains."""

    ops: Ops
    weights: Mapping[str, Array]
    """Canonical names; linear weights are [in, out] and called `kernel` (see `layout.py`)."""
    noise: Noise | None = None
    at: str = ""
    """Before the names that are asked for."""

    def under(self, name: str) -> Run:
        """The same within a part."""
        return Run(self.ops, self.weights, self.noise, f"{self.at}{name}.")

    def has(self, name: str) -> bool:
        """Whether there is such a weight."""
        return self.at + name in self.weights

    def weight(self, name: str) -> Array:
        """One weight."""
        return self.weights[self.at + name]

    def linear(self, name: str, x: Array) -> Array:
        """x [..., in] -> [..., out]"""
        out = self.ops.matmul(x, self.weight(f"{name}.kernel"))
        return out + self.weight(f"{name}.bias") if self.has(f"{name}.bias") else out

    def rows(self, name: str, index: Array) -> Array:
        """Rows of a table by number."""
        return self.ops.take(self.weight(f"{name}.weight"), index)

    def drop(self, x: Array, rate: float) -> Array:
        """Dropout, in training alone."""
        return x if self.noise is None else self.noise.drop(x, rate)

    def norm(self, name: str, spec: Norm, x: Array) -> Array:
        """x [..., width] -> the same shape: layer norm, or by the root mean square."""
        weight = self.weight(f"{name}.weight") if spec.weight else None
        bias = self.weight(f"{name}.bias") if spec.bias else None
        return normed(self.ops, spec, x, weight, bias)


def normed(ops: Ops, spec: Norm, x: Array, weight: Array | None, bias: Array | None = None) -> Array:
    """x [..., width] -> the same shape; statistics in float32."""
    dtype = ops.dtype(x)
    x = ops.cast(x, "float32")
    if spec.kind == "layer":
        x = x - ops.mean(x, -1, keepdims=True)
    x = x * ops.rsqrt(ops.mean(x * x, -1, keepdims=True) + spec.eps)
    if weight is not None:
        scale = ops.cast(weight, "float32")
        x = x * (scale + spec.offset if spec.offset else scale)
    if bias is not None:
        x = x + ops.cast(bias, "float32")
    return ops.cast(x, dtype)


def activate(ops: Ops, name: str, x: Array) -> Array:
    """An activation by the spec's name."""
    if name == "gelu":
        return 0.5 * x * (1.0 + ops.erf(x * 0.7071067811865476))
    if name == "gelu_tanh":
        return 0.5 * x * (1.0 + ops.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))
    if name == "quick_gelu":
        return x * ops.sigmoid(1.702 * x)
    if name == "relu":
        return ops.maximum(x, 0)
    if name == "relu_squared":
        kept = ops.maximum(x, 0)
        return kept * kept
    if name == "silu":
        return x * ops.sigmoid(x)
    return ops.tanh(x)


def lowest(ops: Ops, like: Array) -> float:
    """What is added to a score that is to be hidden."""
    return HALF_OF_THE_LOWEST[ops.dtype(like)]
