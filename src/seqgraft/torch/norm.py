"""Normalisation of the last axis."""

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
            plain = F.layer_norm if self.spec.kind == "layer" else F.rms_norm
            weight = self.spec.offset + self.weight.float()[:, None]
            return (plain(x.float(), self.shape, eps=self.spec.eps) * weight).to(x.dtype)
        if self.spec.kind == "layer":
            return F.layer_norm(x, self.shape, self.weight, self.bias, self.spec.eps)
        if self.spec.offset and self.weight is not None:
            return F.rms_norm(x.float(), self.shape, self.spec.offset + self.weight.float(), self.spec.eps).to(x.dtype)
        return F.rms_norm(x, self.shape, self.weight, self.spec.eps)
