"""Keys and values of the past, handed in and handed back."""

from collections.abc import Iterator

import torch
from torch import Tensor


class LayerCache:
    """One layer's keys and values [rows, groups, capacity, head_width]; room is doubled when it runs out."""

    __slots__ = ("_key", "_spare", "_value", "length")

    def __init__(self) -> None:
        self.length = 0
        self._key: Tensor | None = None
        self._value: Tensor | None = None
        self._spare: tuple[Tensor, Tensor] | None = None

    @property
    def key(self) -> Tensor | None:
        """The live keys [rows, groups, length, head_width], a view."""
        return None if self._key is None else self._key[:, :, : self.length]

    @property
    def value(self) -> Tensor | None:
        """The live values, a view."""
        return None if self._value is None else self._value[:, :, : self.length]

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add [rows, groups, new, head_width]; returns all keys and values so far."""
        if torch.is_grad_enabled() and (key.requires_grad or value.requires_grad):
            return self._append_with_gradient(key, value)
        end = self.length + key.shape[2]
        old_key, old_value = self._room(key, value, end)
        old_key[:, :, self.length : end] = key
        old_value[:, :, self.length : end] = value
        self.length = end
        return old_key[:, :, :end], old_value[:, :, :end]

    def _append_with_gradient(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Writing in place would break the graph, so a training pass that caches pays for a new tensor."""
        if self.key is not None and self.value is not None:
            key, value = torch.cat((self.key, key), 2), torch.cat((self.value, value), 2)
        self._key, self._value, self.length = key, value, key.shape[2]
        return key, value

    def _room(self, key: Tensor, value: Tensor, least: int) -> tuple[Tensor, Tensor]:
        """Buffers with room for `least` tokens, holding the past."""
        if self._key is not None and self._value is not None and least <= self._key.shape[2]:
            return self._key, self._value
        room = max(least, 2 * self.length, 16)
        old_key, old_value = self.key, self.value
        self._key = new_key = key.new_empty((*key.shape[:2], room, key.shape[3]))
        self._value = new_value = value.new_empty((*value.shape[:2], room, value.shape[3]))
        self._spare = None
        if old_key is not None and old_value is not None:
            new_key[:, :, : self.length] = old_key
            new_value[:, :, : self.length] = old_value
        return new_key, new_value

    def select(self, rows: Tensor) -> None:
        """Row i continues what row rows[i] was. Only the live part moves, into a second buffer that is kept."""
        key, value, old_key, old_value = self.key, self.value, self._key, self._value
        if key is None or value is None or old_key is None or old_value is None:
            return
        shape = (rows.shape[0], *old_key.shape[1:])
        if self._spare is None or self._spare[0].shape != shape:
            self._spare = (key.new_empty(shape), value.new_empty((rows.shape[0], *old_value.shape[1:])))
        new_key, new_value = self._spare
        new_key[:, :, : self.length] = key[rows]
        new_value[:, :, : self.length] = value[rows]
        self._spare, self._key, self._value = (old_key, old_value), new_key, new_value


class EncoderDecoderCache:
    """The past of a decoder: its own keys and values, and the encoder's, computed once.

    `mask` [rows, length] marks the past tokens that may be seen; None means all of them. The keys and values of the
    encoder have one row a source, however many rows continue it.
    """

    def __init__(self, layers: int = 0) -> None:
        self.layers = [LayerCache() for _ in range(layers)]
        self.memory: list[tuple[Tensor, Tensor] | None] = [None] * layers
        self.mask: Tensor | None = None

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """How many tokens the decoder has seen."""
        return self.layers[layer_idx].length if self.layers else 0

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Row i continues what row beam_idx[i] was; the encoder's side stays, since beams stay with their source."""
        for layer in self.layers:
            layer.select(beam_idx)
        if self.mask is not None:
            self.mask = self.mask[beam_idx]

    @property
    def self_attention_cache(self) -> list[LayerCache]:
        """The decoder's own keys and values, a layer each."""
        return self.layers

    @property
    def cross_attention_cache(self) -> list[tuple[Tensor, Tensor] | None]:
        """The encoder's keys and values, a layer each; None where the layer has no cross-attention."""
        return self.memory

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, layer: int) -> tuple[Tensor | None, ...]:
        own, memory = self.layers[layer], self.memory[layer]
        return (own.key, own.value, *(memory or (None, None)))

    def __iter__(self) -> Iterator[tuple[Tensor | None, ...]]:
        return (self[i] for i in range(len(self)))
