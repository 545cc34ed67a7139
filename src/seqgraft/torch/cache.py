"""Keys and values of the past, handed in and handed back."""

from collections.abc import Iterator

import torch
from torch import Tensor

from seqgraft.torch.seats import Seats

_FIRST = 64
"""Slots that a cache begins with: memory that nothing is written to yet costs nothing, and moving it does."""


class LayerCache:
    """One layer's keys and values, [2, sources, groups, capacity, head_width]; room is doubled when it runs out.

    A row has slots of its own, or the rows of a source share them: then a step adds a slot for each row.
    """

    __slots__ = ("_first", "_kept", "_spare", "_store", "length")

    def __init__(self, first: int = _FIRST) -> None:
        """With room for `first` slots, once something comes."""
        self.length, self._first = 0, first
        """Slots in use."""
        self._store: Tensor | None = None
        self._kept: tuple[Tensor, Tensor] | None = None
        self._spare: Tensor | None = None

    @property
    def key(self) -> Tensor | None:
        """The live keys [sources, groups, length, head_width], a view."""
        return None if self._store is None and self._kept is None else self._live()[0]

    @property
    def value(self) -> Tensor | None:
        """The live values, a view."""
        return None if self._store is None and self._kept is None else self._live()[1]

    def _live(self) -> tuple[Tensor, Tensor]:
        if self._kept is not None:
            return self._kept
        if self._store is None:
            raise ValueError("This cache holds nothing yet.")
        live = self._store[:, :, :, : self.length]
        return live[0], live[1]

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add [rows, groups, new, head_width]; returns all keys and values so far, [sources, groups, slots, ...]."""
        if torch.is_grad_enabled() and (key.requires_grad or value.requires_grad):
            return self._append_with_gradient(key, value)
        sources = key.shape[0] if self._store is None else self._store.shape[1]
        if sources != key.shape[0]:
            key, value = _beside(key, sources), _beside(value, sources)
        store = self.room(key, key.shape[2])
        end = self.length + key.shape[2]
        store[0, :, :, self.length : end] = key
        store[1, :, :, self.length : end] = value
        self.length = end
        return store[0, :, :, :end], store[1, :, :, :end]

    def put(self, both: Tensor) -> tuple[Tensor, Tensor]:
        """Add one token a row, its key and its value [rows, 2, groups, head_width]; returns what `append` does."""
        rows, _, groups, width = both.shape
        sources = rows if self._store is None else self._store.shape[1]
        each = rows // sources
        store, end = self._store, self.length + each
        if store is None or end > store.shape[3]:
            store = self.room(both.new_empty((sources, groups, 0, width)), each)
        if each == 1:
            store.select(3, self.length).copy_(both.transpose(0, 1))
        else:
            slots = store.narrow(3, self.length, each)
            slots.copy_(both.view(sources, each, 2, groups, width).permute(2, 0, 3, 1, 4))
        self.length = end
        key, value = store.narrow(3, 0, end).unbind(0)
        return key, value

    def _append_with_gradient(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Writing in place would break the graph, so a training pass that caches pays for a new tensor."""
        if self._kept is not None or self._store is not None:
            old_key, old_value = self._live()
            key, value = torch.cat((old_key, key), 2), torch.cat((old_value, value), 2)
        self._store, self._kept, self.length = None, (key, value), key.shape[2]
        return self._kept

    def room(self, like: Tensor, new: int) -> Tensor:
        """The store, with room for `new` more slots of keys and values like `like` [sources, groups, any, width]."""
        least = self.length + new
        if self._store is not None and least <= self._store.shape[3]:
            return self._store
        size = max(least, 2 * self.length, self._first)
        old = torch.stack(self._kept) if self._kept is not None else self._store
        self._store = like.new_empty((2, *like.shape[:2], size, like.shape[3]))
        self._spare = self._kept = None
        if old is not None:
            self._store[:, :, :, : self.length] = old[:, :, :, : self.length]
        return self._store

    def select(self, rows: Tensor) -> None:
        """Row i continues what row rows[i] was. Only the live part moves, into a second buffer that is kept."""
        if self._kept is not None:
            self._kept = (self._kept[0][rows], self._kept[1][rows])
        if self._store is None:
            return
        shape = (2, rows.shape[0], *self._store.shape[2:])
        if self._spare is None or self._spare.shape != shape:
            self._spare = self._store.new_empty(shape)
        self._spare[:, :, :, : self.length] = self._store[:, :, :, : self.length].index_select(1, rows)
        self._spare, self._store = self._store, self._spare

    def keep_slots(self, slots: Tensor) -> None:
        """Only these slots [sources, count] of each source remain, in this order."""
        if self._store is None:
            return
        index = slots[None, :, None, :, None]
        self._store[:, :, :, : slots.shape[1]] = self._store[:, :, :, : self.length].take_along_dim(index, 3)
        self.length = slots.shape[1]

    def move(self, store: Tensor) -> None:
        """Go on in another store [2, sources, groups, capacity, head_width], which gets what is live."""
        key, value = self._live()
        store[0, :, :, : self.length], store[1, :, :, : self.length] = key, value
        self._store, self._kept, self._spare = store, None, None

    def own(self) -> None:
        """Go on in a store that nobody else has."""
        if self._store is not None:
            self._store, self._spare = self._store[:, :, :, : self.length].clone(), None

    def cut(self, length: int) -> None:
        """Only the first `length` slots remain."""
        if self._kept is not None:
            self._kept = (self._kept[0][:, :, :length], self._kept[1][:, :, :length])
        self.length = length


