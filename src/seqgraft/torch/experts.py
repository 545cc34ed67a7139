"""A mixture of experts in a feed-forward's place."""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from seqgraft.spec import Experts as ExpertsSpec
from seqgraft.spec import FeedForward as FeedForwardSpec
from seqgraft.torch.feed_forward import FeedForward
from seqgraft.torch.product import product


class Experts(nn.Module):
    """Each token goes to the few feed-forwards that the router scores highest, and to no other."""

    def __init__(self, spec: ExpertsSpec, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.router = nn.Linear(width, spec.count, spec.router_bias)
        self.experts = nn.ModuleList(FeedForward(spec.each, width) for _ in range(spec.count))

    def forward(self, x: Tensor) -> Tensor:
        """x [..., width] -> the same shape."""
        tokens = x.reshape(-1, x.shape[-1])
        best, chosen = product(self.router, tokens).topk(self.spec.chosen, -1)  # [tokens, chosen]
        weights = torch.softmax(best.float(), -1)
        out = torch.zeros_like(tokens)
        for own, expert in enumerate(self._experts()):
            rows, places = torch.where(chosen == own)
            if len(rows):
                made = expert(tokens[rows]) * weights[rows, places, None]
                out = out.index_add(0, rows, made.to(out.dtype))
        return out.view(x.shape)

    def _experts(self) -> Iterator[FeedForward]:
        return cast("Iterator[FeedForward]", iter(self.experts))


def feed_forward(spec: FeedForwardSpec | ExpertsSpec, width: int) -> FeedForward | Experts:
    """The module of either."""
    return Experts(spec, width) if isinstance(spec, ExpertsSpec) else FeedForward(spec, width)
