"""A convolution over neighbouring tokens."""

import torch.nn.functional as F
from torch import Tensor, nn

from seqgraft.spec import Convolution
from seqgraft.torch.feed_forward import activate


def convolution(spec: Convolution, width: int) -> nn.Conv1d:
    """The map, which keeps a sequence's length."""
    return nn.Conv1d(width, width, spec.kernel, padding=spec.kernel // 2, groups=spec.groups)


def mixed(spec: Convolution, module: nn.Conv1d, x: Tensor, mask: Tensor | None) -> Tensor:
    """x [rows, time, width] -> the same shape; mask [rows, time] is 1 where a token may be seen."""
    if mask is not None:
        x = x * mask[..., None].to(x.dtype)
    out: Tensor = module(x.transpose(1, 2)).transpose(1, 2)
    return activate(spec.activation, F.dropout(out, spec.dropout, module.training))