def _beside(x: Tensor, sources: int) -> Tensor:
    """[rows, groups, new, width] -> [sources, groups, each * new, width]: the rows of a source beside each other."""
    rows, groups, new, width = x.shape
    return x.view(sources, rows // sources, groups, new, width).transpose(1, 2).reshape(sources, groups, -1, width)


class EncoderDecoderCache:
    """The past of a decoder: its own keys and values, and the encoder's, computed once.

    `mask` [rows, length] marks the past tokens that may be seen; None means all of them. The keys and values of the
    encoder have one row a source, however many rows continue it. `seats` say who sees which slot, where the rows of
    a source share their slots, or rows are of different length.
    """

    def __init__(self, layers: int = 0) -> None:
        self.layers = [LayerCache() for _ in range(layers)]
        self.memory: list[tuple[Tensor, Tensor] | None] = [None] * layers
        self.mask: Tensor | None = None
        self.seats: Seats | None = None
        self.prefixes: dict[str, list[tuple[Tensor, Tensor]]] | None = None
        """Keys and values that stand before those of a layer's blocks, by block."""

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """How many tokens the decoder has seen (the longest row, where they differ)."""
        if self.seats is not None:
            return self.seats.longest
        return self.layers[layer_idx].length if self.layers else 0

    def remember(self, layer: int, made: tuple[Tensor, Tensor]) -> None:
        """Keep the encoder's keys and values for this layer, [sources, groups, time, head_width]."""
        self.memory[layer] = made

    def remembered(self, layer: int) -> tuple[Tensor, Tensor] | None:
        """The encoder's keys and values for this layer, at least until the next one's are asked for."""
        return self.memory[layer]

    def memory_of(self, layer: int) -> tuple[Tensor, Tensor] | None:
        """The encoder's keys and values for this layer, to stay."""
        return self.memory[layer]

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Row i continues what row beam_idx[i] was; the encoder's side stays, since beams stay with their source."""
        if self.seats is not None:
            self.seats.reorder(beam_idx)
            self.tidy()
            return
        for layer in self.layers:
            layer.select(beam_idx)
        if self.mask is not None:
            self.mask = self.mask[beam_idx]

    def tidy(self, *, now: bool = False) -> None:
        """Give back the slots that no row sees any more, when they are many; `now`: however long ago that was done."""
        slots = self.seats.live(now=now) if self.seats is not None else None
        if slots is not None:
            for layer in self.layers:
                layer.keep_slots(slots)

    def keep(self, sources: Tensor, rows: Tensor) -> None:
        """Only these sources [left] remain, with these rows [left * each] of theirs."""
        for layer in self.layers:
            layer.select(sources if self.seats is not None else rows)
        self.memory = [None if kept is None else (kept[0][sources], kept[1][sources]) for kept in self.memory]
        if self.mask is not None:
            self.mask = self.mask[rows]
        if self.seats is not None:
            self.seats.keep(sources)

    @property
    def self_attention_cache(self) -> list[LayerCache]:
        """The decoder's own keys and values, a layer each."""
        return self.layers

    @property
    def cross_attention_cache(self) -> list[tuple[Tensor, Tensor] | None]:
        """The encoder's keys and values, a layer each; None where the layer has no cross-attention."""
        return [self.memory_of(layer) for layer in range(len(self))]

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, layer: int) -> tuple[Tensor | None, ...]:
        own, memory = self.layers[layer], self.memory_of(layer)
        return (own.key, own.value, *(memory or (None, None)))

    def __iter__(self) -> Iterator[tuple[Tensor | None, ...]]:
        return (self[i] for i in range(len(self)))
