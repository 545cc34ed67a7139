"""Products with 8-bit weights: x [rows, in] times q [out, in], which has one scale for every output.

On a CPU the input is quantised too, at every call and for every row of its own, so that the product is one of whole
numbers: symmetric, as (Dettmers et al. 2022, LLM.int8()) do it. A row's result does not depend on its neighbours.
Which of torch's kernels computes it is a rule, and each is asked first for products that would overflow in it: some
processors add pairs of 8-bit products in 16 bits, and such a machine's inputs get 7 bits.
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
    """The kernel for products on this machine's CPU, and the largest whole number that its inputs may have."""
    said = os.environ.get(SETTING, "")
    if said not in ("", *KERNELS):
        raise ValueError(f"{SETTING} must be one of {', '.join(KERNELS)}, but is {said!r}.")
    for name in (said,) if said else KERNELS:
        for largest in (127, 63):
            if _exact(name, largest):
                return name, largest
    return "float", 127


def described() -> str:
    """The choice, for a person: `fbgemm, inputs of 8 bits`."""
    name, largest = kernel()
    return "float" if name == "float" else f"{name}, inputs of {8 if largest == 127 else 7} bits"


def _exact(name: str, largest: int) -> bool:
    """Whether a kernel is there, and computes the largest sums without overflow."""
    if name == "float":
        return True
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]).repeat(1, 128)  # [3, 256]
    weight = (127 * signs[:2]).to(torch.int8).repeat(32, 1)
    must = signs @ weight.float().t()
    try:
        made = _MAKERS[name](weight, torch.ones(64), None, largest)(signs)
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    return torch.allclose(made, must, rtol=1e-3, atol=0.5)


def multiplier(weight: Tensor, scales: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """The map x [..., in] -> [..., out] of int8 weights [out, in], as fast as the machine has it. No gradient.

    It keeps a packed copy of the weights on a CPU.
    """
    name, largest = kernel() if weight.device.type == "cpu" else ("float", 127)
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


def _fbgemm(weight: Tensor, scales: Tensor, bias: Tensor | None, largest: int) -> Callable[[Tensor], Tensor]:
    """Khudia et al. 2021, FBGEMM: weights packed once, inputs quantised inside the call.

    A single row has its range found inside as well, which saves three small calls of four, and is asymmetric: such a
    row keeps a little more of its precision than in a batch.
    """
    ops: Any = torch.ops.quantized
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch plans to replace its quantized tensors, from which it packs
            zeros = torch.zeros(len(weight), dtype=torch.long)
            made: Any = torch._make_per_channel_quantized_tensor(weight, scales.double(), zeros, 0)
            packed = ops.linear_prepack(made, bias)
    finally:
        torch.backends.quantized.engine = before
    fixed, ranged = ops.linear_with_input_q_dq_qweight_dq_output_fp32.default, ops.linear_dynamic.default
    step, zero, narrow = 1 / largest, largest + 1, largest < 127

    def run(x: Tensor) -> Tensor:
        """x [rows, in] -> [rows, out]"""
        if len(x) == 1:
            out: Tensor = ranged(x, packed, narrow)
            return out
        top = x.abs().amax(-1, keepdim=True)  # a row of zeros gives 0 / 0 here, and 0 times a number below
        out = fixed(x / top, step, zero, packed)
        return out.mul_(top) if bias is None else torch.lerp(bias, out, top, out=out)  # bias + top * (out - bias)

    return run


def _int_mm(weight: Tensor, scales: Tensor, bias: Tensor | None, largest: int) -> Callable[[Tensor], Tensor]:
    turned, each = weight.t(), scales.float() / largest

    def run(x: Tensor) -> Tensor:
        """x [rows, in] -> [rows, out]"""
        top = x.abs().amax(-1, keepdim=True)
        whole = (x * (largest / top)).nan_to_num_(0.0).round_().to(torch.int8)
        out = torch._int_mm(whole, turned).float().mul_(each).mul_(top)
        return out if bias is None else out.add_(bias)

    return run


_MAKERS: dict[str, Callable[[Tensor, Tensor, Tensor | None, int], Callable[[Tensor], Tensor]]] = {
    "fbgemm": _fbgemm,
    "int_mm": _int_mm,
}
