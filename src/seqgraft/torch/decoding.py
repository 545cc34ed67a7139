"""A causal stack as search sees it: a step and a state."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqgraft.torch.cache import EncoderDecoderCache
from seqgraft.torch.prepare import Prepared, applied, prepare
from seqgraft.torch.search import Step
from seqgraft.torch.stack import Memory, Record, Stack


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


class CausalDecoding(Stack):
    """The two functions that a search calls."""

    def start(
        self,
        memory: Memory,
        mask: Tensor | None = None,
        *,
        states_asked: bool = False,
        attentions_asked: bool = False,
    ) -> DecodingState:
        """A state that has seen nothing. mask [rows, prompt] hides padding of the prompt."""
        if mask is not None and bool((mask != 0).all()):
            mask = None
        cache = EncoderDecoderCache(len(self.layers))
        ready = None if self.training or torch.is_grad_enabled() else prepare(self)
        return DecodingState(cache, memory, mask, states_asked, attentions_asked, ready)

    def step(self, ids: Tensor, state: DecodingState) -> tuple[Step, DecodingState]:
        """Append ids [rows, new]; logits [rows, vocabulary] of the last of them."""
        record = Record.asked(state.states_asked, state.attentions_asked)
        past = state.cache.get_seq_length()
        if state.mask is not None and state.mask.shape[1] < past + ids.shape[1]:
            state.mask = torch.nn.functional.pad(state.mask, (0, past + ids.shape[1] - state.mask.shape[1]), value=1)
        with applied(state.prepared):
            states = self.states(ids, mask=state.mask, memory=state.memory, cache=state.cache, record=record)
            logits = self.logits(states[:, -1])
        step = Step(logits, _kept(record.states), _kept(record.attentions), _kept(record.cross_attentions))
        return step, state

    def reorder(self, state: DecodingState, rows: Tensor) -> DecodingState:
        """Row i continues what row rows[i] was."""
        state.cache.reorder_cache(rows)
        if state.mask is not None:
            state.mask = state.mask[rows]
        return state


def _kept(values: list[Tensor] | None) -> tuple[Any, ...] | None:
    return tuple(values) if values else None
