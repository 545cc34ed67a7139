"""Keys and values of the past as whole numbers, with a scale and a zero for each token of a head.

Numbers are rounded as in KIVI (Liu et al. 2024, https://arxiv.org/abs/2402.02750): of a group x of 2 ** bits levels,
zero = min x, scale = (max x - min x) / (2 ** bits - 1), code = round((x - zero) / scale), so that what is read again is
at most half a scale away. Unlike there, keys too have their groups in a token and not over tokens: tokens then come,
go and change places without being rounded anew, and 8 bits do not need it.

A layer that reads gets its keys and values in a buffer that all layers share: what is saved is the memory of all
layers but one.
"""

import torch
from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.generation.caching import QuantizedCacheConfig
from seqgraft.torch.cache import EncoderDecoderCache, LayerCache

Kept = tuple[Tensor, Tensor]


class Buffer:
    """Room that is used again and again; what was taken before is then no more."""

    __slots__ = ("_room",)

    def __init__(self) -> None:
        self._room: Tensor | None = None

    def take(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Room of this shape, with dtype and device of `like`; grown by a quarter, to be grown seldom."""
        count = 1
        for size in shape:
            count *= size
        room = self._room
        if room is None or room.dtype != like.dtype or room.device != like.device or room.numel() < count:
            self._room = room = like.new_empty(count if room is None else count + count // 4)
        return room[:count].view(shape)


class Codes:
    """Keys and values [2, sources, groups, slots, width] in whole numbers, slot after slot."""

    __slots__ = ("_bits", "_like", "_store", "_together", "length")

    def __init__(self, bits: int, together: int) -> None:
        """`together` channels at most share a scale; 4 bits stand two in a byte."""
        self.length = 0
        """Slots in use."""
        self._bits, self._together = bits, together
        self._like: Tensor | None = None
        """Nothing [0, width], of the numbers' own dtype."""
        self._store: tuple[Tensor, Tensor, Tensor] | None = None
        """Codes, scales, zeros, each [2, sources, groups, capacity, any]."""

    def add(self, x: Tensor) -> None:
        """Slots x [2, sources, groups, new, width] after those that are there."""
        self.check(x.shape[4])
        new = self._coded(x)
        end = self.length + x.shape[3]
        if self._store is None or end > self._store[0].shape[3]:
            size = max(end, self.length + self.length // 4)
            room = tuple(one.new_empty((*one.shape[:3], size, one.shape[4])) for one in new)
            for one, old in zip(room, self._live(), strict=False):
                one[:, :, :, : self.length] = old
            self._store, self._like = (room[0], room[1], room[2]), x.new_empty(0, x.shape[4])
        for one, more in zip(self._store, new, strict=True):
            one[:, :, :, self.length : end] = more
        self.length = end

    def check(self, width: int) -> None:
        """Raise GenerationError for a width of heads that the groups or the bytes do not divide."""
        together = min(self._together, width)
        if width % together:
            raise GenerationError(
                f"`q_group_size` of `cache_config` must divide the width of the heads ({width}), but is {together}."
            )
        if self._bits == 4 and width % 2:
            raise GenerationError(f"`nbits` of `cache_config` must be 8 for heads of an odd width ({width}), but is 4.")

    def _coded(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        levels = 2**self._bits - 1
        together = min(self._together, x.shape[-1])
        parts = x.float().reshape(*x.shape[:-1], x.shape[-1] // together, together)
        zero, most = parts.amin(-1), parts.amax(-1)
        scale = (most - zero) / levels
        scale = torch.where(scale == 0, 1.0, scale)  # all numbers alike are their own zero
        codes = ((parts - zero[..., None]) / scale[..., None]).round_().clamp_(0, levels).to(torch.uint8).flatten(-2)
        if self._bits == 4:
            low, high = codes.chunk(2, -1)
            codes = low | high << 4
        return codes, scale, zero

    def read(self, out: Tensor) -> None:
        """Into out [2, sources, groups, length, width]."""
        _decode(self._live(), out, self._bits)

    def read_into(self, buffer: Buffer) -> Kept | None:
        """Keys and values [sources, groups, length, width] in a buffer; None where there are none."""
        if self._store is None or self._like is None:
            return None
        out = buffer.take((*self._store[0].shape[:3], self.length, self._like.shape[1]), self._like)
        self.read(out)
        return out[0], out[1]

    def pick(self, slots: Tensor, like: Tensor) -> Tensor:
        """The numbers in slots [sources, count], with width and dtype of `like`: [2, sources, groups, count, width]."""
        index = slots[None, :, None, :, None]
        found = tuple(one.take_along_dim(index, 3) for one in self._live())
        out = like.new_empty((*found[0].shape[:4], like.shape[-1]))
        _decode(found, out, self._bits)
        return out

    def _live(self) -> tuple[Tensor, ...]:
        return () if self._store is None else tuple(one[:, :, :, : self.length] for one in self._store)

    def select(self, rows: Tensor) -> None:
        """Source i continues what source rows[i] was."""
        self._replace(tuple(one.index_select(1, rows) for one in self._live()))

    def keep_slots(self, slots: Tensor) -> None:
        """Only these slots [sources, count] of each source remain, in this order."""
        index = slots[None, :, None, :, None]
        self._replace(tuple(one.take_along_dim(index, 3) for one in self._live()))

    def _replace(self, store: tuple[Tensor, ...]) -> None:
        if store:
            self._store, self.length = (store[0], store[1], store[2]), store[0].shape[3]


def _decode(store: tuple[Tensor, ...], out: Tensor, bits: int) -> None:
    """Codes [..., bytes], scales and zeros [..., parts] -> out [..., width]"""
    codes, scale, zero = store
    if bits == 4:
        half = codes.shape[-1]
        out[..., :half].copy_(codes & 15)
        out[..., half:].copy_(codes >> 4)
    else:
        out.copy_(codes)  # exact in every dtype: 8 bits of significand suffice
    parts = out.view(*scale.shape, out.shape[-1] // scale.shape[-1])
    torch.addcmul(zero[..., None], parts, scale[..., None], out=parts)


class QuantizedLayerCache(LayerCache):
    """One layer's keys and values: the older slots in whole numbers, the newest as they are.

    What `append` and `put` return may stand in the shared buffer, and holds until another layer reads.
    """

    __slots__ = ("_buffer", "_config", "_each", "_low", "_new")

    def __init__(self, config: QuantizedCacheConfig, buffer: Buffer) -> None:
        super().__init__()
        self._config, self._buffer = config, buffer
        self._each = 1
        self._low, self._new = Codes(config.nbits, config.q_group_size), LayerCache(first=1)

    @property
    def key(self) -> Tensor | None:
        """The keys [sources, groups, length, head_width], in room of their own."""
        return self._own(0)

    @property
    def value(self) -> Tensor | None:
        """The values, in room of their own."""
        return self._own(1)

    def _own(self, which: int) -> Tensor | None:
        newest = self._new.key
        return None if newest is None else self._all(newest.new_empty(self._shape(newest)))[which].clone()

    def _shape(self, newest: Tensor) -> tuple[int, ...]:
        sources, groups, _, width = newest.shape
        return 2, sources, groups, self.length, width

    def _all(self, out: Tensor) -> Tensor:
        old = self._low.length
        if old:
            self._low.read(out[:, :, :, :old])
        if self._new.length:
            key, value = self._new._live()
            out[0, :, :, old:], out[1, :, :, old:] = key, value
        return out

    def append(self, key: Tensor, value: Tensor) -> Kept:
        """Add [rows, groups, new, head_width]; returns all keys and values so far, [sources, groups, slots, ...].

        Raises ValueError where gradients are wanted, which do not go through whole numbers.
        """
        if torch.is_grad_enabled() and (key.requires_grad or value.requires_grad):
            raise ValueError("A quantized cache must be used under torch.no_grad(), but gradients are wanted.")
        return self._added(self._new.append(key, value), key.shape[0], key.shape[2])

    def put(self, both: Tensor) -> Kept:
        """Add one token a row, its key and its value [rows, 2, groups, head_width]; returns what `append` does."""
        return self._added(self._new.put(both), both.shape[0], 1)

    def _added(self, newest: Kept, rows: int, tokens: int) -> Kept:
        if not self.length:
            self._low.check(newest[0].shape[3])
        sources = newest[0].shape[0]
        self._each = rows // sources
        self.length += self._each * tokens
        if self._low.length:
            found = self._all(self._buffer.take(self._shape(newest[0]), newest[0]))
            newest = found[0], found[1]
        self._settle()
        return newest

    def _settle(self) -> None:
        """Round the oldest of the newest, once they are a quarter too many.

        The rest moves to new room: what was returned of the old stays as it is.
        """
        tokens = self._config.residual_length
        over = self._new.length - tokens * self._each
        if over < max(tokens // 4, 1) * self._each:
            return
        key, value = self._new._live()
        self._low.add(torch.stack((key[:, :, :over], value[:, :, :over])))
        self._rest(key[:, :, over:], value[:, :, over:])

    def _rest(self, key: Tensor, value: Tensor) -> None:
        """These are the newest, in room for as many as there will be."""
        tokens = self._config.residual_length
        self._new = LayerCache(first=1)
        self._new.room(key, max(key.shape[2], (tokens + max(tokens // 4, 1)) * self._each))
        self._new.append(key, value)

    def select(self, rows: Tensor) -> None:
        """Row i continues what row rows[i] was."""
        self._low.select(rows)
        self._new.select(rows)

    def keep_slots(self, slots: Tensor) -> None:
        """Only these slots [sources, count] of each source remain, in this order.

        Those that come to stand among the newest are read for it; rounding them again gives the same codes.
        """
        newest, old = self._new.key, self._low.length
        if newest is None:
            return
        both, self.length = torch.stack(self._new._live()), slots.shape[1]
        # Up to where some source has one of the newest, codes move as they are.
        still = int((slots < old).all(0).cumprod(0).sum())
        rest = slots[:, still:]
        if self._new.length:
            found = both.take_along_dim((rest - old).clamp(min=0)[None, :, None, :, None], 3)
        else:
            found = both.new_empty((*both.shape[:3], rest.shape[1], both.shape[4]))
        if old:
            rounded = self._low.pick(rest.clamp(max=old - 1), newest)
            found = torch.where((rest < old)[None, :, None, :, None], rounded, found)
            self._low.keep_slots(slots[:, :still])
        self._rest(found[0], found[1])
        self._settle()

    def cut(self, length: int) -> None:
        """Only the first `length` slots remain."""
        self._low.length = min(self._low.length, length)
        self._new.cut(length - self._low.length)
        self.length = length


class QuantizedCache(EncoderDecoderCache):
    """The past of a decoder in whole numbers, and with `cross_attention` the encoder's keys and values too."""

    def __init__(self, layers: int, config: QuantizedCacheConfig | None = None) -> None:
        super().__init__(layers)
        self.config = config or QuantizedCacheConfig()
        own = Buffer()
        self.layers = [QuantizedLayerCache(self.config, own) for _ in range(layers)]
        self._rounded: list[Codes | None] = [None] * layers
        self._buffer = Buffer()

    def remember(self, layer: int, made: Kept) -> None:
        """Keep the encoder's keys and values for this layer, [sources, groups, time, head_width]."""
        if not self.config.cross_attention:
            return super().remember(layer, made)
        codes = Codes(self.config.nbits, self.config.q_group_size)
        codes.add(torch.stack(made))
        self._rounded[layer] = codes
        return None

    def remembered(self, layer: int) -> Kept | None:
        """The encoder's keys and values for this layer, until the next one's are asked for."""
        return self._recalled(layer, self._buffer)

    def memory_of(self, layer: int) -> Kept | None:
        """The encoder's keys and values for this layer, in room of their own."""
        return self._recalled(layer, Buffer())

    def _recalled(self, layer: int, buffer: Buffer) -> Kept | None:
        codes = self._rounded[layer]
        return super().remembered(layer) if codes is None else codes.read_into(buffer)

    def keep(self, sources: Tensor, rows: Tensor) -> None:
        """Only these sources [left] remain, with these rows [left * each] of theirs."""
        super().keep(sources, rows)
        for codes in self._rounded:
            if codes is not None:
                codes.select(sources)
