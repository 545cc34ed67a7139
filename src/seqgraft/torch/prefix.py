"""Learned keys and values before a block's own (Li & Liang 2021)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqgraft.spec import Attention, Prefix
from seqgraft.torch.feed_forward import activate
from seqgraft.torch.product import product
from seqgraft.torch.tables import table

Kept = tuple[Tensor, Tensor]


class Prefixes(nn.Module):
    """Of one block in all layers."""

    def __init__(self, spec: Prefix, block: Attention, depth: int, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.shape = (spec.length, depth, 2, block.key_value_heads, block.head_width)
        self.embed = table(spec.length, width)
        self.up = nn.Linear(width, spec.inner)
        self.down = nn.Linear(spec.inner, 2 * depth * block.key_value_heads * block.head_width)

    def forward(self) -> list[Kept]:
        """Each layer's keys and values, [1, groups, length, head_width] either."""
        made = product(self.down, activate(self.spec.activation, product(self.up, self.embed.weight)))
        made = F.dropout(made.view(self.shape), self.spec.dropout, self.training).permute(1, 2, 3, 0, 4)
        return [(layer[:1], layer[1:]) for layer in made]


def after(
    prefix: Kept, key: Tensor, value: Tensor, bias: Tensor | None, causal: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Keys, values [rows, groups, keys, head_width] and the bias on their scores, with a prefix before them.

    Causality, of as many queries as keys, is written out.
    """
    length, count = prefix[0].shape[2], key.shape[2]
    if causal:
        later = torch.ones(count, count, dtype=key.dtype, device=key.device).triu(1) * (torch.finfo(key.dtype).min / 2)
        bias = later[None, None] if bias is None else bias + later
    keys, values = (
        torch.cat((one.expand(len(own), -1, -1, -1), own), 2) for one, own in zip(prefix, (key, value), strict=True)
    )
    return keys, values, None if bias is None else F.pad(bias, (length, 0))
