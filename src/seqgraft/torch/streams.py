"""Streams that look ahead beside the one that reads the text (Qi et al. 2020)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seqgraft.spec import Buckets, Streams
from seqgraft.torch.loss import IGNORED
from seqgraft.torch.positions import bucket


@dataclass
class Ahead:
    """What the streams of one call see; the queries are the main ones and then those of each stream."""

    count: int
    """Streams beside the main one."""
    near: Tensor
    """Bucket of a key for a main query [time, keys]."""
    far: Tensor
    """Bucket of a main key for a stream's query: a place further [time, keys]."""
    bias: Tensor
    """On the scores of main keys [rows or 1, 1, (1 + count) * time, keys], very negative where hidden."""


def ahead(count: int, buckets: Buckets, past: int, time: int, mask: Tensor | None, like: Tensor) -> Ahead:
    """Of `time` tokens after `past` ones; mask [rows, past + time]."""
    keys = torch.arange(past + time, device=like.device)
    distance = keys[None, :] - torch.arange(past, past + time, device=like.device)[:, None]
    main = distance > 0
    streams = [(distance > -k) & (keys > 0) for k in range(count)]
    hidden = torch.cat((main, *streams))[None, None]
    if mask is not None:
        hidden = hidden | (mask[:, None, None, :] == 0)
    bias = hidden.to(like.dtype) * (torch.finfo(like.dtype).min / 2)
    return Ahead(count, bucket(buckets, distance, True), bucket(buckets, distance - 1, True), bias)


def attend_ahead(
    query: Tensor,
    main: tuple[Tensor, Tensor],
    own: tuple[Tensor, Tensor],
    lean: Tensor,
    view: Ahead,
    scale: float,
    dropout: float,
) -> tuple[Tensor, Tensor]:
    """Every query sees main keys, and one of a stream itself beside them.

    query [rows, heads, (1 + count) * time, head_width]; main keys and values [rows, heads, keys, head_width]; the
    streams' own [rows, heads, count * time, head_width]; lean [rows, heads, (1 + count) * time, buckets], what each
    bucket adds to a query's scores. Returns states shaped as `query`, and the main probabilities.
    """
    time = view.near.shape[0]
    index = torch.cat((view.near, view.far.repeat(view.count, 1))).expand(*query.shape[:2], -1, -1)
    scores = query @ main[0].transpose(-1, -2) * scale + lean.gather(-1, index) + view.bias
    alone = (query[:, :, time:] * own[0]).sum(-1, keepdim=True) * scale + lean[:, :, time:, :1]
    first = F.dropout(torch.softmax(scores[:, :, :time].float(), -1).to(scores.dtype), dropout)
    both = torch.softmax(torch.cat((scores[:, :, time:], alone), -1).float(), -1).to(scores.dtype)
    both = F.dropout(both, dropout)
    streams = both[..., :-1] @ main[1] + both[..., -1:] * own[1]
    return torch.cat((first @ main[1], streams), 2), first


def streams_loss(logits: Tensor, labels: Tensor, spec: Streams, count: Tensor | int | None = None) -> Tensor:
    """logits [rows, streams, time, vocabulary], each stream's at the same labels [rows, time]; `count` as for one."""
    flat = logits[:, : spec.learned].flatten(0, 2).float()
    targets = labels[:, None].expand(-1, spec.learned, -1).reshape(-1).to(flat.device)
    total = F.cross_entropy(flat, targets, ignore_index=IGNORED, reduction="sum", label_smoothing=spec.smoothing)
    if count is None:
        return total / (targets != IGNORED).sum()
    return total / ((count.to(total.device) if isinstance(count, Tensor) else count) * spec.learned)
