"""A causal stack as search sees it: a step and a state."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from seqgraft.generation.caching import QuantizedCacheConfig
from seqgraft.spec import Rotary
from seqgraft.torch.attention import View
from seqgraft.torch.cache import EncoderDecoderCache, LayerCache
from seqgraft.torch.cache_quantized import QuantizedCache
from seqgraft.torch.graphs import Plan
from seqgraft.torch.lean import Kept
from seqgraft.torch.lean import Step as LayerStep
from seqgraft.torch.masks import any_hidden, see_all
from seqgraft.torch.prepare import Prepared, applied, prepare
from seqgraft.torch.record import Memory, Record
from seqgraft.torch.rotary import Rotation
from seqgraft.torch.search import Step
from seqgraft.torch.seats import Look, Seats, Window
from seqgraft.torch.stack import Stack
from seqgraft.torch.static_step import Fixed, advance, refusal, release, seated


@dataclass
class DecodingState:
    """What one generation has so far; rows are source-major."""

    cache: EncoderDecoderCache
    memory: Memory
    mask: Tensor | None
    """[rows, seen so far], or None when every token may be seen."""
    states_asked: bool = False
    attentions_asked: bool = False
    prepared: Prepared | None = None
    rows: int = 0
    """Rows of the last step."""
    each: int = 1
    """Rows of a source."""
    memory_view: View = field(default_factory=View)
    plan: Plan | None = None
    """How steps of fixed shapes run, where they do (`static_step.py`)."""
    fixed: Fixed | None = None
    """Their buffers, which then hold the cache."""


class CausalDecoding(Stack):
    """The functions that a search calls."""

    def start(
        self,
        memory: Memory,
        mask: Tensor | None = None,
        *,
        states_asked: bool = False,
        attentions_asked: bool = False,
        quantized: QuantizedCacheConfig | None = None,
    ) -> DecodingState:
        """A state that has seen nothing. mask [rows, prompt] hides padding of the prompt; `quantized`: its cache is."""
        if mask is not None and bool((mask != 0).all()):
            mask = None
        depth = len(self.layers)
        cache = EncoderDecoderCache(depth) if quantized is None else QuantizedCache(depth, quantized)
        ready = None if self.training or torch.is_grad_enabled() else prepare(self)
        view = see_all(any_hidden(memory.mask), memory.states.dtype) if memory.states is not None else View()
        return DecodingState(cache, memory, mask, states_asked, attentions_asked, ready, memory_view=view)

    @property
    def static_step_refusal(self) -> str | None:
        """Why this decoder's steps have no fixed shapes, and so no CUDA graph; None where they have."""
        return refusal(self.spec)

    def planned(self, state: DecodingState, plan: Plan | None) -> DecodingState:
        """A state whose steps of one token have fixed shapes, as `plan` says, if this decoder has such steps."""
        ready, asked = state.prepared, state.states_asked or state.attentions_asked
        exact = type(state.cache) is EncoderDecoderCache
        if ready is not None and exact and not (asked or ready.watched or self.static_step_refusal):
            state.plan = plan
        return state

    def step(self, ids: Tensor, state: DecodingState) -> tuple[Step, DecodingState]:
        """Append ids [rows, new]; logits [rows, vocabulary] of the last of them."""
        if state.plan is not None and (logits := self._static(ids, state, state.plan)) is not None:
            return Step(logits), state
        if ids.shape[1] == 1 and self._straight(state):
            return Step(self._next(ids, state)), state
        with applied(state.prepared):
            record = Record.asked(state.states_asked, state.attentions_asked)
            states = self._through(ids, state, record)
            logits = self.logits(states[:, -1])
        return Step(logits, _kept(record.states), _kept(record.attentions), _kept(record.cross_attentions)), state

    def best(self, ids: Tensor, state: DecodingState) -> tuple[Tensor, DecodingState]:
        """Append ids [rows, 1]; the ids [rows] of the highest logits after them, of which not all need be made."""
        if state.plan is None and ids.shape[1] == 1 and self._straight(state):
            return self._next(ids, state, best=True), state
        step, state = self.step(ids, state)
        return step.logits.float().argmax(-1), state

    def score(self, ids: Tensor, state: DecodingState) -> tuple[Tensor, DecodingState]:
        """Append ids [rows, new]; logits [rows, new, vocabulary] of every one of them."""
        release(state)
        with applied(state.prepared):
            logits = self.logits(self._through(ids, state, Record()))
        return logits, state

    def _through(self, ids: Tensor, state: DecodingState, record: Record) -> Tensor:
        """ids [rows, new] -> states [rows, new, width]"""
        state.rows = len(ids)
        self._lengthen(state, ids.shape[1])
        return self.states(ids, mask=state.mask, memory=state.memory, cache=state.cache, record=record)

    @staticmethod
    def _lengthen(state: DecodingState, new: int) -> None:
        if state.mask is not None:
            missing = state.cache.get_seq_length() + new - state.mask.shape[1]
            if missing > 0:
                state.mask = torch.nn.functional.pad(state.mask, (0, missing), value=1)

    def _straight(self, state: DecodingState) -> bool:
        """Whether a step of one token may take the short way through the layers."""
        first = state.cache.get_seq_length() == 0  # which makes the encoder's keys and values
        asked = state.states_asked or state.attentions_asked
        return not (first or asked or state.prepared is None or self.spec.streams or self.spec.prefix)

    def _next(self, ids: Tensor, state: DecodingState, *, best: bool = False) -> Tensor:
        """ids [rows, 1] -> logits [rows, vocabulary]: what `states` and `logits` compute, without their detours.

        `best`: the ids [rows] of the highest ones instead.
        """
        cache, prepared = state.cache, state.prepared
        state.rows = len(ids)
        self._lengthen(state, 1)
        past = cache.get_seq_length()
        look = cache.seats.advance(1) if cache.seats is not None else None
        if prepared is not None and prepared.straight is not None and self._even(state, past, look):
            view = View() if look is None else View(look.bias(None))
            found = prepared.straight.states(ids, past, view, cache, state.memory_view)
            return prepared.straight.best(found) if best else prepared.straight.logits(found)
        with applied(prepared):
            x = self._embed(ids, None, state.mask, None, None, past, look=look)
            geometry = self._geometry(x, state.mask, None, past, look)
            steps = prepared.steps if prepared else ()
            states = self._each(x, geometry, steps, cache.layers, cache.remembered, state.memory_view)
            logits = self.logits(states)
        return logits.float().argmax(-1) if best else logits

    def _even(self, state: DecodingState, past: int, look: Look | None) -> bool:
        """Whether all rows are at one place, which their table of positions has, and see all that is theirs."""
        spec = self.spec.positions
        if state.mask is not None or (spec is not None and past >= spec.longest):
            return False
        return look is None or (look.place is not None and (look.pads is None or spec is None or spec.counted == "all"))

    def _static(self, ids: Tensor, state: DecodingState, plan: Plan) -> Tensor | None:
        """ids [rows, 1] -> logits [rows, vocabulary] by a step of fixed shapes; None when it is none."""
        past, spec, prepared = state.cache.get_seq_length(), self.spec.positions, state.prepared
        if prepared is None or past == 0 or ids.shape[1] != 1 or (spec is not None and past >= spec.longest):
            release(state)
            return None
        state.rows = len(ids)
        fixed = seated(state, plan, prepared)
        logits = fixed.step(self, prepared, ids, plan)
        advance(state, fixed)
        return logits

    def one_step(
        self,
        ids: Tensor,
        look: Look,
        steps: Sequence[LayerStep],
        layers: Sequence[LayerCache],
        memory: Callable[[int], Kept | None],
        memory_view: View,
    ) -> Tensor:
        """ids [rows, 1] -> logits [rows, vocabulary]; what is said of the past stands in tensors alone."""
        x = self._embed(ids, None, None, None, None, 0, look=look)
        return self.logits(self._each(x, self._geometry(x, None, None, 0, look), steps, layers, memory, memory_view))

    def _each(
        self,
        x: Tensor,
        geometry: tuple[Mapping[Window, View], Mapping[Rotary | None, Rotation], Tensor | None],
        steps: Sequence[LayerStep],
        layers: Sequence[LayerCache],
        memory: Callable[[int], Kept | None],
        memory_view: View,
    ) -> Tensor:
        """Embeddings [rows, 1, width] -> states [rows, width], layer by layer."""
        views, turns, distance = geometry
        x = x[:, 0]
        for index, (layer, step) in enumerate(zip(self._layers(), steps, strict=True)):
            own = layer.spec.self_attention
            view = views[own.window]
            if distance is not None and layer.self_attention.leans:
                view = layer.self_attention.lean(view, distance, self.spec.causal)
            turn = turns.get(own.rotary) if own.rotary is not None else None
            x = step(x, view, turn, layers[index], memory(index), memory_view)
        return self._finished(x[:, None])[:, 0]

    def reorder(self, state: DecodingState, rows: Tensor) -> DecodingState:
        """Row i continues what row rows[i] was, of the same source."""
        if state.fixed is not None:
            state.fixed.reorder(state.cache, rows)
        else:
            state.cache.reorder_cache(rows)
        if state.mask is not None:
            state.mask = state.mask[rows]
        return state

    def spread(self, state: DecodingState, times: int, *, mixing: bool = True) -> DecodingState:
        """Every row becomes `times` rows of its source; `mixing` says that they will be reordered among themselves.

        Rows that mix share their slots in the cache, where the mathematics allows it: then no reordering moves a key.
        """
        if times == 1:
            return state
        release(state)
        spec, cache = self.spec, state.cache
        sources = state.rows or (len(state.mask) if state.mask is not None else 0)
        apart = spec.streams is not None or spec.distances is not None or state.attentions_asked
        own = cache.layers[0].key
        if mixing and not apart and own is not None and not any(layer.self_attention.eager for layer in self._layers()):
            cache.seats = Seats(sources, times, own.shape[2], state.mask, own)
            state.mask = None
        else:
            rows = torch.arange(sources, device=self.embed.weight.device).repeat_interleave(times)
            for layer in cache.layers:
                layer.select(rows)
            state.mask = state.mask[rows] if state.mask is not None else None
        state.rows, state.each = state.rows * times, state.each * times
        return state

    def keep(self, state: DecodingState, rows: Tensor) -> DecodingState:
        """Only these rows [left] int64 remain, in this order; of rows that mix, all of a source or none."""
        each, memory = state.each, state.memory
        release(state)
        sources = rows // each
        whole = each > 1 and len(rows) % each == 0
        if whole and torch.equal(rows, (sources[::each, None] * each + torch.arange(each).to(rows)).flatten()):
            sources = sources[::each]
        elif state.cache.seats is not None and each > 1:
            raise ValueError("Rows that share their slots leave together.")
        else:
            state.each = 1
        state.cache.keep(sources, rows)
        if state.mask is not None:
            state.mask = state.mask[rows]
        if memory.states is not None:
            mask = None if memory.mask is None else memory.mask[sources]
            state.memory = Memory(memory.states[sources], mask)
            state.memory_view = see_all(any_hidden(mask), memory.states.dtype)
        state.rows = len(rows)
        return state

    def forget(self, state: DecodingState, counts: Tensor) -> DecodingState:
        """Row r takes back its last counts[r] tokens, counts [rows] int64; rows may become of different length."""
        release(state)
        cache = state.cache
        most, least = int(counts.max()), int(counts.min())
        if most == 0:
            return state
        if cache.seats is None and most == least:
            length = cache.get_seq_length() - most
            for layer in cache.layers:
                layer.cut(length)
            state.mask = None if state.mask is None else state.mask[:, :length]
            return state
        if cache.seats is None:
            own = cache.layers[0].key
            if own is None or self.spec.streams is not None or self.spec.distances is not None:
                raise ValueError("Rows of this decoder cannot become of different length.")
            cache.seats = Seats(len(counts), 1, own.shape[2], state.mask, own)
            state.mask = None
        cache.seats.forget(counts)
        cache.tidy()
        return state


def _kept(values: list[Tensor] | None) -> tuple[Any, ...] | None:
    return tuple(values) if values else None
