"""Normalisation of the last axis."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqgraft.spec import Norm as NormSpec


class Norm(nn.Module):
    """Layer norm or root-mean-square norm, as the spec says."""

    def __init__(self, spec: NormSpec, width: int, heads: int | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.shape = (width,)
        self.heads = heads
        """How many heads have weights of their own; None means that there is one set."""
        shape = (width,) if heads is None else (heads, width)
        self.weight = nn.Parameter(torch.full(shape, 1.0 - spec.offset)) if spec.weight else None
        self.bias = nn.Parameter(torch.zeros(width)) if spec.bias else None

    def forward(self, x: Tensor) -> Tensor:
        """x [..., width] -> the same shape; with weights by head, x [rows, heads, time, width]."""
        if self.heads is not None and self.weight is not None:
            return _by_head(self.spec, x, self.weight)
        if self.spec.kind == "layer":
            return F.layer_norm(x, self.shape, self.weight, self.bias, self.spec.eps)
        if self.spec.offset and self.weight is not None:
            return F.rms_norm(x.float(), self.shape, self.spec.offset + self.weight.float(), self.spec.eps).to(x.dtype)
        return F.rms_norm(x, self.shape, self.weight, self.spec.eps)


class NormsApart(nn.ModuleList):
    """A norm of each head's own, each with a tensor of its own."""

    def __init__(self, spec: NormSpec, width: int, heads: int) -> None:
        super().__init__(Norm(spec, width) for _ in range(heads))
        self.spec = spec

    def forward(self, x: Tensor) -> Tensor:
        """x [rows, heads, time, width] -> the same shape."""
        return _by_head(self.spec, x, torch.stack([cast("Tensor", norm.weight) for norm in self]))


def _by_head(spec: NormSpec, x: Tensor, weight: Tensor) -> Tensor:
    """x [rows, heads, time, width] with weights [heads, width]."""
    plain = F.layer_norm if spec.kind == "layer" else F.rms_norm
    scale = spec.offset + weight.float()[:, None]
    return (plain(x.float(), weight.shape[-1:], eps=spec.eps) * scale).to(x.dtype)
