"""Disentangled attention (He et al. 2021): scores of contents and distances."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqgraft.spec import Disentangled as DisentangledSpec
from seqgraft.spec import Distances
from seqgraft.torch.product import product


@dataclass
class Apart:
    """How far queries and keys of one call are apart."""

    table: Tensor
    """Embeddings of distances [rows, width]."""
    rows: Tensor
    """Which row of it lies between a query and a key [queries, keys]."""
    distance: Tensor
    """The key's position minus the query's [queries, keys]."""


def rows_of_distance(spec: Distances, distance: Tensor) -> Tensor:
    """distance [queries, keys], key minus query -> rows of the table of distances [queries, keys]."""
    back = -distance
    if spec.longest is not None:
        half = spec.span // 2
        far = back.abs().clamp(min=half).float() / half
        # In float32, as the models were trained: at the borders of the shared rows another type rounds otherwise.
        steps = torch.log(far) / torch.log(torch.tensor((spec.longest - 1) / half, device=far.device)) * (half - 1)
        shared = (torch.ceil(steps) + half).long() * back.sign()
        back = torch.where(back.abs() <= half, back, shared)
    return (back + spec.span).clamp(0, 2 * spec.span - 1)


class Disentangled(nn.Module):
    """What distances add to the scores of one attention block."""

    def __init__(self, spec: DisentangledSpec, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.spec = spec
        self.heads = heads
        keys, queries = spec.content_to_position and not spec.shared, spec.position_to_content and not spec.shared
        self.key = nn.Linear(width, heads * head_width, spec.key_bias) if keys else None
        self.query = nn.Linear(width, heads * head_width) if queries else None

    def forward(self, query: Tensor, key: Tensor, apart: Apart, own_query: nn.Linear, own_key: nn.Linear) -> Tensor:
        """query and key [rows, heads, queries or keys, head_width] -> scores [rows, heads, queries, keys], unscaled.

        `own_query` and `own_key` are the maps of the block, which serve where the spec says that they are shared.
        """
        table = F.dropout(apart.table, self.spec.dropout, self.training)
        rows = apart.rows.expand(*query.shape[:2], -1, -1)
        scores = query.new_zeros(())
        if self.spec.content_to_position:
            keys = self._split(product(self.key or own_key, table))
            scores = (query @ keys.transpose(-1, -2)).gather(-1, rows)
        if self.spec.position_to_content:
            queries = self._split(product(self.query or own_query, table))
            against = (key @ queries.transpose(-1, -2)).gather(-1, rows.transpose(-1, -2))
            scores = scores + against.transpose(-1, -2)
        return scores

    def _split(self, x: Tensor) -> Tensor:
        """[rows, heads * head_width] -> [heads, rows, head_width]"""
        return x.view(x.shape[0], self.heads, -1).transpose(0, 1)
