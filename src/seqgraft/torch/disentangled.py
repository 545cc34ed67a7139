"""Scores of contents and distances apart (Dai et al. 2019, He et al. 2021)."""

from dataclasses import dataclass
from typing import cast

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
    other: Tensor | None = None
    """1 where the key's token type is another than the query's [rows, queries, keys]."""


def rows_of_distance(spec: Distances, distance: Tensor) -> Tensor:
    """distance [queries, keys], key minus query -> rows of the table of distances [queries, keys]."""
    span = cast("int", spec.span)
    back = -distance
    if spec.longest is not None:
        half = span // 2
        far = back.abs().clamp(min=half).float() / half
        # In float32, as the models were trained: at the borders of the shared rows another type rounds otherwise.
        steps = torch.log(far) / torch.log(torch.tensor((spec.longest - 1) / half, device=far.device)) * (half - 1)
        shared = (torch.ceil(steps) + half).long() * back.sign()
        back = torch.where(back.abs() <= half, back, shared)
    return (back + span).clamp(0, 2 * span - 1)


def sines_of_distance(spec: Distances, distance: Tensor, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """distance [queries, keys], key minus query -> a table [rows, width] and the rows of it that lie between them."""
    queries, keys = distance.shape
    # As many rows, in that order, as the published models have: dropout then hides what it hides there.
    places = torch.arange(keys, -queries, -1, device=distance.device)
    held = places if spec.span is None else places.clamp(-spec.span, spec.span)
    # In float32, as the models were trained.
    speeds = 1 / torch.pow(10000, torch.arange(0, width, 2, device=distance.device).float() / width)
    angles = held.float()[:, None] * speeds
    return torch.cat((angles.sin(), angles.cos()), -1).to(dtype), keys + distance


def other_type(types: Tensor, past: int) -> Tensor:
    """types [rows, time] -> 1 where a key's differs from a query's [rows, time, past + time]; the past's are 0."""
    keys = torch.nn.functional.pad(types, (past, 0))
    return (types[:, :, None] != keys[:, None]).long()


class Disentangled(nn.Module):
    """What distances add to the scores of one attention block."""

    def __init__(self, spec: DisentangledSpec, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.spec = spec
        self.heads = heads
        keys, queries = spec.content_to_position and not spec.shared, spec.position_to_content and not spec.shared
        self.key = nn.Linear(width, heads * head_width, spec.key_bias) if keys else None
        self.query = nn.Linear(width, heads * head_width) if queries else None
        self.content_bias = nn.Parameter(torch.zeros(heads, head_width)) if spec.query_biases else None
        self.position_bias = nn.Parameter(torch.zeros(heads, head_width)) if spec.query_biases else None
        self.segment_bias = nn.Parameter(torch.zeros(heads, head_width)) if spec.segments else None
        self.segments = nn.Parameter(torch.zeros(2, heads, head_width)) if spec.segments else None

    def forward(self, query: Tensor, key: Tensor, apart: Apart, own_query: nn.Linear, own_key: nn.Linear) -> Tensor:
        """query and key [rows, heads, queries or keys, head_width] -> scores [rows, heads, queries, keys], unscaled.

        `own_query` and `own_key` are the maps of the block, which serve where the spec says that they are shared.
        """
        table = F.dropout(apart.table, self.spec.dropout, self.training)
        rows = apart.rows.expand(*query.shape[:2], -1, -1)
        scores = query.new_zeros(())
        if self.spec.content_to_position:
            keys = self._split(product(self.key or own_key, table))
            asking = query if self.position_bias is None else query + self.position_bias[:, None]
            scores = (asking @ keys.transpose(-1, -2)).gather(-1, rows)
        if self.spec.position_to_content:
            queries = self._split(product(self.query or own_query, table))
            against = (key @ queries.transpose(-1, -2)).gather(-1, rows.transpose(-1, -2))
            scores = scores + against.transpose(-1, -2)
        if self.segments is not None and self.segment_bias is not None and apart.other is not None:
            each = (query + self.segment_bias[:, None]) @ self.segments.permute(1, 2, 0)
            scores = scores + each.gather(-1, apart.other[:, None].expand(-1, query.shape[1], -1, -1))
        return scores

    def of_contents(self, query: Tensor) -> Tensor:
        """query [rows, heads, queries, head_width] -> the same shape, as it meets the keys' contents."""
        return query if self.content_bias is None else query + self.content_bias[:, None]

    def _split(self, x: Tensor) -> Tensor:
        """[rows, heads * head_width] -> [heads, rows, head_width]"""
        return x.view(x.shape[0], self.heads, -1).transpose(0, 1)
