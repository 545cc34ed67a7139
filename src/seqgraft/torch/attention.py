"""Scaled dot-product attention with grouped heads, and the module that owns its projections."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqgraft.spec import Attention as AttentionSpec
from seqgraft.torch.cache import LayerCache
from seqgraft.torch.norm import Norm
from seqgraft.torch.product import product
from seqgraft.torch.rotary import Rotation, rotate

Linear = Callable[[Tensor], Tensor]


@dataclass
class View:
    """What the queries of one call see of the keys: everything, or what a rule or a bias on the scores leaves."""

    bias: Tensor | None = None
    """[batch or 1, 1, queries, keys], 0 where visible and very negative where hidden."""
    causal: bool = False
    """Query i sees keys 0 to i; only with as many keys as queries and no bias."""


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    view: View,
    *,
    scale: float,
    dropout: float = 0.0,
    probabilities: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """softmax(query key^T * scale + bias) value.

    query [rows, heads, queries, head_width]; key and value [sources, groups, keys, head_width], where heads is a
    multiple of groups and rows of sources: neither is repeated in memory for a single query. Returns states shaped
    as `query` and, when asked, the probabilities [rows, heads, queries, keys].
    """
    rows, heads, queries, width = query.shape
    sources, groups = key.shape[:2]
    each, alike = rows // sources, heads // groups
    one_view = not view.causal and (view.bias is None or view.bias.shape[2] == 1)
    if each > 1:  # several rows look at one source: they become more queries of one attention
        if not one_view:
            raise ValueError("Rows that share a source must see it alike, but their view differs by query.")
        query = query.view(sources, each, heads, queries, width).transpose(1, 2).reshape(sources, heads, -1, width)
    if alike > 1:
        if one_view:  # so do the heads of one group
            query = query.reshape(sources, groups, -1, width)
        else:
            key, value = (t.repeat_interleave(alike, 1) for t in (key, value))
    seen = None
    if probabilities:
        states, seen = _eager(query, key, value, view, scale, dropout)
        seen = _unfold(seen, rows, heads, queries, each)
    else:
        states = F.scaled_dot_product_attention(
            query, key, value, attn_mask=view.bias, dropout_p=dropout, is_causal=view.causal, scale=scale
        )
    return _unfold(states, rows, heads, queries, each), seen


def _unfold(x: Tensor, rows: int, heads: int, queries: int, each: int) -> Tensor:
    """[sources, groups, folded queries, n] -> [rows, heads, queries, n]"""
    if each > 1:
        x = x.reshape(rows // each, heads, each, queries, -1).transpose(1, 2)
    return x.reshape(rows, heads, queries, x.shape[-1])


def _eager(
    query: Tensor, key: Tensor, value: Tensor, view: View, scale: float, dropout: float
) -> tuple[Tensor, Tensor]:
    scores = query @ key.transpose(-1, -2) * scale
    if view.causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min / 2)
    if view.bias is not None:
        scores = scores + view.bias
    seen = torch.softmax(scores.float(), -1).to(value.dtype)
    return F.dropout(seen, dropout) @ value, seen


class Attention(nn.Module):
    """Self-attention, or cross-attention when the spec says the width of a memory."""

    def __init__(self, spec: AttentionSpec, width: int) -> None:
        super().__init__()
        memory = spec.memory_width or width
        self.spec = spec
        self.scale = spec.scale if spec.scale is not None else spec.head_width**-0.5
        self.query = nn.Linear(width, spec.heads * spec.head_width, spec.input_bias)
        self.key = nn.Linear(memory, spec.key_value_heads * spec.head_width, spec.input_bias)
        self.value = nn.Linear(memory, spec.key_value_heads * spec.head_width, spec.input_bias)
        self.output = nn.Linear(spec.heads * spec.head_width, width, spec.output_bias)
        self.query_norm = Norm(spec.head_norm, spec.head_width) if spec.head_norm else None
        self.key_norm = Norm(spec.head_norm, spec.head_width) if spec.head_norm else None
        self.gate = nn.Parameter(torch.zeros(1)) if spec.gate else None
        self.eager = False
        self.fast: dict[str, Linear] | None = None
        """Projections prepared for inference (`prepare.py`), in use only while a generation runs."""

    def _split(self, x: Tensor, heads: int) -> Tensor:
        """[rows, time, heads * head_width] -> [rows, heads, time, head_width]"""
        return x.view(x.shape[0], x.shape[1], heads, self.spec.head_width).transpose(1, 2)

    def _queries(self, projected: Tensor, rotation: Rotation | None) -> Tensor:
        query = self._split(projected, self.spec.heads)
        if self.query_norm is not None:
            query = self.query_norm(query)
        return rotate(query, rotation) if rotation is not None else query

    def _keys_values(self, key: Tensor, value: Tensor, rotation: Rotation | None) -> tuple[Tensor, Tensor]:
        key = self._split(key, self.spec.key_value_heads)
        if self.key_norm is not None:
            key = self.key_norm(key)
        key = rotate(key, rotation) if rotation is not None else key
        return key, self._split(value, self.spec.key_value_heads)

    def forward(
        self,
        x: Tensor,
        view: View,
        rotation: Rotation | None = None,
        cache: LayerCache | None = None,
        memory: tuple[Tensor, Tensor] | None = None,
        seen: list[Tensor] | None = None,
    ) -> Tensor:
        """x [rows, time, width] -> [rows, time, width].

        Self-attention appends to `cache`; cross-attention looks at `memory`, keys and values as `remember` makes them.
        `seen` collects the probabilities.
        """
        if memory is None:
            query, key, value = self._project(x)
            query = self._queries(query, rotation)
            key, value = self._keys_values(key, value, rotation)
            if cache is not None:
                key, value = cache.append(key, value)
        else:
            query = self._queries(product(self.query, x) if self.fast is None else self.fast["query"](x), None)
            key, value = memory
        states, probabilities = attend(
            query,
            key,
            value,
            view,
            scale=self.scale,
            dropout=self.spec.dropout if self.training else 0.0,
            probabilities=seen is not None or self.eager,
        )
        if seen is not None and probabilities is not None:
            seen.append(probabilities)
        states = states.transpose(1, 2).flatten(2)
        out = product(self.output, states) if self.fast is None else self.fast["output"](states)
        return out if self.gate is None else out * torch.tanh(self.gate)

    def remember(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """An encoder's states [sources, time, memory_width] -> keys and values [sources, groups, time, head_width]."""
        return self._keys_values(product(self.key, states), product(self.value, states), None)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.fast is None:
            return product(self.query, x), product(self.key, x), product(self.value, x)
        s = self.spec
        sizes = [s.heads * s.head_width, s.key_value_heads * s.head_width, s.key_value_heads * s.head_width]
        query, key, value = torch.split(self.fast["stacked"](x), sizes, -1)
        return query, key, value
