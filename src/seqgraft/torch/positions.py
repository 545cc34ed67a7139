"""Positions: rows of a table, sines, and biases on the scores by distance."""

import math

import torch
from torch import Tensor

from seqgraft.spec import Buckets, Positions


def rows_of(spec: Positions, mask: Tensor | None, past: int, time: int, device: torch.device) -> Tensor:
    """The rows [rows or 1, time] of the table of positions for `time` tokens after `past` ones."""
    if spec.counted == "all" or mask is None:
        return torch.arange(past + spec.offset, past + time + spec.offset, device=device)[None]
    counted = mask.long().cumsum(-1)
    if spec.counted == "real":
        counted = counted * mask.long()
    return (counted + spec.offset - 1)[:, past:]


def sines(spec: Positions, rows: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """rows [batch or 1, time] -> [batch or 1, time, width], sines in the first half and cosines in the second.

    Vaswani et al. 2017 interleave the two; a learned map after them cannot tell. Rows below the offset are those of
    padding: with `sines_tensor2tensor` they are zero.
    """
    half = width // 2
    steps = torch.arange(half, device=rows.device, dtype=torch.float32)
    if spec.kind == "sines":  # in double precision, as the published tables were made
        rows = rows.double()
        speeds = torch.pow(10000.0, -2 * steps.double() / width)
    else:
        speeds = torch.exp(steps * -(math.log(10000.0) / (half - 1)))
    angles = rows[..., None].to(speeds.dtype) * speeds
    out = torch.cat((angles.sin(), angles.cos()), -1)
    if width % 2:
        out = torch.nn.functional.pad(out, (0, 1))
    if spec.kind == "sines_tensor2tensor":
        out = out * (rows >= spec.offset)[..., None]
    return out.to(dtype)


def bucket(spec: Buckets, distance: Tensor, causal: bool) -> Tensor:
    """The bucket of each distance (key position minus query position), after Raffel et al. 2020.

    Half of the buckets (of each direction, unless causal) hold one distance each; the rest widen up to `longest`.
    """
    count = spec.count
    out = torch.zeros_like(distance)
    if causal:
        distance = (-distance).clamp(min=0)
    else:
        count //= 2
        out = (distance > 0).long() * count
        distance = distance.abs()
    exact = count // 2
    widening = torch.log(distance.float().clamp(min=1) / exact) / math.log(spec.longest / exact) * (count - exact)
    far = (exact + widening.long()).clamp(max=count - 1)
    return out + torch.where(distance < exact, distance, far)


def slopes(heads: int, exponent: float, device: torch.device) -> Tensor:
    """Each head's slope for a linear bias [heads], after Press et al. 2022; also for heads that are no power of 2."""
    power = 2 ** math.ceil(math.log2(heads))
    steps = torch.arange(1, power + 1, device=device, dtype=torch.float32)
    all_slopes = 1.0 / torch.pow(2.0, steps * exponent / power)
    return all_slopes if power == heads else torch.cat((all_slopes[1::2], all_slopes[::2]))[:heads]
