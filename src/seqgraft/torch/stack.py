"""One stack for every spec. The module attribute paths are the canonical tensor names."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seqgraft.spec import BlockSparse, Constant, Convolution, Distances, Positions, Rotary, TokenDropout
from seqgraft.spec import Stack as StackSpec
from seqgraft.torch.attention import View
from seqgraft.torch.cache import EncoderDecoderCache
from seqgraft.torch.convolution import convolution, mixed
from seqgraft.torch.disentangled import Apart, other_type, rows_of_distance, sines_of_distance
from seqgraft.torch.geometry import geometry
from seqgraft.torch.head import Head
from seqgraft.torch.layers import Layer
from seqgraft.torch.masks import any_hidden, see_all, see_named
from seqgraft.torch.norm import Norm
from seqgraft.torch.positions import rows_of, sines
from seqgraft.torch.prefix import Prefixes
from seqgraft.torch.product import product
from seqgraft.torch.record import Memory, Record
from seqgraft.torch.rotary import Rotation
from seqgraft.torch.seats import Look, Window
from seqgraft.torch.sparse import Blocks, blocks, named
from seqgraft.torch.streams import ahead
from seqgraft.torch.tables import table


class Stack(nn.Module):
    """Embeddings, layers and a head, as the spec says."""

    def __init__(self, spec: StackSpec) -> None:
        super().__init__()
        self.spec = spec
        self.checkpointing = False
        width = spec.sum_width
        learned = spec.positions is not None and spec.positions.kind == "learned"
        self.embed = table(spec.vocabulary, spec.embed_width, spec.padding)
        self.positions = table(spec.positions.rows, width) if spec.positions and learned else None
        self.streams = table(spec.streams.count, width) if spec.streams else None
        self.token_types = table(spec.token_types, width) if spec.token_types else None
        self.constants = nn.ModuleDict({c.name: table(c.rows, c.width or width) for c in spec.constants})
        self.embed_norm = Norm(spec.embed_norm, width) if spec.embed_norm else None
        joined = sum(constant.width or 0 for constant in spec.joined)
        self.widen = nn.Linear(spec.narrow.width + joined, spec.width, spec.narrow.bias) if spec.narrow else None
        heads = spec.layers[0].self_attention.heads
        self.position_bias = table(spec.position_bias.count, heads) if spec.position_bias else None
        distances = spec.distances.span if spec.distances and spec.distances.kind == "learned" else None
        self.distances = table(2 * distances, spec.width) if distances else None
        self.distances_norm = Norm(spec.distances_norm, spec.width) if spec.distances_norm else None
        self.prefixes = nn.ModuleDict(
            {
                block: Prefixes(spec.prefix, getattr(spec.layers[0], block), len(spec.layers), spec.width)
                for block in spec.prefix.blocks
            }
            if spec.prefix
            else {}
        )
        own = {i: Layer(spec.layers[i], spec.width) for i in spec.owners}
        self.layers = nn.ModuleList(own[i] for i in spec.shared or spec.owners)
        self.convolution = convolution(spec.convolution, spec.width) if spec.convolution else None
        self.convolution_norm = Norm(spec.layers[0].norm, spec.width) if spec.convolution else None
        self.final_norm = Norm(spec.final_norm, spec.width) if spec.final_norm else None
        back = spec.narrow is not None and spec.narrow.back
        self.narrow_again = nn.Linear(spec.width, spec.state_width, bias=False) if back else None
        self.head = Head(spec.head, spec.state_width, spec.vocabulary) if spec.head else None
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
        everywhere: Tensor | None = None,
        inputs: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """ids [rows, time], or their embeddings [rows, time, width] -> states [rows, time, width].

        mask [rows, past + time], 1 where a token may be seen; None means everywhere. `cache` is extended.
        everywhere [rows, time], not 0 for tokens that see all and that all see, where the spec has them. `inputs` are
        further ones that the spec names, [rows, time] or [rows, time, columns].
        Raises ValueError when a sequence is longer than the table of positions.
        """
        record = record or Record()
        memory = memory or Memory()
        past = cache.get_seq_length() if cache is not None else 0
        streams = self.spec.streams.count if self.spec.streams else 0
        if streams and record.ahead is None and not self.training:
            streams = 1  # the others change nothing of what it gives
        look = None
        if cache is not None and cache.seats is not None:
            look = cache.seats.advance((ids if ids is not None else cast("Tensor", embeddings)).shape[1])
        x = self._embed(ids, embeddings, mask, positions, token_types, past, streams, look, inputs)
        time = x.shape[1] // (1 + streams)
        views, turns, distance = self._geometry(x[:, :time], mask, positions, past, look, token_types)
        relative = self.spec.layers[0].self_attention.relative
        if streams and relative is not None:
            views = {None: View(ahead=ahead(streams, relative, past, time, any_hidden(mask), x))}
        if everywhere is not None and (who := named(everywhere, any_hidden(mask), x.dtype)) is not None:
            views = {window: see_named(view, who) for window, view in views.items()}
        memory_view = see_all(any_hidden(memory.mask), x.dtype)
        prefixes = self._prefixes(cache)
        beside = x
        sparse: dict[tuple[BlockSparse, int | None], Blocks] = {}
        shown = any_hidden(mask)
        for index, layer in enumerate(self._layers()):
            if record.states is not None:
                record.states.append(x[:, :time])
            if self.training and cache is None and self._skips():
                continue
            own = layer.spec.self_attention
            kept = cache.remembered(index) if cache is not None else None
            if kept is None and memory.states is not None and layer.look is not None and cache is not None:
                made = layer.look.remember(memory.states)
                # Every step reads them, head by head.
                kept = made if torch.is_grad_enabled() else (made[0].contiguous(), made[1].contiguous())
                cache.remember(index, kept)
            view = views[own.window]
            if own.sparse is not None and x.shape[1] > own.sparse.full:
                drawn_by = index if self.training else None
                if (own.sparse, drawn_by) not in sparse:
                    sparse[own.sparse, drawn_by] = blocks(own.sparse, x.shape[1], own.heads, shown, drawn_by, x.device)
                view = View(blocks=sparse[own.sparse, drawn_by])
            if layer.self_attention.leans and distance is not None:
                view = layer.self_attention.lean(view, distance, self.spec.causal)
            seen = memory_view
            if prefixes is not None:
                view, seen = (
                    replace(one, prefix=prefixes[block][index]) if block in prefixes else one
                    for block, one in (("self_attention", view), ("cross_attention", memory_view))
                )
            arguments = (
                x,
                view,
                turns.get(own.rotary),
                cache.layers[index] if cache is not None else None,
                kept if kept is not None else memory.states,
                seen,
                record.attentions,
                record.cross_attentions,
            )
            if self.checkpointing and torch.is_grad_enabled() and cache is None:
                x = checkpoint(layer, *arguments, use_reentrant=False)
            else:
                x = layer(*arguments)
            if index == 0 and self.spec.convolution is not None:
                x = self._convolved(self.spec.convolution, beside, x, mask)
        x = self._finished(x)
        if record.states is not None:
            record.states.append(x[:, :time])
        if not streams:
            return x
        if record.cross_attentions is not None:
            record.cross_attentions[:] = [seen[:, :, :time] for seen in record.cross_attentions]
        if record.ahead is not None:
            record.ahead.append(x[:, time:].view(x.shape[0], streams, time, -1))
        return x[:, time : 2 * time]

    def _prefixes(self, cache: EncoderDecoderCache | None) -> dict[str, list[tuple[Tensor, Tensor]]] | None:
        """What stands before each layer's keys and values, by block: made once for all steps of a cache."""
        if self.spec.prefix is None:
            return None
        if cache is not None and cache.prefixes is not None:
            return cache.prefixes
        made = {block: cast("Prefixes", one)() for block, one in self.prefixes.items()}
        if cache is not None:
            cache.prefixes = made
        return made

    def _finished(self, x: Tensor) -> Tensor:
        """What follows the last layer."""
        if self.final_norm is not None:
            x = self.final_norm(x)
        if self.narrow_again is not None:
            x = product(self.narrow_again, x)
        return F.dropout(x, self.spec.final_dropout, self.training)

    def logits(self, states: Tensor) -> Tensor:
        """states [..., width] -> logits [..., vocabulary]"""
        if self.head is None:
            raise TypeError("This stack has no language-model head, so it has no logits.")
        out: Tensor = self.head(states)
        return out

    def _with_streams(self, spec: Positions, x: Tensor, rows: Tensor | None, past: int, count: int) -> Tensor:
        """x [rows, time, width] -> [rows, (1 + count) * time, width]: a stream's embedding and the next position's."""
        if rows is None:
            rows = rows_of(spec, None, past, x.shape[1], x.device)
        table, embeddings = cast("nn.Embedding", self.positions), cast("nn.Embedding", self.streams).weight
        following = table((rows + 1).clamp(max=spec.rows - 1))
        # As published, the first stream has the table's last row, and the second the first one.
        each = [(embeddings[stream - 1] + following).expand(x.shape[0], -1, -1) for stream in range(count)]
        return torch.cat((x, *each), 1)

    def _convolved(self, spec: Convolution, embedded: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
        """The first layer's states with a convolution of what it read, normed."""
        if self.convolution is None or self.convolution_norm is None:
            return x
        out: Tensor = self.convolution_norm(x + mixed(spec, self.convolution, embedded, mask))
        return out

    def _skips(self) -> bool:
        """Whether training leaves out the next layer."""
        return self.spec.layer_drop > 0 and float(torch.rand(())) < self.spec.layer_drop

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
        streams: int = 0,
        look: Look | None = None,
        inputs: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        spec = self.spec
        if (ids is None) == (embeddings is None):
            raise ValueError("Exactly one of token ids and embeddings must be given.")
        x = embeddings if embeddings is not None else self.embed(ids)
        if spec.embed_scale != 1.0 and (embeddings is None or spec.scales_given):
            x = x * torch.tensor(spec.embed_scale, dtype=x.dtype)  # rounded as the published models round it
        if spec.token_dropout is not None and ids is not None:
            x = self._without_token(spec.token_dropout, x, ids, mask)
        if spec.joined:
            rows = [self._constant(constant, inputs) for constant in spec.joined]
            x = torch.cat([x, *(row.expand(*x.shape[:-1], -1) for row in rows if row is not None)], -1)
        if self.widen is not None and spec.narrow is not None and spec.narrow.sums == "wide":
            x = product(self.widen, x)
        if self.embed_norm is not None and spec.embed_norm_first:
            x = self.embed_norm(x)
        if self.token_types is not None:
            types = self.token_types.weight[0] if token_types is None else self.token_types(token_types)
            x = x + types
        elif token_types is not None and not spec.relates_segments and bool(token_types.any()):
            raise ValueError("`token_type_ids` must be left out or 0, since this stack has no table of token types.")
        if spec.positions is not None:
            x = x + self._positions(spec.positions, x, mask, positions, past, look)
            if streams:
                x = self._with_streams(spec.positions, x, positions, past, streams)
        for constant in spec.constants:
            more = self._constant(constant, inputs) if constant.width is None else None
            x = x if more is None else x + more
        if spec.embed_dropout_first:
            x = F.dropout(x, spec.embed_dropout, self.training)
        if self.embed_norm is not None and not spec.embed_norm_first:
            x = self.embed_norm(x)
        if not spec.embed_dropout_first:
            x = F.dropout(x, spec.embed_dropout, self.training)
        if self.widen is not None and spec.narrow is not None and spec.narrow.sums == "narrow":
            x = product(self.widen, x)
        return x

    def _constant(self, spec: Constant, inputs: Mapping[str, Tensor] | None) -> Tensor | None:
        """What a further input adds, or is joined as, [width] or [rows, time, width]; None where it is nothing."""
        weight = cast("nn.Embedding", self.constants[spec.name]).weight
        given = inputs.get(spec.given) if inputs is not None and spec.given is not None else None
        if given is None and spec.width is not None:
            return weight[0].detach()
        if given is None:
            return spec.times * weight[0] if spec.times else None
        if not spec.columns:
            return F.embedding(given, weight, None if spec.width is None else 0)
        each = (given[..., column[0]] - (given[..., column[1]] if len(column) > 1 else 0) for column in spec.columns)
        return cast("Tensor", sum(F.embedding(rows, weight) for rows in each))

    @staticmethod
    def _without_token(spec: TokenDropout, x: Tensor, ids: Tensor, mask: Tensor | None) -> Tensor:
        """Embeddings [rows, time, width] with those of one token zero, and the others larger for it."""
        gone = ids == spec.token
        length = ids.shape[1] if mask is None else mask.sum(-1)
        growth = (1 - spec.rate) / (1 - gone.sum(-1) / length)
        return (x.masked_fill(gone[..., None], 0.0) * growth[:, None, None]).to(x.dtype)

    def _positions(
        self, spec: Positions, x: Tensor, mask: Tensor | None, rows: Tensor | None, past: int, look: Look | None
    ) -> Tensor:
        """What the absolute positions add, [rows or 1, time, width]; `rows` overrides what would be counted."""
        time = x.shape[1]
        if rows is None:
            if past + time > spec.longest:
                raise ValueError(
                    f"A sequence must have at most {spec.longest} tokens, the length of the table of positions, "
                    f"but has {past + time}."
                )
            rows = rows_of(spec, mask, past, time, x.device) if look is None else look.rows(spec)
        elif spec.given == "places":
            rows = rows + spec.offset
        if self.positions is None:
            return sines(spec, rows, x.shape[-1], x.dtype)
        added: Tensor = self.positions(rows)
        return added

    def _geometry(
        self,
        x: Tensor,
        mask: Tensor | None,
        positions: Tensor | None,
        past: int,
        look: Look | None = None,
        token_types: Tensor | None = None,
    ) -> tuple[dict[Window, View], dict[Rotary | None, Rotation], Tensor | None]:
        """Views, rotations and distances, as `geometry` has them."""
        bias = self.position_bias
        found = geometry(self.spec, x, mask, positions, past, look, None if bias is None else bias.forward)
        views, turns, distance = found
        if self.spec.distances is not None and distance is not None:
            apart = self._apart(self.spec.distances, distance, x.dtype)
            if token_types is not None and self.spec.relates_segments:
                apart.other = other_type(token_types, past)
            views = {window: replace(view, apart=apart) for window, view in views.items()}
        return views, turns, distance

    def _apart(self, spec: Distances, distance: Tensor, dtype: torch.dtype) -> Apart:
        """What the layers' scores depend on, of the distances [queries, keys] of keys from queries."""
        if self.distances is None:
            table, rows = sines_of_distance(spec, distance, self.spec.width, dtype)
        else:
            table, rows = self.distances.weight, rows_of_distance(spec, distance)
            table = table if self.distances_norm is None else self.distances_norm(table)
        return Apart(F.dropout(table, spec.dropout, self.training), rows, distance)
