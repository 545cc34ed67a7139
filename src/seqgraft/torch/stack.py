"""One stack for every spec. The module attribute paths are the canonical tensor names."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seqgraft.spec import Head as HeadSpec
from seqgraft.spec import Positions, Rotary
from seqgraft.spec import Stack as StackSpec
from seqgraft.torch.attention import Linear, View
from seqgraft.torch.cache import EncoderDecoderCache
from seqgraft.torch.layers import Layer, activate
from seqgraft.torch.masks import any_hidden, see_all, see_own
from seqgraft.torch.norm import Norm
from seqgraft.torch.product import product
from seqgraft.torch.rotary import Rotation, rotation

Window = tuple[int, int] | None


@dataclass
class Record:
    """What a call is asked to keep of its way: states before each layer and after the last, and attentions."""

    states: list[Tensor] | None = None
    attentions: list[Tensor] | None = None
    cross_attentions: list[Tensor] | None = None

    @classmethod
    def asked(cls, states: bool, attentions: bool) -> "Record":
        """A record of what is asked for, and of nothing else."""
        return cls([] if states else None, [] if attentions else None, [] if attentions else None)


@dataclass
class Memory:
    """An encoder's states [sources, time, width] and which of them may be seen [sources, time]."""

    states: Tensor | None = None
    mask: Tensor | None = None


class Head(nn.Module):
    """From states to logits. The output table is the input table itself when the spec ties them."""

    def __init__(self, spec: HeadSpec, width: int, vocabulary: int) -> None:
        super().__init__()
        self.spec = spec
        self.dense = nn.Linear(width, width) if spec.transform else None
        self.norm = Norm(spec.transform.norm, width) if spec.transform else None
        self.output = nn.Linear(width, vocabulary, spec.bias)
        self.fast: dict[str, Linear] | None = None
        """Projections prepared for inference (`prepare.py`)."""

    def forward(self, states: Tensor) -> Tensor:
        """states [..., width] -> logits [..., vocabulary]"""
        if self.spec.transform is not None and self.dense is not None and self.norm is not None:
            states = product(self.dense, states) if self.fast is None else self.fast["dense"](states)
            states = self.norm(activate(self.spec.transform.activation, states))
        return product(self.output, states) if self.fast is None else self.fast["output"](states)


