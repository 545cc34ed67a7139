"""Products with 8-bit weights: x [rows, in] times q [out, in], which has one scale for every output.

On a CPU the input is quantised too, at every call and for every row of its own (Dettmers et al. 2022, LLM.int8()), so
that the product is one of whole numbers. It is asymmetric (Jacob et al. 2018): a row's levels reach from its least to
its largest value, with a zero point z that is one of them, so that x = s (n - z) and x q^T = s (n q^T - z sum(q)). What
comes out of an activation is nearly of one sign, and has twice as many levels as if they were symmetric.

A row has the same levels alone and in a batch, so its result does not depend on its neighbours. Which of torch's
kernels computes it is a rule, and each is asked first for products that would overflow in it: some processors add
pairs of 8-bit products in 16 bits, and such a machine's inputs get 7 bits.
"""

import functools
import os
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SETTING = "SEQGRAFT_INT8_PRODUCT"
"""Environment variable that overrides the rule: one of `KERNELS`."""

KERNELS = ("fbgemm", "int_mm", "float")
"""By preference: FBGEMM with packed weights; torch._int_mm (oneDNN); products of floats, which any device has."""

_ROWS = 128
"""Rows that are multiplied at a time, so that what lies between two steps stays in the cache."""


@functools.cache
def kernel() -> tuple[str, int]:
    """The kernel for products on this machine's CPU, and the largest level (from 0) that its inputs may have."""
    said = os.environ.get(SETTING, "")
    if said not in ("", *KERNELS):
        raise ValueError(f"{SETTING} must be one of {', '.join(KERNELS)}, but is {said!r}.")
    for name in (said,) if said else KERNELS:
        for largest in (255, 127):
            if _exact(name, largest):
                return name, largest
    return "float", 255


def described() -> str:
    """The choice, for a person: `fbgemm, inputs of 8 bits`."""
    name, largest = kernel()
    return "float" if name == "float" else f"{name}, inputs of {8 if largest == 255 else 7} bits"


def _exact(name: str, largest: int) -> bool:
    """Whether a kernel is there, and computes the largest sums without overflow."""
    if name == "float":
        return True
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]).repeat(1, 128)  # [3, 256]
    weight = (127 * signs[:2]).to(torch.int8).repeat(32, 1)
    signs[:, 0] = 0.0
    must = signs @ weight.float().t()
    try:
        made = _MAKERS[name](weight, torch.ones(64), None, largest)(signs)
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    return float((made - must).abs().max()) < 0.01 * float(must.max())  # levels alone are 0.4 % off


