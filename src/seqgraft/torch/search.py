"""What a search needs of a model, and what it leaves behind.

A search sees a step function and a state: it hands the state back to the decoder that made it and never looks inside.
Rows are source-major: row = source * rows_per_source + k.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

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


@dataclass
class Record:
    """Keeps what was asked for of every step, in the field's shape: a list over steps."""

    want_scores: bool = False
    want_logits: bool = False
    want_attentions: bool = False
    want_states: bool = False
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