class Stack(nn.Module):
    """Embeddings, layers and a head, as the spec says."""

    def __init__(self, spec: StackSpec) -> None:
        super().__init__()
        self.spec = spec
        self.checkpointing = False
        self.embed = nn.Embedding(spec.vocabulary, spec.width)
        self.positions = nn.Embedding(spec.positions.rows, spec.width) if spec.positions else None
        self.token_types = nn.Embedding(spec.token_types, spec.width) if spec.token_types else None
        self.embed_norm = Norm(spec.embed_norm, spec.width) if spec.embed_norm else None
        self.layers = nn.ModuleList(Layer(layer, spec.width) for layer in spec.layers)
        self.final_norm = Norm(spec.final_norm, spec.width) if spec.final_norm else None
        self.head = Head(spec.head, spec.width, spec.vocabulary) if spec.head else None
        self.tie()

    def tie(self) -> None:
        """Make the output table the input table, where the spec says so."""
        if self.head is not None and self.head.spec.tied:
            self.head.output.weight = self.embed.weight

    def states(
        self,
        ids: Tensor | None = None,
        *,
        embeddings: Tensor | None = None,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        token_types: Tensor | None = None,
        memory: Memory | None = None,
        cache: EncoderDecoderCache | None = None,
        record: Record | None = None,
    ) -> Tensor:
        """ids [rows, time], or their embeddings [rows, time, width] -> states [rows, time, width].

        mask [rows, past + time], 1 where a token may be seen; None means everywhere. `cache` is extended.
        Raises ValueError when a sequence is longer than the table of positions.
        """
        record = record or Record()
        memory = memory or Memory()
        past = cache.get_seq_length() if cache is not None else 0
        x = self._embed(ids, embeddings, mask, positions, token_types, past)
        views, turns = self._geometry(x, mask, positions, past)
        memory_view = see_all(any_hidden(memory.mask), x.dtype)
        for index, layer in enumerate(self._layers()):
            if record.states is not None:
                record.states.append(x)
            own = layer.spec.self_attention
            kept = cache.memory[index] if cache is not None else None
            if kept is None and memory.states is not None and layer.cross_attention is not None and cache is not None:
                kept = cache.memory[index] = layer.cross_attention.remember(memory.states)
            arguments = (
                x,
                views[own.window],
                turns.get(own.rotary),
                cache.layers[index] if cache is not None else None,
                kept if kept is not None else memory.states,
                memory_view,
                record.attentions,
                record.cross_attentions,
            )
            if self.checkpointing and self.training and torch.is_grad_enabled() and cache is None:
                x = checkpoint(layer, *arguments, use_reentrant=False)
            else:
                x = layer(*arguments)
        if self.final_norm is not None:
            x = self.final_norm(x)
        if record.states is not None:
            record.states.append(x)
        return x

    def logits(self, states: Tensor) -> Tensor:
        """states [..., width] -> logits [..., vocabulary]"""
        if self.head is None:
            raise TypeError("This stack has no language-model head, so it has no logits.")
        out: Tensor = self.head(states)
        return out

    def _layers(self) -> Iterator[Layer]:
        return cast("Iterator[Layer]", iter(self.layers))

    def _embed(
        self,
        ids: Tensor | None,
        embeddings: Tensor | None,
        mask: Tensor | None,
        positions: Tensor | None,
        token_types: Tensor | None,
        past: int,
    ) -> Tensor:
        spec = self.spec
        if (ids is None) == (embeddings is None):
            raise ValueError("Exactly one of token ids and embeddings must be given.")
        x = embeddings if embeddings is not None else self.embed(ids)
        if spec.embed_scale != 1.0 and embeddings is None:
            x = x * spec.embed_scale
        time = x.shape[1]
        if self.token_types is not None:
            types = self.token_types.weight[0] if token_types is None else self.token_types(token_types)
            x = x + types
        if self.positions is not None and spec.positions is not None:
            if positions is None:
                if past + time > spec.positions.longest:
                    raise ValueError(
                        f"A sequence must have at most {spec.positions.longest} tokens, the length of the table of "
                        f"positions, but has {past + time}."
                    )
                positions = rows_of(spec.positions, mask, past, time, x.device)
            x = x + self.positions(positions)
        if self.embed_norm is not None:
            x = self.embed_norm(x)
        return F.dropout(x, spec.embed_dropout, self.training)

    def _geometry(
        self, x: Tensor, mask: Tensor | None, positions: Tensor | None, past: int
    ) -> tuple[dict[Window, View], dict[Rotary | None, Rotation]]:
        """Views by window and rotations by rotary spec: each is computed once, however many layers share it."""
        time = x.shape[1]
        mask = any_hidden(mask)
        views: dict[Window, View] = {}
        turns: dict[Rotary | None, Rotation] = {}
        for layer in self.spec.layers:
            own = layer.self_attention
            if own.window not in views:
                views[own.window] = see_own(
                    time,
                    past,
                    mask,
                    causal=self.spec.causal,
                    window=own.window,
                    dtype=x.dtype,
                    device=x.device,
                )
            if own.rotary is not None and own.rotary not in turns:
                places = positions if positions is not None else torch.arange(past, past + time, device=x.device)[None]
                turns[own.rotary] = rotation(own.rotary, places, own.head_width, x.dtype)
        return views, turns


def rows_of(spec: Positions, mask: Tensor | None, past: int, time: int, device: torch.device) -> Tensor:
    """The rows [rows or 1, time] of the table of positions for `time` tokens after `past` ones."""
    if spec.counted == "all" or mask is None:
        return torch.arange(past + spec.offset, past + time + spec.offset, device=device)[None]
    counted = mask.long()
    return (counted.cumsum(-1) * counted + spec.offset - 1)[:, past:]