def multiplier(weight: Tensor, scales: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """The map x [..., in] -> [..., out] of int8 weights [out, in], as fast as the machine has it. No gradient.

    It keeps a packed copy of the weights on a CPU.
    """
    name, largest = kernel() if weight.device.type == "cpu" else ("float", 255)
    if name == "float" or weight.dtype is not torch.int8 or not weight.shape[1]:
        return functools.partial(multiply, weight=weight, scales=scales, bias=bias)
    inner = _MAKERS[name](weight.detach(), scales.detach(), None if bias is None else bias.detach().float(), largest)
    return functools.partial(_shaped, inner, weight.shape[0])


def multiply(x: Tensor, weight: Tensor, scales: Tensor, bias: Tensor | None) -> Tensor:
    """x [..., in] -> [..., out] in the input's own precision, the weights made floats for the time of the call."""
    if x.dtype is torch.float16:  # unscaled sums would leave its range
        return F.linear(x, weight.to(x.dtype) * scales.to(x.dtype)[:, None], _as(bias, x))
    out = F.linear(x, weight.to(x.dtype)) * scales.to(x.dtype)
    return out if bias is None else out + bias.to(x.dtype)


def _as(bias: Tensor | None, x: Tensor) -> Tensor | None:
    return None if bias is None else bias.to(x.dtype)


def _shaped(inner: Callable[[Tensor], Tensor], width: int, x: Tensor) -> Tensor:
    """x [..., in], any floating type -> [..., out] of that type."""
    if x.dim() == 2 and x.dtype is torch.float32 and 0 < len(x) <= _ROWS:  # a step of decoding
        return inner(x)
    flat = x.reshape(-1, x.shape[-1]).float()
    rows = flat.shape[0]
    if rows <= _ROWS:
        made = inner(flat) if rows else flat.new_empty(0, width)
    else:
        made = flat.new_empty(rows, width)
        for at in range(0, rows, _ROWS):
            made[at : at + _ROWS] = inner(flat[at : at + _ROWS])
    return made.view(*x.shape[:-1], width).to(x.dtype)


_LEAST_STEP = 6.1e-5
"""Between two levels of a row, as in torch's own choice for a single one (`ChooseQuantizationParams`)."""


def _levels(x: Tensor, largest: int) -> tuple[Tensor, Tensor, Tensor]:
    """x [rows, in] -> (its levels, 0 to `largest`, not rounded yet; zero points [rows, 1]; steps [rows, 1]).

    A row of one sign alone has its levels between its own bounds, and its zero point outside.
    """
    low = x.amin(-1, keepdim=True)
    span = (x.amax(-1, keepdim=True) - low).clamp_(min=_LEAST_STEP * largest)
    zero = torch.div(low, span).mul_(-largest).round_()
    return torch.addcdiv(zero, x, span, value=largest), zero, span.mul_(1 / largest)


def _fbgemm(weight: Tensor, scales: Tensor, bias: Tensor | None, largest: int) -> Callable[[Tensor], Tensor]:
    """Khudia et al. 2021, FBGEMM: weights packed once, inputs made whole inside the call.

    A single row has its levels found and undone inside as well, all in one call, and they are those of `_levels`.
    """
    ops: Any = torch.ops.quantized
    packed = _packed(weight, scales, bias)
    fixed, ranged = ops.linear_with_input_q_dq_qweight_dq_output_fp32.default, ops.linear_dynamic.default
    sums, narrow = _sums(weight) * scales, largest < 255

    def run(x: Tensor) -> Tensor:
        """x [rows, in] -> [rows, out]"""
        if len(x) == 1:
            out: Tensor = ranged(x, packed, narrow)
            return out
        levels, zero, step = _levels(x, largest)
        out = fixed(levels, 1.0, 0, packed)
        out = out.mul_(step) if bias is None else torch.lerp(bias, out, step, out=out)  # bias + step * (out - bias)
        return out.addr_(zero.mul_(step).view(-1), sums, alpha=-1)

    return run


def _packed(weight: Tensor, scales: Tensor, bias: Tensor | None) -> Any:
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch plans to replace its quantized tensors, from which it packs
            zeros = torch.zeros(len(weight), dtype=torch.long)
            made: Any = torch._make_per_channel_quantized_tensor(weight, scales.double(), zeros, 0)
            return torch.ops.quantized.linear_prepack(made, bias)
    finally:
        torch.backends.quantized.engine = before


def whole_products(weight: Tensor, scales: Tensor) -> tuple[Callable[[Tensor], Tensor], int]:
    """x [rows, in] -> x weight^T times the scales, [rows, out], of whole numbers x as float32, and their greatest.

    They go from less to more than 0 alike. For machines whose rule chooses FBGEMM (`kernel`).
    """
    packed, zero = _packed(weight, scales, None), (kernel()[1] + 1) // 2
    product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32.default
    return lambda x: product(x, 1.0, zero, packed), zero - 1


def _int_mm(weight: Tensor, scales: Tensor, bias: Tensor | None, largest: int) -> Callable[[Tensor], Tensor]:
    """Levels are moved down by half of them, to be signed."""
    turned, sums, half = weight.t(), _sums(weight), (largest + 1) // 2

    def run(x: Tensor) -> Tensor:
        """x [rows, in] -> [rows, out]"""
        levels, zero, step = _levels(x, largest)
        whole = levels.round_().clamp_(0, largest).sub_(half).to(torch.int8)
        out = torch._int_mm(whole, turned).float().addr_(zero.sub_(half).view(-1), sums, alpha=-1)
        out = out.mul_(step).mul_(scales)
        return out if bias is None else out.add_(bias)

    return run


def _sums(weight: Tensor) -> Tensor:
    """[out, in] -> the sum of each output's whole numbers [out], as floats."""
    return weight.sum(-1, dtype=torch.int64).float()


_MAKERS: dict[str, Callable[[Tensor, Tensor, Tensor | None, int], Callable[[Tensor], Tensor]]] = {
    "fbgemm": _fbgemm,
    "int_mm": _int_mm,
}
