"""Scaled dot-product attention with grouped heads, and the module that owns its projections."""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqgraft.spec import Attention as AttentionSpec
from seqgraft.torch.cache import LayerCache
from seqgraft.torch.disentangled import Apart, Disentangled
from seqgraft.torch.norm import Norm, NormsApart
from seqgraft.torch.positions import bucket, slopes
from seqgraft.torch.prefix import after
from seqgraft.torch.product import Linear, product
from seqgraft.torch.quantized import dtype_of
from seqgraft.torch.rotary import Rotation, rotate
from seqgraft.torch.sparse import Blocks, Everywhere, Named, attend_blocks, written_out
from seqgraft.torch.streams import Ahead, attend_ahead
from seqgraft.torch.tables import table


@dataclass
class View:
    """What the queries of one call see of the keys: everything, or what a rule or a bias on the scores leaves."""

    bias: Tensor | None = None
    """[batch or 1, heads or 1, queries or 1, keys], very negative where hidden.

    Where rows share a source, `queries` are those of all its rows, one row after the other."""
    causal: bool = False
    """Query i sees keys 0 to i; only with as many keys as queries and no bias."""
    apart: Apart | None = None
    """How far queries and keys are apart, where scores depend on it and on the contents together."""
    ahead: Ahead | None = None
    """What streams see, where there are some; it then says all that there is to say."""
    blocks: Blocks | None = None
    """Which blocks see which; it then holds the mask of tokens too, and nothing else is said."""
    named: Named | None = None
    """Tokens that see everything."""
    prefix: tuple[Tensor, Tensor] | None = None
    """Keys and values [1, groups, length, head_width] that stand before the others, and that all queries see."""


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    view: View,
    *,
    scale: float,
    dropout: float = 0.0,
    softcap: float | None = None,
    sink: Tensor | None = None,
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
    bias, folded = view.bias, each * queries
    by_query = view.causal or (bias is not None and bias.shape[2] not in (1, folded if each > 1 else 1))
    if each > 1:  # several rows look at one source: they become more queries of one attention
        if by_query:
            raise ValueError("Rows that share a source must see it alike, but their view differs by query.")
        query = query.view(sources, each, heads, queries, width).transpose(1, 2).reshape(sources, heads, -1, width)
    if alike > 1:
        if not by_query:  # so do the heads of one group
            query = query.reshape(sources, groups, -1, width)
            if bias is not None and (bias.shape[1] != 1 or bias.shape[2] != 1):
                wide = bias.expand(-1, heads, folded, -1)
                view = View(wide.reshape(bias.shape[0], groups, alike * folded, -1))
            if sink is not None:
                sink = sink.view(groups, alike).repeat_interleave(folded, 1)
        else:
            key, value = (t.repeat_interleave(alike, 1) for t in (key, value))
    seen = None
    if probabilities or softcap is not None or sink is not None:
        states, seen = _eager(query, key, value, view, scale, dropout, softcap, sink)
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
    query: Tensor,
    key: Tensor,
    value: Tensor,
    view: View,
    scale: float,
    dropout: float,
    softcap: float | None,
    sink: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Written out: for attentions that are asked for, and for scores that the fused kernels do not know."""
    scores = query @ key.transpose(-1, -2) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if view.causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min / 2)
    if view.bias is not None:
        scores = scores + view.bias
    if sink is not None:
        nothing = sink.view(1, sink.shape[0], -1, 1).expand(*scores.shape[:3], 1)
        scores = torch.cat((scores, nothing.to(scores.dtype)), -1)
    seen = torch.softmax(scores.float(), -1).to(value.dtype)
    if sink is not None:
        seen = seen[..., :-1]
    return F.dropout(seen, dropout) @ value, seen


def leaned(view: View, more: Tensor, distance: Tensor) -> View:
    """The view with a bias [1 or sources, heads, queries, keys] on its scores; causality is then written out."""
    bias = more if view.bias is None else view.bias + more
    if view.causal:
        bias = bias + (distance > 0).to(bias.dtype) * (torch.finfo(bias.dtype).min / 2)
    return View(bias)


def by_head(x: Tensor) -> Tensor:
    """[(sources,) queries, keys, heads] -> [1 or sources, heads, queries, keys]"""
    x = x.movedim(-1, -3)
    return x[None] if x.dim() == 3 else x


def join(
    memory: tuple[Tensor, Tensor, View], key: Tensor, value: Tensor, view: View, queries: int
) -> tuple[Tensor, Tensor, View]:
    """A memory's keys and values before the stack's own, and what `queries` see of both, written out."""
    rows, own, other = key.shape[0], key.shape[2], memory[0].shape[2]
    each = rows // memory[0].shape[0]
    queries = queries if view.bias is None else max(queries, view.bias.shape[2])
    keys, values = (torch.cat((m.repeat_interleave(each, 0), k), 2) for m, k in ((memory[0], key), (memory[1], value)))
    bias = key.new_zeros(1, 1, queries, own) if view.bias is None else view.bias
    if view.causal:
        bias = bias + torch.ones(queries, own, dtype=key.dtype, device=key.device).triu(1) * (
            torch.finfo(key.dtype).min / 2
        )
    seen = memory[2].bias
    shown = key.new_zeros(1, 1, 1, other) if seen is None else seen.repeat_interleave(each, 0)
    most = max(bias.shape[0], shown.shape[0])
    parts = (shown.expand(most, bias.shape[1], queries, other), bias.expand(most, bias.shape[1], queries, own))
    return keys, values, View(torch.cat(parts, -1))


class Attention(nn.Module):
    """Self-attention, or cross-attention when the spec says the width of a memory."""

    def __init__(self, spec: AttentionSpec, width: int) -> None:
        super().__init__()
        memory = spec.memory_width or width
        self.spec = spec
        self.scale = spec.scale if spec.scale is not None else spec.head_width**-0.5
        self.query = nn.Linear(width, spec.heads * spec.head_width, spec.input_bias)
        self.key = nn.Linear(memory, spec.key_value_heads * spec.head_width, spec.biases[1])
        self.value = nn.Linear(memory, spec.key_value_heads * spec.head_width, spec.input_bias)
        self.output = nn.Linear(spec.heads * spec.head_width, width, spec.output_bias)
        self.query_norm = self._head_norm(spec.heads)
        self.key_norm = self._head_norm(spec.key_value_heads)
        self.position_bias = table(spec.buckets.count, spec.heads) if spec.buckets else None
        self.relative = nn.Linear(width, spec.relative.count * spec.heads) if spec.relative else None
        tangle = spec.disentangled
        self.disentangled = Disentangled(tangle, width, spec.heads, spec.head_width) if tangle else None
        self.everywhere = Everywhere(spec, width) if spec.everywhere else None
        self.sink = nn.Parameter(torch.zeros(spec.heads)) if spec.sink else None
        self.gate = nn.Parameter(torch.zeros(1)) if spec.gate else None
        self.eager = False
        self.fast: dict[str, Linear] | None = None
        """Projections prepared for inference (`prepare.py`), in use only while a generation runs."""

    def _head_norm(self, heads: int) -> Norm | NormsApart | None:
        norm, width, spans = self.spec.head_norm, self.spec.head_width, self.spec.head_norm_spans
        if norm is None:
            return None
        if spans == "apart":
            return NormsApart(norm, width, heads)
        return Norm(norm, heads * width if spans == "all" else width, heads if spans == "each" else None)

    def _split(self, x: Tensor, heads: int) -> Tensor:
        """[rows, time, heads * head_width] -> [rows, heads, time, head_width]"""
        if self.spec.clip is not None:
            x = x.clamp(-self.spec.clip, self.spec.clip)
        return x.view(x.shape[0], x.shape[1], heads, self.spec.head_width).transpose(1, 2)

    def _shaped(self, x: Tensor, heads: int, norm: Norm | NormsApart | None, rotation: Rotation | None) -> Tensor:
        """Projected queries or keys [rows, time, heads * head_width], split, normed and turned."""
        alone = self.spec.head_norm_spans != "all"
        if norm is not None and not alone:
            x = norm(x)
        x = self._split(x, heads)
        if norm is not None and alone:
            x = norm(x)
        if rotation is None or self.spec.rotary is None:
            return x
        return rotate(x, rotation, self.spec.rotary.layout)

    def _queries(self, projected: Tensor, rotation: Rotation | None) -> Tensor:
        return self._shaped(projected, self.spec.heads, self.query_norm, rotation)

    def _keys_values(self, key: Tensor, value: Tensor, rotation: Rotation | None) -> tuple[Tensor, Tensor]:
        groups = self.spec.key_value_heads
        turning = rotation is not None and self.spec.rotary is not None and self.spec.rotary.values
        values = self._shaped(value, groups, None, rotation) if turning else self._split(value, groups)
        return self._shaped(key, groups, self.key_norm, rotation), values

    def forward(
        self,
        x: Tensor,
        view: View,
        rotation: Rotation | None = None,
        cache: LayerCache | None = None,
        memory: tuple[Tensor, Tensor] | None = None,
        joined: tuple[Tensor, Tensor, View] | None = None,
        seen: list[Tensor] | None = None,
    ) -> Tensor:
        """x [rows, time, width] -> [rows, time, width].

        `joined` are keys, values and view of a memory that stands before the stack's own.

        Self-attention appends to `cache`; cross-attention looks at `memory`, keys and values as `remember` makes them.
        `seen` collects the probabilities.
        """
        prefix = view.prefix
        if view.ahead is not None:
            return self._streams(x, view.ahead, cache, seen)
        if memory is None:
            query, key, value = self._project(x)
            query = self._queries(query, rotation)
            key, value = self._keys_values(key, value, rotation)
            if cache is not None:
                key, value = cache.append(key, value)
            if self.disentangled is not None and view.apart is not None:
                more = self.scale * self.disentangled(query, key, view.apart, self.query, self.key)
                view = leaned(view, more, view.apart.distance)
                query = self.disentangled.of_contents(query)
            if joined is not None:
                key, value, view = join(joined, key, value, view, query.shape[2])
        else:
            fast = self.fast  # another thread may take it away
            query = self._queries(product(self.query, x) if fast is None else fast["query"](x), None)
            key, value = memory
        if prefix is not None:
            key, value, bias = after(prefix, key, value, view.bias, view.causal)
            view = View(bias)
        asked = seen is not None or self.eager
        if view.blocks is not None and not asked:
            states = attend_blocks(query, key, value, view.blocks, self.scale)
            return self._output(states)
        dropout = self.spec.dropout if self.training and view.blocks is None else 0.0
        if view.blocks is not None:
            view = View(written_out(view.blocks, query.shape[2], query.dtype))
        states, probabilities = attend(
            query,
            key,
            value,
            view,
            scale=self.scale,
            dropout=dropout,
            softcap=self.spec.softcap,
            sink=self.sink,
            probabilities=asked,
        )
        if seen is not None and probabilities is not None:
            seen.append(probabilities)
        if self.everywhere is not None and view.named is not None:
            states = self.everywhere(x, view.named, states, self.scale, seen)
        return self._output(states)

    def _streams(self, x: Tensor, view: Ahead, cache: LayerCache | None, seen: list[Tensor] | None) -> Tensor:
        """x [rows, (1 + streams) * time, width] -> the same shape; the main stream's keys and values are kept."""
        query, key, value = self._project(x)
        query = self._queries(query, None)
        key, value = self._keys_values(key, value, None)
        time = view.near.shape[0]
        main = key[:, :, :time], value[:, :, :time]
        if cache is not None:
            main = cache.append(*main)
        lean = product(cast("nn.Linear", self.relative), x).view(*x.shape[:2], -1, self.spec.heads).permute(0, 3, 1, 2)
        states, probabilities = attend_ahead(
            query,
            main,
            (key[:, :, time:], value[:, :, time:]),
            lean,
            view,
            self.scale,
            self.spec.dropout if self.training else 0.0,
        )
        if seen is not None:
            seen.append(probabilities)
        return self._output(states)

    def _output(self, states: Tensor) -> Tensor:
        """[rows, heads, time, head_width] -> [rows, time, width]"""
        states, fast = states.transpose(1, 2).flatten(2), self.fast
        return product(self.output, states) if fast is None else fast["output"](states)

    def lean(self, view: View, distance: Tensor, causal: bool) -> View:
        """The view with what this block's own positions add; distance [(sources,) queries, keys], key minus query."""
        spec, dtype = self.spec, dtype_of(self.query)
        if spec.alibi is not None:
            steep = spec.alibi_scale * slopes(spec.heads, spec.alibi, distance.device)
            view = leaned(view, by_head(-distance.abs()[..., None] * steep).to(dtype), distance)
        if self.position_bias is not None and spec.buckets is not None:
            table = self.position_bias(bucket(spec.buckets, distance, causal))
            view = leaned(view, by_head(table), distance)
        return view

    @property
    def leans(self) -> bool:
        """Whether positions add to this block's scores."""
        return self.spec.alibi is not None or self.position_bias is not None

    def remember(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """An encoder's states [sources, time, memory_width] -> keys and values [sources, groups, time, head_width]."""
        return self._keys_values(product(self.key, states), product(self.value, states), None)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fast = self.fast
        if fast is None:
            return product(self.query, x), product(self.key, x), product(self.value, x)
        s = self.spec
        sizes = [s.heads * s.head_width, s.key_value_heads * s.head_width, s.key_value_heads * s.head_width]
        query, key, value = torch.split(fast["stacked"](x), sizes, -1)
        return query, key, value
