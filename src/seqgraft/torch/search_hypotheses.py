"""The bookkeeping of the beam searches that transformers 5 dropped (groups, constraints), as version 4 kept it.

It differs from `search_beams` in what ends a source (the best candidate counts, ended or not) and in how a hypothesis
is written: without the end token that closed it, so that all are closed by the first end id. The numbers are on the
host, one transfer a step: these searches decide row by row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from seqgraft.torch.search import FoundBeams, State
from seqgraft.torch.stopping import Stopping

WORST = -1.0e9  # the score of the copies that a prompt's other rows are, as the reference has it


@dataclass(frozen=True)
class Hypothesis:
    """A finished row: its tokens, the row that each was chosen from, and whether an end token closes it."""

    score: float
    ids: list[int]
    rows: list[int]
    closed: bool


@dataclass
class Pool:
    """The `size` best hypotheses of one source, or of one of its groups (`BeamHypotheses` in the reference).

    A score is the sum of log-probabilities / (generated tokens) ** `length_penalty`; `most` tokens can be generated.
    """

    size: int
    most: int
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    held: list[Hypothesis] = field(default_factory=list)
    done: bool = False

    def add(self, total: float, generated: int, ids: list[int], rows: list[int], *, closed: bool = False) -> None:
        """Keep a row that ended at `total`, if it is among the best; of equal ones the older goes."""
        score = total / generated**self.length_penalty
        if len(self.held) < self.size or score > self.worst:
            self.held.append(Hypothesis(score, ids, rows, closed))
            if len(self.held) > self.size:
                self.held.remove(min(self.held, key=lambda hypothesis: hypothesis.score))

    @property
    def worst(self) -> float:
        """The score that a new hypothesis has to pass."""
        return min(hypothesis.score for hypothesis in self.held)

    def settle(self, best_total: float, generated: int) -> None:
        """Be done when there are enough hypotheses and, by `early_stopping`, no candidate could still beat one."""
        if self.done or len(self.held) < self.size:
            return
        if self.early_stopping is True:
            self.done = True
            return
        reachable = self.most if self.early_stopping == "never" and self.length_penalty > 0 else generated
        self.done = self.worst >= best_total / reachable**self.length_penalty


@dataclass(frozen=True)
class Choice:
    """How a row goes on: its total, its newest token, and the row that it continues."""

    total: float
    token: int
    parent: int


class Running:
    """The rows that run: `ids [rows, length]` and `totals [rows]` on the device, where they came from on the host."""

    def __init__(self, prompt: Tensor, beams: int, size: int) -> None:
        """prompt [sources * beams, time]; of every `size` rows, which are alike, only the first counts at first."""
        self.start = prompt.shape[1]
        self.ids = prompt
        self.totals = torch.full((len(prompt),), WORST, device=prompt.device)
        self.totals[::size] = 0.0
        self.rows: list[list[int]] = [[] for _ in range(len(prompt))]

    @property
    def length(self) -> int:
        """Tokens of a row, the prompt's included."""
        return self.ids.shape[1]

    def advance(self, choices: Sequence[Choice]) -> Tensor | None:
        """Row i goes on as choices[i] says; returns the rows that they continue [rows], None where none moved."""
        first = self.length == self.start
        parents = [choice.parent for choice in choices]
        index = torch.tensor(parents, device=self.ids.device)
        newest = torch.tensor([choice.token for choice in choices], device=self.ids.device)
        self.totals = torch.tensor([choice.total for choice in choices], device=self.ids.device)
        self.ids = torch.cat((self.ids[index], newest[:, None]), dim=1)
        self.rows = [[*self.rows[parent], parent] for parent in parents]
        # Before the first step all rows of a source were one and the same.
        return None if first or parents == list(range(len(parents))) else index

    def close(self, row: int, pool: Pool) -> None:
        """Give a row that was still running, at the end of the search, to its pool."""
        pool.add(float(self.totals[row]), self.length - self.start, self.ids[row].tolist(), self.rows[row])


def best_choices(
    scores: Tensor,
    running: Running,
    own: Tensor,
    pools: Sequence[Pool],
    stopping: Stopping,
    fill: int,
    scores_so_far: Any,
    complete: Callable[[list[int]], bool] = lambda ids: True,
) -> list[Choice]:
    """How the rows `own [pools * size]` go on, by scores [pools * size, vocab]: what ends goes to their `pools`.

    The best max(2, 1 + end tokens) * size candidates are looked at, those that end only among the best `size`, and kept
    only if `complete` says so of their ids. The rows of a pool that is done are filled and go nowhere.
    """
    size, vocab = pools[0].size, scores.shape[-1]
    total = (scores + running.totals[own][:, None]).view(len(pools), -1)
    best, flat = total.topk(min(max(2, 1 + len(stopping.eos_token_ids)) * size, total.shape[1]))
    rows = own.view(len(pools), size).gather(1, flat // vocab)
    tokens = flat % vocab
    asked = torch.zeros_like(tokens, dtype=torch.bool)
    if stopping.others:
        ids = torch.cat((running.ids[rows.flatten()], tokens.view(-1, 1)), dim=1)
        asked = asked | stopping.asked(ids, scores_so_far).view_as(asked)
    columns = (best.tolist(), tokens.tolist(), rows.tolist(), asked.tolist())
    generated = running.length + 1 - running.start
    ends, choices = set(stopping.eos_token_ids), []
    for pool, of_pool, *candidates in zip(pools, own.view(len(pools), size).tolist(), *columns, strict=True):
        going: list[Choice] = []
        if not pool.done:
            for rank, (score, token, row, ended) in enumerate(zip(*candidates, strict=True)):
                if token not in ends and not ended:
                    going.append(Choice(score, token, row))
                elif rank < size:
                    written = running.ids[row].tolist() + ([] if token in ends else [token])
                    if complete(written):
                        pool.add(score, generated, written, [*running.rows[row], row], closed=token in ends)
                if len(going) == size:
                    break
            pool.settle(candidates[0][0], generated)
        # Where other criteria ended nearly everything, copies that cannot win take the free places.
        choices += going + [Choice(0.0 if pool.done else WORST, fill, row) for row in of_pool[len(going) :]]
    return choices


def found(
    pools: Sequence[Sequence[Pool]], returned: int, state: State, running: Running, stopping: Stopping, fill: int
) -> FoundBeams:
    """The best `returned` hypotheses of every source's pools; of equal ones the newest."""
    best: list[Hypothesis] = []
    for of_source in pools:
        ranked = sorted((h for pool in of_source for h in pool.held), key=lambda hypothesis: hypothesis.score)
        best += ranked[::-1][:returned]
    written = [h.ids + ([stopping.eos_token_ids[0]] if h.closed else []) for h in best]
    longest = max(len(ids) for ids in written)
    rows = [h.rows + [-1] * (longest - running.start - len(h.rows)) for h in best]
    device = running.ids.device
    return FoundBeams(
        torch.tensor([ids + [fill] * (longest - len(ids)) for ids in written], device=device),
        torch.tensor([h.score for h in best], dtype=torch.float32, device=device),
        torch.tensor(rows, dtype=torch.int32, device=device),
        state,
    )
