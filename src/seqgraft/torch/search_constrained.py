"""Beam search whose texts must contain something: `force_words_ids` and `constraints`.

Beside the best continuations, every row also proposes the tokens that bring its constraints further. The candidates
are sorted into banks by how far they are, and the banks take turns, the furthest first, in naming the rows that run on
(dynamic beam allocation, Post and Vilar 2018, https://arxiv.org/abs/1804.06609; Hu et al. 2019). Only texts that
fulfil all constraints are finished; where none can be, the best unfinished ones are returned.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.generation.constraints import Constraint, ConstraintListState
from seqgraft.torch.processors import LogitsProcessorList
from seqgraft.torch.search import Decoder, FoundBeams, Record, State
from seqgraft.torch.search_hypotheses import Choice, Pool, Running, best_choices, found
from seqgraft.torch.stopping import Stopping


def search_constrained(
    decoder: Decoder,
    state: State,
    prompt: Tensor,
    *,
    beams: int,
    constraints: Sequence[Constraint],
    returned: int,
    processors: LogitsProcessorList,
    stopping: Stopping,
    record: Record,
    fill: int = 0,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
    watch: Callable[[list[list[Pool]], Running], None] | None = None,
) -> FoundBeams:
    """Continue prompt [sources * beams, time], the rows of a source alike; what a prompt contains counts.

    `watch` is shown the pool of every source after every step.
    Raises GenerationError when a constraint asks for a token that the model does not have.
    """
    rows, start = prompt.shape
    running = Running(prompt, beams, beams)
    pools = [Pool(beams, stopping.max_length - start, length_penalty, early_stopping) for _ in range(rows // beams)]
    every = torch.arange(rows, device=prompt.device)

    def complete(ids: Sequence[int]) -> bool:
        return _read(constraints, ids).completed

    new = prompt
    while True:
        step, state = decoder.step(new, state)
        logits = step.logits.float()
        scores = processors(running.ids, torch.log_softmax(logits, dim=-1))
        record.take(step, logits.clone() if record.want_logits else logits, scores)
        choices = best_choices(scores, running, every, pools, stopping, fill, record.scores_so_far, complete)
        moved = running.advance(_towards(constraints, choices, scores, running, pools))
        if running.length >= stopping.max_length or all(pool.done for pool in pools):
            break
        if watch is not None:
            watch([[pool] for pool in pools], running)
        if moved is not None:
            state = decoder.reorder(state, moved)
        new = running.ids[:, -1:]
    for source, pool in enumerate(pools):
        if not pool.done:
            own = range(source * beams, (source + 1) * beams)
            fulfilled = [row for row in own if complete(running.ids[row].tolist())]
            others = [row for row in own if row not in fulfilled] if len(fulfilled) < returned else []
            for row in (*fulfilled, *others):
                running.close(row, pool)
    return found([[pool] for pool in pools], returned, state, running, stopping, fill)


def _read(constraints: Sequence[Constraint], ids: Sequence[int]) -> ConstraintListState:
    state = ConstraintListState(constraints)
    state.reset(ids)
    return state


def _towards(
    constraints: Sequence[Constraint], choices: list[Choice], scores: Tensor, running: Running, pools: Sequence[Pool]
) -> list[Choice]:
    """The choices of every source, with what would bring its constraints further, chosen from bank by bank."""
    beams, texts, vocab = pools[0].size, running.ids.tolist(), scores.shape[-1]
    proposals: list[list[tuple[int, int, int]]] = []  # of every source: (row, token, bank)
    banks: list[list[int]] = []
    for source, pool in enumerate(pools):
        proposals.append([])
        own = choices[source * beams : (source + 1) * beams]
        seen = [[*texts[choice.parent], choice.token] for choice in own]
        banks.append([] if pool.done else [_read(constraints, ids).get_bank() for ids in seen])
        for row in () if pool.done else range(source * beams, (source + 1) * beams):
            before = _read(constraints, texts[row])
            for token in () if before.completed else before.advance() or ():
                after = before.copy(stateful=True)
                after.add(token)
                if [*texts[row], token] not in seen:
                    seen.append([*texts[row], token])
                    proposals[source].append((row, token, after.get_bank()))
    wanted = [(row, token) for of_source in proposals for row, token, _ in of_source]
    if not wanted:
        return choices
    if max(token for _, token in wanted) >= vocab:
        raise GenerationError(
            f"Constraints must ask for tokens below the vocabulary's {vocab}, but ask for {max(t for _, t in wanted)}."
        )
    index = torch.tensor(wanted, device=scores.device)
    totals = iter((scores[index[:, 0], index[:, 1]] + running.totals[index[:, 0]]).tolist())
    result: list[Choice] = []
    for source, of_source in enumerate(proposals):
        candidates = choices[source * beams : (source + 1) * beams]
        candidates += [Choice(next(totals), token, row) for row, token, _ in of_source]
        every_bank = banks[source] + [bank for _, _, bank in of_source]
        result += _in_turns(candidates, every_bank)[:beams] if of_source else candidates
    return result


def _in_turns(candidates: list[Choice], banks: list[int]) -> list[Choice]:
    """The best of every bank, then the second best of every bank, and so on, the furthest bank first."""
    totals = torch.tensor([choice.total for choice in candidates], dtype=torch.float32)
    # The reference tells the banks apart by 100 a step, so that far ones rank before near ones but for odd scores.
    order = (torch.tensor(banks) * 100 + totals).sort(descending=True, stable=True).indices.tolist()
    turns, turn, current = [], -1, banks[order[0]]
    for place in order:
        turn = turn + 1 if banks[place] == current else 0
        current = banks[place]
        turns.append(turn)
    return [candidates[place] for _, place in sorted(zip(turns, order, strict=True), key=lambda pair: pair[0])]
