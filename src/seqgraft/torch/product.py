"""The product of a linear map, by the faster of the CPU libraries that torch carries.

Torch multiplies float32 matrices on the CPU with MKL, which takes a slow path on other vendors' processors: oneDNN,
in the same build, does the same products 2 to 3 times faster there, and few rows 2 to 10 times faster from a weight
in its own layout. Which one is used is a rule, not a measurement, so that two runs give equal numbers.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqgraft.machine import asked, rule
from seqgraft.torch.quantized import QuantizedLinear, stacked, unhooked

Linear = Callable[[Tensor], Tensor]

_LEAST = 1 << 16
"""Numbers in a weight below which a call costs more than it saves."""


@functools.cache
def library() -> str:
    """`onednn` where it is the faster library for float32 products on this machine's CPU, else `torch`."""
    backends: Any = torch.backends
    there = backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if asked():
        return asked() if there else "torch"
    return "onednn" if there and backends.mkl.is_available() and rule() == "onednn" else "torch"


def serves(weight: Tensor) -> bool:
    """Whether products with this weight go to oneDNN."""
    return (
        weight.dtype is torch.float32
        and weight.device.type == "cpu"
        and weight.numel() >= _LEAST
        and library() == "onednn"
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def watched(module: nn.Module) -> int:
    """How many hooks a module's call has; another forward that somebody put in its place counts as one."""
    return len(module._forward_hooks) + len(module._forward_pre_hooks) + ("forward" in vars(module))


def plain(module: nn.Module) -> bool:
    """Whether a module is a linear map that nobody wrapped or hooked, so that its product may be computed elsewhere."""
    return (
        type(module) is nn.Linear
        and not watched(module)
        and not module._backward_hooks
        and not module._backward_pre_hooks
    )


def product(linear: nn.Module, x: Tensor) -> Tensor:
    """linear(x), x [..., in] -> [..., out]."""
    if not plain(linear) or not serves(linear.weight) or x.dtype is not torch.float32:  # type: ignore[arg-type]
        out: Tensor = linear(x)
        return out
    weight: Tensor = linear.weight  # type: ignore[assignment]
    bias: Tensor | None = linear.bias  # type: ignore[assignment]
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return cast("Tensor", _Product.apply(x, weight, bias))  # type: ignore[no-untyped-call]
    return multiply(x, weight, bias)


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x weight^T + bias by oneDNN; `weight` [out, in] may be packed (`pack`). No gradient."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


def pack(weight: Tensor, rows: int) -> Tensor:
    """A weight [out, in] in oneDNN's own layout for products of about so many rows."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return packed


def preparable(module: nn.Module) -> bool:
    """Whether `prepared` may compute a map's products elsewhere: nobody wrapped or hooked it."""
    return plain(module) or unhooked(module)


@torch.no_grad()
def prepared(linears: Sequence[nn.Module], rows: int = 4) -> Linear:
    """Several `preparable` maps of one input as one, for inference: x [..., in] -> [..., the sum of their widths].

    Their weights are copied as they are now, stacked and packed for products of about so many `rows`. Maps of
    different kinds (some quantised) are computed one after another.
    """
    if all(isinstance(one, QuantizedLinear) for one in linears):
        return stacked(cast("Sequence[QuantizedLinear]", linears))
    if not all(plain(one) for one in linears):
        each = [prepared([one], rows) for one in linears]
        return lambda x: torch.cat([one(x) for one in each], -1)
    maps = cast("Sequence[nn.Linear]", linears)
    weight, bias = maps[0].weight.detach(), None if maps[0].bias is None else maps[0].bias.detach()
    if len(maps) > 1:
        weight = torch.cat([one.weight.detach() for one in maps])
        if any(one.bias is not None for one in maps):
            zeros = [one.weight.new_zeros(one.out_features) if one.bias is None else one.bias for one in maps]
            bias = torch.cat([one.detach() for one in zeros])
    if not serves(weight):
        return functools.partial(F.linear, weight=weight, bias=bias)
    return Packed(pack(weight, rows), bias)


class Packed:
    """A map by oneDNN from a packed weight, maybe with an activation: x [..., in] -> [..., out]. No gradient."""

    __slots__ = ("_activation", "_algorithm", "_bias", "_product", "_weight")

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str = "none", algorithm: str = "") -> None:
        self._weight, self._bias = weight, bias
        self._activation, self._algorithm = activation, algorithm
        self._product = torch.ops.mkldnn._linear_pointwise.default  # looking it up costs as much as a small product

    def __call__(self, x: Tensor) -> Tensor:
        out: Tensor = self._product(x, self._weight, self._bias, self._activation, [], self._algorithm)
        return out

    @property
    def written_out(self) -> tuple[Callable[..., Tensor], tuple[Any, ...]]:
        """(f, more), so that the map of x is f(x, *more): where a Python call between the two is one too many."""
        return getattr(self._product, "_op", self._product), (
            self._weight,
            self._bias,
            self._activation,
            [],
            self._algorithm,
        )

    def followed(self, activation: str, algorithm: str) -> "Packed":
        """The same map, and an activation of what it gives."""
        return Packed(self._weight, self._bias, activation, algorithm)


_FUSED = {"gelu": ("gelu", "none"), "gelu_tanh": ("gelu", "tanh"), "relu": ("relu", ""), "silu": ("swish", "")}
"""Activations that oneDNN applies to a product as it writes it."""


def fused(map_: Linear, activation: str, otherwise: Callable[[Tensor], Tensor]) -> Linear:
    """A `prepared` map followed by an activation (a spec's name for it, and its function), in one where that can be."""
    if isinstance(map_, Packed) and activation in _FUSED:
        return map_.followed(*_FUSED[activation])
    return lambda x: otherwise(map_(x))


class _Product(torch.autograd.Function):
    """The product and its gradients, all three by oneDNN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return multiply(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        flat, rows = gradient.reshape(-1, gradient.shape[-1]), x.reshape(-1, x.shape[-1])
        to_x = to_weight = to_bias = None
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted: by torch's own products
            to_x, to_weight = gradient @ weight, flat.t() @ rows
        else:
            if ctx.needs_input_grad[0]:
                to_x = multiply(flat, weight.t()).view(x.shape)
            if ctx.needs_input_grad[1]:
                to_weight = multiply(flat.t(), rows.t())
        if ctx.has_bias and ctx.needs_input_grad[2]:
            to_bias = flat.sum(0)
        return to_x, to_weight, to_bias
