"""A decoding step of fixed shapes at fixed addresses: what a CUDA graph replays and `torch.compile` compiles.

The ordinary step grows what it reads by one token. Here the slots of the cache are a bucket that is allocated whole;
which of them are in use, whose past each is and where the new token goes stand in tensors that the step itself moves
on, and attention goes over the whole bucket with a bias that hides the rest. So every step launches the same work on
the same memory. Numbers that are hidden are finite, and weigh exactly nothing.
"""

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from seqgraft.spec import Experts, Stack
from seqgraft.torch.attention import View
from seqgraft.torch.cache import EncoderDecoderCache, LayerCache
from seqgraft.torch.graphs import Plan, Replay
from seqgraft.torch.lean import Step
from seqgraft.torch.prepare import Prepared, applied
from seqgraft.torch.seats import Look, Seats

if TYPE_CHECKING:
    from seqgraft.torch.decoding import CausalDecoding, DecodingState

_LEAST_SLOTS = 64
_MEMORY_STEP = 64
"""Encoder states are padded to a multiple of this many."""
_lock = threading.Lock()
_HELD = 8
"""Sets of buffers that a stack keeps for the next generation."""


def refusal(spec: Stack) -> str | None:
    """Why a stack has no step of fixed shapes; None where it has one."""
    reasons = {
        "its streams look ahead": spec.streams is not None,
        "its scores depend on distances and contents together": spec.distances is not None,
        "learned keys stand before its own": spec.prefix is not None,
        "a convolution reads its neighbours": spec.convolution is not None,
        "its embeddings depend on how many tokens are hidden": spec.token_dropout is not None,
        "its experts are chosen token by token": any(isinstance(x.feed_forward, Experts) for x in spec.layers),
        "its rotation depends on the length of the text": any(
            x.self_attention.rotary is not None
            and x.self_attention.rotary.scaling is not None
            and x.self_attention.rotary.scaling.kind in ("dynamic", "longrope")
            for x in spec.layers
        ),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


@dataclass(frozen=True)
class Shape:
    """What the buffers are made for: `each` rows of every source, and `slots` of its cache."""

    sources: int
    each: int
    slots: int
    memory: tuple[int, int]
    """Sources of the encoder's keys and values, and their length; zeros without."""
    dtype: torch.dtype
    compiled: str = ""


def bucket(count: int, least: int = _LEAST_SLOTS) -> int:
    """The smallest bucket that holds so many slots: a power of two, or one and a half times one."""
    size = least
    while size < count:
        size = size * 3 // 2 if size & (size - 1) == 0 and size * 3 // 2 >= count else 1 << size.bit_length()
    return size


class FixedLayer(LayerCache):
    """A layer's cache of a fixed capacity, whose new tokens go to the slots [each] that a tensor names."""

    __slots__ = ("slots", "store")

    def __init__(self, store: Tensor, slots: Tensor) -> None:
        super().__init__()
        self.store, self.slots = store, slots

    def put(self, both: Tensor) -> tuple[Tensor, Tensor]:
        """One token a row, key and value [rows, 2, groups, head_width]; returns the whole store's, [sources, ...]."""
        groups, width = both.shape[2:]
        new = both.view(self.store.shape[1], len(self.slots), 2, groups, width).permute(2, 0, 3, 1, 4)
        self.store.index_copy_(3, self.slots, new)
        return self.store[0], self.store[1]

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The same of [rows, groups, 1, head_width]."""
        return self.put(torch.stack((key[:, :, 0], value[:, :, 0]), 1))


class Fixed:
    """The buffers of a step of one shape, and the step."""

    def __init__(self, shape: Shape, cache: EncoderDecoderCache) -> None:
        """Buffers for a cache like `cache`."""
        like = cast("Tensor", cache.layers[0].key)
        sources, each, slots, device = shape.sources, shape.each, shape.slots, like.device
        self.shape = shape
        self.hidden = torch.finfo(like.dtype).min / 2
        self.ids = torch.zeros(sources * each, 1, dtype=torch.int64, device=device)
        self.slots = torch.arange(each, device=device)
        self.keys = torch.zeros(sources, slots, dtype=torch.int64, device=device)
        self.shade = like.new_full((sources, each, slots), self.hidden)
        self.next = torch.zeros(sources, each, dtype=torch.int64, device=device)
        self.pads = torch.zeros(sources, each, dtype=torch.int64, device=device)
        self.alone = like.new_full((sources, each, each), self.hidden)
        self.alone.diagonal(dim1=1, dim2=2).fill_(0.0)
        self.layers = [self._layer(layer, like) for layer in cache.layers]
        self.memory = [None if kept is None else self._memory(kept) for kept in cache.memory]
        self.memory_view = View(like.new_zeros(shape.memory[0], 1, 1, shape.memory[1])) if shape.memory[0] else View()
        self.owner: Callable[[], EncoderDecoderCache | None] = lambda: None
        self.used = 0
        self.body: Callable[[CausalDecoding, Sequence[Step]], Tensor] = self._body
        self.is_compiled = False
        self.warmed = False
        self.replay: Replay | None = None

    def _layer(self, layer: LayerCache, like: Tensor) -> FixedLayer:
        _, groups, _, width = cast("Tensor", layer.key).shape
        return FixedLayer(like.new_zeros(2, self.shape.sources, groups, self.shape.slots, width), self.slots)

    def _memory(self, kept: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        key, value = (t.new_zeros(*t.shape[:2], self.shape.memory[1], t.shape[3]) for t in kept)
        return key, value

    def _body(self, decoder: "CausalDecoding", steps: Sequence[Step]) -> Tensor:
        """What every step runs: the table, the layers and the head of the tokens in `ids`; logits [rows, vocabulary].

        Nothing in it may depend on a number that only the host knows and that changes between steps.
        """
        places = self.next.clone()
        self.keys.index_copy_(1, self.slots, places)
        self.shade.index_copy_(2, self.slots, self.alone)
        self.next.add_(1)
        look = Look(places.view(-1, 1), self.shade, self.keys, self.pads.view(-1, 1))
        logits = decoder.one_step(self.ids, look, steps, self.layers, self.memory.__getitem__, self.memory_view)
        self.slots.add_(self.shape.each)
        return logits

    def step(self, decoder: "CausalDecoding", prepared: Prepared, ids: Tensor, plan: Plan) -> Tensor:
        """ids [rows, 1] -> logits [rows, vocabulary], the caller's own."""
        self.ids.copy_(ids)
        if plan.compiled is not None and not self.is_compiled:
            self.body, self.is_compiled = torch.compile(self._body, **plan.compiled), True

        def run() -> Tensor:
            with applied(prepared):
                return self.body(decoder, prepared.steps)

        if plan.recorder is None:
            return run()
        if self.replay is None and not self.warmed:  # a real step: libraries settle what they need on the way
            self.warmed = True
            return plan.recorder.warm(run)
        if self.replay is None:
            self.replay = plan.recorder.capture(run)
        return self.replay().clone()

    def load(self, state: "DecodingState") -> None:
        """Take over what a generation has so far: its cache's stores are then these."""
        cache = state.cache
        used = cache.layers[0].length
        for own, layer in zip(self.layers, cache.layers, strict=True):
            own.store[:, :, :, used:] = 0.0  # nothing that is no number stays from another generation
            layer.move(own.store)
        actual = 0
        for place, (own_memory, kept) in enumerate(zip(self.memory, cache.memory, strict=True)):
            if own_memory is None or kept is None:
                continue
            actual = kept[0].shape[2]
            for buffer, of_state in zip(own_memory, kept, strict=True):
                buffer[:, :, :actual] = of_state
                buffer[:, :, actual:] = 0.0
            cache.memory[place] = (own_memory[0][:, :, :actual], own_memory[1][:, :, :actual])
        bias = self.memory_view.bias
        if bias is not None:
            seen = state.memory_view.bias
            bias[..., :actual] = 0.0 if seen is None else seen
            bias[..., actual:] = -torch.inf  # which is no average of what is hidden either
        mask = state.mask
        if mask is not None and mask.shape[1] < used:
            mask = torch.nn.functional.pad(mask, (0, used - mask.shape[1]), value=1)
        self.lay(cache.seats or Seats(self.shape.sources, 1, used, mask, self.shade))

    def lay(self, seats: Seats) -> None:
        """Copy a table of seats into the buffers."""
        keys, shade, following, pads = seats.table()
        self.used = seats.used
        self.keys[:, : self.used] = keys
        self.shade[:, :, : self.used] = shade
        self.shade[:, :, self.used :] = self.hidden
        self.next.copy_(following)
        self.pads.copy_(pads) if pads is not None else self.pads.zero_()
        torch.arange(self.used, self.used + self.shape.each, out=self.slots)

    def reorder(self, cache: EncoderDecoderCache, rows: Tensor) -> None:
        """Row i continues what row rows[i] was, of the same source."""
        if cache.seats is not None:
            parents = rows.view(self.shape.sources, self.shape.each) % self.shape.each
            self.shade.copy_(self.shade.gather(1, parents[..., None].expand_as(self.shade)))
            self.next.copy_(self.next.gather(1, parents))
            return
        for layer in self.layers:
            layer.store.copy_(layer.store.index_select(1, rows))
        for table in (self.keys, self.shade, self.next, self.pads):
            table.copy_(table.index_select(0, rows))

    def settle(self, cache: EncoderDecoderCache) -> None:
        """Bring the table of the cache up to what the steps made of these buffers."""
        if cache.seats is not None:
            cache.seats.take_over(self.keys[:, : self.used], self.shade[:, :, : self.used], self.next)


def advance(state: "DecodingState", fixed: Fixed) -> None:
    """Count on the host what a step added."""
    fixed.used += fixed.shape.each
    for layer in state.cache.layers:
        layer.length = fixed.used
    if state.cache.seats is not None:
        state.cache.seats.used = fixed.used
        state.cache.seats.longest += 1


def seated(state: "DecodingState", plan: Plan, prepared: Prepared) -> Fixed:
    """The buffers that a generation runs on, with room for one more step."""
    cache, fixed = state.cache, state.fixed
    each = cache.seats.each if cache.seats is not None else 1
    used = cache.layers[0].length
    if fixed is not None and used + each <= fixed.shape.slots:
        return fixed
    if fixed is not None:
        fixed.settle(cache)
        if cache.seats is not None:
            cache.tidy(now=True)
            used = cache.seats.used
            if used + 16 * each <= fixed.shape.slots:
                fixed.lay(cache.seats)
                return fixed
    sources = cast("Tensor", cache.layers[0].key).shape[0]
    ahead = plan.longest - cache.get_seq_length()
    slots = bucket(max(used + each * min(max(ahead, 1), 256), 3 * used // 2 if fixed is not None else 0))
    kept = next((one for one in cache.memory if one is not None), None)
    memory = (0, 0) if kept is None else (len(kept[0]), -(-kept[0].shape[2] // _MEMORY_STEP) * _MEMORY_STEP)
    dtype = cast("Tensor", cache.layers[0].key).dtype
    shape = Shape(sources, each, slots, memory, dtype, repr(sorted((plan.compiled or {}).items())))
    found = _free(prepared.fixed, shape, cache)
    found.load(state)
    if fixed is not None:
        fixed.owner = lambda: None
    state.fixed = found
    return found


def _free(held: list[Fixed], shape: Shape, cache: EncoderDecoderCache) -> Fixed:
    """Buffers of this shape that no generation uses, of no thread, and from now on this one; used last, at the end."""
    with _lock:
        found = next((one for one in held if one.shape == shape and one.owner() is None), None)
        if found is None:
            with torch.inference_mode(False):  # the next generation may not be in that mode
                found = Fixed(shape, cache)
            idle = [one for one in held if one.owner() is None]
            for one in idle[: max(0, len(held) + 1 - _HELD)]:
                held.remove(one)
        else:
            held.remove(found)
        found.owner = weakref.ref(cache)
        held.append(found)
        return found


def release(state: "DecodingState") -> None:
    """The generation goes on in a cache of its own, of any shape."""
    fixed, cache = state.fixed, state.cache
    if fixed is None:
        return
    fixed.settle(cache)
    for layer in cache.layers:
        layer.own()
    cache.memory = [None if kept is None else (kept[0].clone(), kept[1].clone()) for kept in cache.memory]
    fixed.owner = lambda: None
    state.fixed = None
