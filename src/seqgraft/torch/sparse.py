"""Attention to a few blocks (Zaheer et al. 2020), of which only what is seen is computed; and tokens beyond windows."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqgraft.drawing import drawn
from seqgraft.spec import Attention, BlockSparse
from seqgraft.torch.product import product


@dataclass
class Blocks:
    """Which blocks see which in one call."""

    size: int
    few: int
    """The most blocks that one between the first and the last sees."""
    counts: Tensor
    """How often a block counts for one that sees it [heads or 1, blocks, blocks]."""
    mask: Tensor | None
    """1 where a token may be seen [rows, keys]; None means everywhere."""


def blocks(
    spec: BlockSparse, time: int, heads: int, mask: Tensor | None, layer: int | None, at: torch.device
) -> Blocks:
    """Of a text of `time` tokens; `layer` is the number from which training draws, None outside training."""
    count = -(-time // spec.block)
    place = torch.arange(count, device=at)
    counts = ((place[:, None] - place).abs() <= 1).float()[None].repeat(1 if layer is None else heads, 1, 1)
    counts[:, :, 0] = counts[:, :, -1] = 1
    if layer is None:
        counts[:, :, 0] += spec.drawn
    elif spec.drawn:
        found = torch.from_numpy(drawn(spec, count, heads, layer)).to(at)
        counts[:, 1:-1].scatter_add_(2, found, torch.ones_like(found, dtype=counts.dtype))
    counts[:, 0] = counts[:, -1] = 1
    return Blocks(spec.block, 5 if layer is None else 5 + spec.drawn, counts, mask)


def written_out(seen: Blocks, time: int, dtype: torch.dtype) -> Tensor:
    """The same as a bias on all scores [rows or 1, heads or 1, time, time], where probabilities are asked for."""
    bias = _logarithm(seen.counts, dtype)
    bias = bias.repeat_interleave(seen.size, 1).repeat_interleave(seen.size, 2)[None, :, :time, :time]
    return bias if seen.mask is None else bias + _hidden(seen.mask, dtype)[:, None, None, :]


def attend_blocks(query: Tensor, key: Tensor, value: Tensor, seen: Blocks, scale: float) -> Tensor:
    """query, key and value [rows, heads, time, head_width] -> states of the same shape.

    Memory grows with time x blocks seen, not with time x time.
    """
    rows, heads, time, width = query.shape
    size, count = seen.size, seen.counts.shape[-1]
    few = seen.few
    most = seen.counts[:, 1:-1].topk(few, -1)  # [heads or 1, count - 2, few]
    index = most.indices.expand(heads, -1, -1)
    fill = (0, 0, 0, count * size - time)
    query, key, value = (F.pad(part, fill) for part in (query, key, value))
    shown = query.new_ones(rows, time) if seen.mask is None else seen.mask.to(query.dtype)
    hidden = _hidden(F.pad(shown, (0, count * size - time)), query.dtype)  # [rows, count * size]

    ends = torch.cat((query[:, :, :size], query[:, :, -size:]), 2)
    ends = F.scaled_dot_product_attention(ends, key, value, attn_mask=hidden[:, None, None], scale=scale)

    head = torch.arange(heads, device=query.device)[:, None, None]
    keys, values = (
        part.view(rows, heads, count, size, width)[:, head, index].view(rows, -1, few * size, width)
        for part in (key, value)
    )  # [rows, heads * (count - 2), few * size, width]
    bias = _logarithm(most.values, query.dtype).expand(heads, -1, -1)[None, ..., None]
    bias = bias + hidden.view(rows, count, size)[:, index]  # [rows, heads, count - 2, few, size]
    middle = query[:, :, size:-size].reshape(rows, heads * (count - 2), size, width)
    middle = F.scaled_dot_product_attention(
        middle, keys, values, attn_mask=bias.view(rows, heads * (count - 2), 1, few * size), scale=scale
    )
    states = torch.cat((ends[:, :, :size], middle.view(rows, heads, -1, width), ends[:, :, size:]), 2)
    return states[:, :, :time]


@dataclass
class Named:
    """Tokens that see everything and are seen by all (Longformer)."""

    tokens: Tensor
    """[rows, time], true for them, and false where the mask hides."""
    index: Tensor
    """Their places [rows, most of a row]; a row with fewer is filled up with others."""
    bias: Tensor | None
    """[rows, 1, 1, time], very negative where hidden; None means nowhere."""

    def placed(self, into: Tensor, values: Tensor) -> Tensor:
        """into [rows, heads, time, n] with values [rows, heads, most of a row, n] in their tokens' places."""
        places = self.index[:, None, :, None].expand(values.shape)
        real = self.tokens.gather(1, self.index)[:, None, :, None]
        return into.scatter(2, places, torch.where(real, values, into.gather(2, places)))


def named(tokens: Tensor, mask: Tensor | None, dtype: torch.dtype) -> Named | None:
    """tokens and mask [rows, time], not 0 where a token sees everything, and where one may be seen at all."""
    tokens = tokens != 0 if mask is None else (tokens != 0) & (mask != 0)
    most = int(tokens.sum(1).max())
    if most == 0:
        return None
    bias = None if mask is None else (mask == 0).to(dtype)[:, None, None] * (torch.finfo(dtype).min / 2)
    return Named(tokens, tokens.to(torch.uint8).topk(most, 1).indices, bias)


class Everywhere(nn.Module):
    """What named tokens see: everything, with queries, keys and values of their own."""

    def __init__(self, spec: Attention, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.query, self.key, self.value = (
            nn.Linear(width, spec.heads * spec.head_width, spec.input_bias) for _ in range(3)
        )

    def forward(self, x: Tensor, who: Named, states: Tensor, scale: float, seen: list[Tensor] | None) -> Tensor:
        """x [rows, time, width]; states [rows, heads, time, head_width] -> the same, those of named tokens replaced.

        `seen` ends with the probabilities [rows, heads, time, time], where they are asked for.
        """
        asking = x.gather(1, who.index[..., None].expand(-1, -1, x.shape[-1]))
        query, key, value = (
            product(linear, of).view(*of.shape[:2], self.spec.heads, -1).transpose(1, 2)
            for linear, of in ((self.query, asking), (self.key, x), (self.value, x))
        )
        rate = self.spec.dropout if self.training else 0.0
        if seen is None:
            found = F.scaled_dot_product_attention(query, key, value, attn_mask=who.bias, dropout_p=rate, scale=scale)
        else:
            scores = query @ key.transpose(-1, -2) * scale
            seats = torch.softmax((scores if who.bias is None else scores + who.bias).float(), -1).to(value.dtype)
            found = F.dropout(seats, rate) @ value
            seen[-1] = who.placed(seen[-1], seats)
        return who.placed(states, found)


def _hidden(mask: Tensor, dtype: torch.dtype) -> Tensor:
    return (mask == 0).to(dtype) * (torch.finfo(dtype).min / 4)


def _logarithm(counts: Tensor, dtype: torch.dtype) -> Tensor:
    """What makes a score count so often in the softmax; very negative where it does not count."""
    return counts.log().clamp(min=torch.finfo(dtype).min / 4).to(dtype)
