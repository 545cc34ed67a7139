"""Another size of vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seqgraft.errors import ConfigurationError

if TYPE_CHECKING:
    from seqgraft.torch.half import Half
    from seqgraft.torch.model import EncoderDecoderModel


def resize(half: Half, size: int | None, multiple: int | None, from_spread: bool) -> nn.Embedding:
    """Give a half's tables `size` rows, rounded up to a multiple; rows that stay keep their values."""
    old = half.embed.num_embeddings
    size = old if size is None else size
    if multiple:
        size = -(-size // multiple) * multiple
    if size < 1:
        raise ConfigurationError(f"A vocabulary must have at least 1 token, but {size} were asked for.")
    if size == old:
        return half.embed
    if not isinstance(half.embed, nn.Embedding):
        raise ConfigurationError("A vocabulary must be resized before the model is quantised, but this one's is.")
    table = nn.Embedding(
        size,
        half.embed.embedding_dim,
        half.embed.padding_idx,
        _weight=_resized(half.embed.weight, size, half.spec.deviation, from_spread),
    )
    output = half.head.output if half.head is not None else None
    tied = output is not None and output.weight is half.embed.weight
    half.embed = table.train(half.training)
    half.config.set_vocabulary(half.side, size)
    for copy, _ in half.names().ties:
        half.carried.pop(copy, None)  # an idle copy of the old size
    if output is not None:
        if not tied:
            output.weight = nn.Parameter(_resized(output.weight, size, half.spec.deviation, from_spread))
        if output.bias is not None:
            output.bias = nn.Parameter(_resized(output.bias, size, 0.0, False))
        output.out_features = size
    half.spec = half._declared(half.config).spec(half.config)
    half.tie()
    return half.embed


def resize_both(pair: EncoderDecoderModel, *args: Any, **kwargs: Any) -> nn.Embedding:
    """Resize the one table that both halves of a pair read; the arguments are those of a half."""
    size = pair.decoder.resize_token_embeddings(*args, **kwargs).num_embeddings
    pair.encoder.resize_token_embeddings(size)
    pair.tie_weights()
    return pair.encoder.embed


@torch.no_grad()
def _resized(old: Tensor, size: int, deviation: float, from_spread: bool) -> Tensor:
    """The first rows of `old`, and new ones drawn around its mean with its spread, or with a plain deviation."""
    new = old.new_empty((size, *old.shape[1:]))
    kept = min(size, old.shape[0])
    new[:kept] = old[:kept]
    if size > kept:
        if from_spread:
            whole = old.float()
            drawn = whole.mean(0) + torch.randn(size - kept, *old.shape[1:], device=old.device) * whole.std(0)
            new[kept:] = drawn.to(new.dtype)
        elif deviation:
            new[kept:].normal_(0.0, deviation)
        else:
            new[kept:] = 0
    return new
