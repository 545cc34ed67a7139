"""Rotary positions (Su et al. 2021)."""

import torch
from torch import Tensor

from seqgraft.spec import Rotary

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines [batch or 1, 1, time, head_width], computed once a call and shared by the layers."""


def rotation(spec: Rotary, positions: Tensor, head_width: int, dtype: torch.dtype) -> Rotation:
    """positions [batch or 1, time] -> cosines and sines of each position's angles."""
    half = torch.arange(0, head_width, 2, device=positions.device, dtype=torch.float32)
    rates = 1.0 / (spec.theta ** (half / head_width))
    angles = positions[:, None, :, None].float() * rates
    angles = torch.cat((angles, angles), -1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, turn: Rotation) -> Tensor:
    """x [rows, heads, time, head_width], its first half turned against its second."""
    cosine, sine = turn
    first, second = x.chunk(2, -1)
    return x * cosine + torch.cat((-second, first), -1) * sine
