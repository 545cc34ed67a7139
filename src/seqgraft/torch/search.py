"""What a search needs of a model, and what it leaves behind.

A search sees a step function and a state: it hands the state back to the decoder that made it and never looks inside.
Rows are source-major: row = source * rows_per_source + k.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from seqgraft.torch.waiting import looking_is_free

State = Any


@dataclass(frozen=True)
class Step:
    """One step's result: `logits [rows, vocab]` of the last position, and per layer what was asked for."""

    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None


class Decoder(Protocol):
    """A model that continues rows of ids."""

    def step(self, ids: Tensor, state: State) -> tuple[Step, State]:
        """Append ids [rows, new] int64 to what `state` holds; the first call gets the whole prompt."""
        ...

    def reorder(self, state: State, rows: Tensor) -> State:
        """Row i continues what row rows[i] was; rows [rows] int64, and only rows of one source are mixed."""
        ...

    def spread(self, state: State, times: int, *, mixing: bool = True) -> State:
        """Every row becomes `times` rows of its source; `mixing` says that they will be reordered."""
        ...

    def keep(self, state: State, rows: Tensor) -> State:
        """Only these rows [left] int64 remain; of rows that mix, all of a source or none."""
        ...

    def score(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """Append ids [rows, new]; logits [rows, new, vocab] of every one of them."""
        ...

    def forget(self, state: State, counts: Tensor) -> State:
        """Row r takes back its last counts[r] tokens, [rows] int64; rows may become of different length."""
        ...


@runtime_checkable
class Chooser(Decoder, Protocol):
    """A decoder that can say the best token without all logits."""

    def best(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """Append ids [rows, 1]; the ids [rows] of the highest logits after them."""
        ...


class PromptOnce:
    """A decoder that runs a prompt [sources * rows_per_source, time], the rows of a source alike, once a source."""

    def __init__(self, decoder: Decoder, rows_per_source: int, *, mixing: bool) -> None:
        self.decoder, self.rows_per_source, self.mixing = decoder, rows_per_source, mixing
        self.begun = False

    def step(self, ids: Tensor, state: State) -> tuple[Step, State]:
        """As the decoder's; the first one spreads what it found over the rows."""
        if self.begun:
            return self.decoder.step(ids, state)
        self.begun = True
        step, state = self.decoder.step(ids[:: self.rows_per_source], state)
        state = self.decoder.spread(state, self.rows_per_source, mixing=self.mixing)
        more = [self._repeated(kept) for kept in (step.hidden_states, step.attentions, step.cross_attentions)]
        return Step(step.logits.repeat_interleave(self.rows_per_source, 0), *more), state

    def reorder(self, state: State, rows: Tensor) -> State:
        """As the decoder's."""
        return self.decoder.reorder(state, rows)

    def spread(self, state: State, times: int, *, mixing: bool = True) -> State:
        """As the decoder's."""
        return self.decoder.spread(state, times, mixing=mixing)

    def keep(self, state: State, rows: Tensor) -> State:
        """As the decoder's."""
        return self.decoder.keep(state, rows)

    def score(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """As the decoder's."""
        return self.decoder.score(ids, state)

    def forget(self, state: State, counts: Tensor) -> State:
        """As the decoder's."""
        return self.decoder.forget(state, counts)

    def _repeated(self, values: tuple[Tensor, ...] | None) -> tuple[Tensor, ...] | None:
        return None if values is None else tuple(v.repeat_interleave(self.rows_per_source, 0) for v in values)


def drawn(scores: Tensor, count: int, all_rows: int, live: Tensor | None) -> Tensor:
    """Draws `count` of each row of scores [rows, n] by their softmax, without replacement, [rows, count].

    With `live` [rows], the rows that are left of `all_rows`, they draw what they would have drawn among all.
    """
    weights = scores.softmax(dim=-1)
    whole = live is None or len(live) == all_rows
    if whole and looking_is_free(weights):
        return torch.multinomial(weights, num_samples=count)
    # What `multinomial` does once it looked at the weights: exponential noise makes a race of it (Efraimidis &
    # Spirakis 2006).
    noise = weights.new_empty((all_rows, weights.shape[1])).exponential_()
    noise = noise if whole else noise[live]
    return (weights / noise).topk(count).indices if count > 1 else (weights / noise).argmax(-1, keepdim=True)


def worth_leaving(left: int, rows: int, *, on_cpu: bool = True) -> bool:
    """Whether what a smaller batch saves is worth moving its caches: a quarter of the rows ended.

    Elsewhere half of them: there rows cost less, and a batch of another size is recorded anew.
    """
    return left <= rows - max(1, rows // (4 if on_cpu else 2))


_BITS = 7
_BLOCK = 1 << _BITS
_WHOLE = 8192


def best(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` highest scores [rows, n] and where they are, both [rows, count], best first.

    On a CPU a long row is looked through in blocks first: the best are in the blocks of the highest maxima.
    """
    rows, length = scores.shape
    whole = length // _BLOCK
    if scores.device.type != "cpu" or length < _WHOLE or count > whole // 4:
        return scores.topk(count)
    blocks = scores[:, : whole * _BLOCK].view(rows, whole, _BLOCK)
    chosen = blocks.amax(-1).topk(count).indices
    parts = blocks.take_along_dim(chosen[..., None], 1).flatten(1)
    if length % _BLOCK:  # the rest of the row stands behind the chosen blocks, as one more
        parts = torch.cat((parts, scores.narrow(1, whole * _BLOCK, length - whole * _BLOCK)), 1)
    values, where = parts.topk(count)
    block = torch.nn.functional.pad(chosen, (0, 1), value=whole).gather(1, where >> _BITS)
    return values, (block << _BITS) + (where & (_BLOCK - 1))


@dataclass
class Record:
    """Keeps what was asked for of every step, in the field's shape: a list over steps."""

    want_scores: bool = False
    want_logits: bool = False
    want_attentions: bool = False
    want_states: bool = False
    want_cache: bool = False
    """Of all rows, when the search is over."""
    scores: list[Tensor] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    attentions: list[Any] = field(default_factory=list)
    cross_attentions: list[Any] = field(default_factory=list)
    hidden_states: list[Any] = field(default_factory=list)

    def take(self, step: Step, logits: Tensor, scores: Tensor) -> None:
        """logits [rows, vocab] before the processors (the caller's copy), scores [rows, vocab] after them."""
        if self.want_scores:
            self.scores.append(scores.clone())
        if self.want_logits:
            self.logits.append(logits)
        if self.want_attentions:
            self.attentions.append(step.attentions)
            self.cross_attentions.append(step.cross_attentions)
        if self.want_states:
            self.hidden_states.append(step.hidden_states)

    @property
    def keeps(self) -> bool:
        """Whether anything is kept of every row."""
        kept = self.want_scores or self.want_logits or self.want_attentions or self.want_states
        return kept or self.want_cache

    @property
    def scores_so_far(self) -> tuple[Tensor, ...] | None:
        """What stopping criteria get: the scores of every step, if they are kept."""
        return tuple(self.scores) if self.want_scores else None


@dataclass(frozen=True)
class FoundRows:
    """What greedy search and sampling found: `ids [rows, time]`, the prompt first."""

    ids: Tensor
    state: State


@dataclass(frozen=True)
class FoundBeams:
    """What beam search found, best first: `ids [sources * returned, time]`, `scores [sources * returned]`.

    `beam_indices [sources * returned, steps]`: the row that each token was chosen from, -1 after the end.
    """

    ids: Tensor
    scores: Tensor
    beam_indices: Tensor | None
    state: State


def as_tuple(kept: Sequence[Any], wanted: bool) -> tuple[Any, ...] | None:
    """A record's list as outputs have it: None when it was not asked for."""
    return tuple(kept) if wanted else None
