"""Diverse beam search: groups of beams, each penalised for the tokens that the groups before it chose at that step.

Vijayakumar et al. 2016 (https://arxiv.org/abs/1610.02424), with Hamming diversity as the field has it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from seqgraft.torch.processors import LogitsProcessorList
from seqgraft.torch.search import Decoder, FoundBeams, Record, State
from seqgraft.torch.search_hypotheses import Choice, Pool, Running, best_choices, found
from seqgraft.torch.stopping import Stopping


def search_groups(
    decoder: Decoder,
    state: State,
    prompt: Tensor,
    *,
    beams: int,
    groups: int,
    returned: int,
    processors: LogitsProcessorList,
    stopping: Stopping,
    record: Record,
    fill: int = 0,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
    watch: Callable[[list[list[Pool]], Running], None] | None = None,
) -> FoundBeams:
    """Continue prompt [sources * beams, time], the rows of a source alike; `groups` must divide `beams`.

    A step scores all rows at once and then lets one group after the other choose. `processors` see all rows, with two
    more arguments for those that take them: `current_tokens [rows]`, what this step chose so far, and
    `beam_group_idx`. `watch` is shown the pools of every source, one a group, after every step.
    """
    size, (rows, start) = beams // groups, prompt.shape
    running = Running(prompt, beams, size)
    most = stopping.max_length - start
    pools = [[Pool(size, most, length_penalty, early_stopping) for _ in range(groups)] for _ in range(rows // beams)]
    places = torch.arange(rows, device=prompt.device).view(-1, groups, size)
    new = prompt
    while True:
        step, state = decoder.step(new, state)
        logits = step.logits.float()
        log_probs = torch.log_softmax(logits, dim=-1)
        kept, current = torch.zeros_like(log_probs), torch.zeros_like(running.ids[:, 0])
        choices = [Choice(0.0, fill, row) for row in range(rows)]
        for group in range(groups):
            own = places[:, group].flatten()
            scores = processors(running.ids, log_probs, current_tokens=current, beam_group_idx=group)[own]
            kept[own] = scores
            group_pools = [of_source[group] for of_source in pools]
            chosen = best_choices(scores, running, own, group_pools, stopping, fill, record.scores_so_far)
            for row, choice in zip(own.tolist(), chosen, strict=True):
                choices[row] = choice
            current[own] = torch.tensor([choice.token for choice in chosen], device=prompt.device)
        record.take(step, logits.clone() if record.want_logits else logits, kept)
        moved = running.advance(choices)
        if running.length >= stopping.max_length or all(pool.done for of_source in pools for pool in of_source):
            break
        if watch is not None:
            watch(pools, running)
        if moved is not None:
            state = decoder.reorder(state, moved)
        new = running.ids[:, -1:]
    for source, of_source in enumerate(pools):
        for group, pool in enumerate(of_source):
            if not pool.done:
                for row in places[source, group].tolist():
                    running.close(row, pool)
    return found(pools, returned, state, running, stopping, fill)
