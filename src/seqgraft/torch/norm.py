"""Normalisation of the last axis."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqgraft.spec import Norm as NormSpec


class Norm(nn.Module):
    """Layer norm or root-mean-square norm, as the spec says."""

    def __init__(self, spec: NormSpec, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.shape = (width,)
        self.weight = nn.Parameter(torch.full((width,), 1.0 - spec.offset))
        self.bias = nn.Parameter(torch.zeros(width)) if spec.bias else None

    def forward(self, x: Tensor) -> Tensor:
        """x [..., width] -> the same shape."""
        if self.spec.kind == "layer":
            return F.layer_norm(x, self.shape, self.weight, self.bias, self.spec.eps)
        if self.spec.offset:
            return F.rms_norm(x.float(), self.shape, self.spec.offset + self.weight.float(), self.spec.eps).to(x.dtype)
        return F.rms_norm(x, self.shape, self.weight, self.spec.eps)
