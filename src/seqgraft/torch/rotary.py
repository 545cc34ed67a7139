"""Rotary positions (Su et al. 2021), and the published ways to stretch them."""

import math

import torch
from torch import Tensor

from seqgraft.spec import Rotary, RotaryScaling

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines [batch or 1, 1, time, turned width], computed once a call and shared by the layers."""


def rotation(
    spec: Rotary, positions: Tensor, head_width: int, dtype: torch.dtype, longest: int | None = None
) -> Rotation:
    """positions [batch or 1, time] -> cosines and sines of each position's angles.

    `longest`: one more than the highest position, where the host knows it.
    """
    angles = positions[:, None, :, None].float() * rates(spec, spec.width or head_width, positions, longest)
    angles = torch.cat((angles, angles), -1) if spec.layout == "halves" else angles.repeat_interleave(2, -1)
    magnitude = spec.scaling.magnitude if spec.scaling else 1.0
    sine = -angles.sin() if spec.backwards else angles.sin()
    return (angles.cos() * magnitude).to(dtype), (sine * magnitude).to(dtype)


def rates(spec: Rotary, width: int, positions: Tensor, longest: int | None = None) -> Tensor:
    """The angle of each pair of numbers at position 1, [width / 2]."""
    exponents: Tensor = torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width
    powers: Tensor = torch.pow(spec.theta, exponents)
    scaling = spec.scaling
    if scaling is None:
        return 1.0 / powers
    if scaling.kind == "linear":
        return 1.0 / powers / scaling.factor
    if scaling.kind == "llama3":
        return _llama3(1.0 / powers, scaling)
    if scaling.kind == "yarn":
        return _yarn(spec.theta, exponents, width, scaling)
    longest = int(positions.max()) + 1 if longest is None else longest
    if scaling.kind == "longrope":
        factors = scaling.long if longest > scaling.original else scaling.short
        return 1.0 / (torch.tensor(factors, device=positions.device) * powers)
    stretch = scaling.factor * max(longest, scaling.original) / scaling.original - (scaling.factor - 1)
    return 1.0 / torch.pow(spec.theta * stretch ** (width / (width - 2)), exponents)


def _llama3(plain: Tensor, scaling: RotaryScaling) -> Tensor:
    """Waves longer than original / low are stretched, shorter than original / high kept, those between blended."""
    waves = 2 * math.pi / plain
    kept = ((scaling.original / waves - scaling.low) / (scaling.high - scaling.low)).clamp(0, 1)
    return (1 - kept) * plain / scaling.factor + kept * plain


def _yarn(theta: float, exponents: Tensor, width: int, scaling: RotaryScaling) -> Tensor:
    def place(turns: float) -> float:
        return width * math.log(scaling.original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = place(scaling.high), place(scaling.low)
    if scaling.whole_turns:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    ramp = (torch.arange(width // 2, device=exponents.device) - low) / (high - low if high != low else 0.001)
    stretched = ramp.clamp(0, 1)
    plain = 1.0 / theta**exponents
    return plain / scaling.factor * stretched + plain * (1 - stretched)


def rotate(x: Tensor, turn: Rotation, layout: str = "halves") -> Tensor:
    """x [rows, heads, time, head_width]: its first numbers, as many as `turn` has, are turned."""
    cosine, sine = turn
    width = cosine.shape[-1]
    turned, rest = (x, None) if width == x.shape[-1] else (x[..., :width], x[..., width:])
    if layout == "halves":
        first, second = turned.chunk(2, -1)
        across = torch.cat((-second, first), -1)
    else:
        across = torch.stack((-turned[..., 1::2], turned[..., ::2]), -1).flatten(-2)
    out = turned * cosine + across * sine
    return out if rest is None else torch.cat((out, rest), -1)
