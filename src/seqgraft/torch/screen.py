"""The best token of a row without all of its logits.

Greedy search wants the highest of the logits w_i x + b_i and none of the others, and reading the table of all w_i in
float32 is a third to a half of a small decoder's step. A copy of 8-bit numbers says where the highest can be: it is
off by no more than a bound (Cauchy-Schwarz), and whatever is further than twice the bound from its highest value
cannot be the best. The few that are left are computed from the float weights.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqgraft.torch.product import plain, serves
from seqgraft.torch.product_int8 import kernel, whole_products
from seqgraft.torch.quantized import quantised
from seqgraft.torch.residence import Residence

Screen = Callable[[Tensor], Tensor | None]
"""x [rows, in] -> ids [rows] of the highest logits, the first of equal ones; None where it could not say."""

_LEAST = 1 << 22
"""Numbers in a table below which reading it costs less than the calls here."""

_MOST_ROWS = 16

_ROWS = 4096
"""Of the table that are looked at at a time."""

_FEW = 32
"""What is left must be one in so many outputs at most."""

_MISSES = 16
"""More misses than hits so far after which it is given up: such a table is too even."""

_ROUNDING = 1.05
"""Of the bound: what the sums of floats here are off by."""


@torch.no_grad()
def screen(output: nn.Module) -> Screen | None:
    """The screen of a linear map [in -> out]; None where it would not be faster than all logits, or has no bound."""
    if not (plain(output) and isinstance(output, nn.Linear) and serves(output.weight)):
        return None
    if output.weight.numel() < _LEAST or kernel()[0] != "fbgemm":
        return None
    weight, bias = output.weight.detach(), None if output.bias is None else output.bias.detach()
    if (copied := _copied(weight)) is None:
        return None
    small, scales, off, long = copied
    products, level = whole_products(small, scales)
    del small, copied
    # Of the input rounding leaves half a fine level of each number, where 2 level² of them are its largest one, which
    # is no longer than itself.
    off += long * weight.shape[1] ** 0.5 / (4 * level**2)
    fine, most, missed = 2 * level, len(weight) // _FEW, 0

    def best(x: Tensor) -> Tensor | None:
        nonlocal missed
        rows = len(x)
        if rows > _MOST_ROWS or missed > _MISSES:
            return None
        step = x.abs().amax(-1, keepdim=True).mul_(1 / level)
        coarse = x / step
        whole = coarse.round()
        made = products(torch.cat((whole, coarse.sub_(whole).mul_(fine))))  # what rounding left, as levels of its own
        about = made[:rows].add_(made[rows:], alpha=1 / fine).mul_(step)
        if bias is not None:
            about.add_(bias)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        least = about.amax(-1, keepdim=True).sub_(length.mul_(2 * _ROUNDING * off))
        left = (about >= least).any(0) if rows > 1 else (about >= least).view(-1)
        where = left.nonzero().view(-1)
        if not 0 < len(where) <= most or not math.isfinite(float(least.sum())):
            missed += 1
            return None
        missed = max(missed - 1, 0)
        few = F.linear(x, weight[where], None if bias is None else bias[where])
        return where[few.argmax(-1)]

    return best


def _copied(weight: Tensor) -> tuple[Tensor, Tensor, float, float] | None:
    """The 8-bit numbers and their scales; the length of the longest difference from a row, and of the longest copy.

    None where a weight is not finite. Of a table that is a map of a file no more is in memory than is looked at.
    """
    files = Residence()
    small, scales, off, long = torch.empty(weight.shape, dtype=torch.int8), [], 0.0, 0.0
    for start in range(0, len(weight), _ROWS):
        rows = weight[start : start + _ROWS]
        if not bool(torch.isfinite(rows.sum())):
            return None
        own, scale = quantised(rows, torch.int8)
        copy = own.float().mul_(scale[:, None])
        long = max(long, float(copy.norm(dim=-1).max()))
        off = max(off, float(copy.sub_(rows).norm(dim=-1).max()))
        small[start : start + _ROWS] = own
        scales.append(scale)
        files.let_go(weight)
    return small, torch.cat(scales), off, long
