"""Rows of different lengths side by side: their ids, and the processors and criteria that see each row's own past."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from seqgraft.torch.processors import LogitsProcessorList


class Texts:
    """`ids [rows, capacity + 1]`, of which row r has its first `lengths[r]`; `live` are the rows still worked on.

    What stands behind a row's length is no part of it; the last column takes what has no place.
    """

    def __init__(self, prompt: Tensor, capacity: int, fill: int) -> None:
        rows, length = prompt.shape
        self.ids = prompt.new_full((rows, capacity + 1), fill)
        self.ids[:, :length] = prompt
        self.lengths = prompt.new_full((rows,), length)
        self.live = torch.arange(rows, device=prompt.device)
        self.fill = fill

    @property
    def now(self) -> Tensor:
        """The lengths of the live rows [live]."""
        return self.lengths[self.live]

    def last(self, count: int) -> Tensor:
        """The last `count` ids of every live row [live, count]."""
        return self.ids[self.live[:, None], self.now[:, None] + torch.arange(-count, 0, device=self.ids.device)]

    def write(self, tokens: Tensor, counts: Tensor) -> None:
        """Put the first counts[r] of tokens [live, new] behind each row's length, and the fill for the others."""
        ahead = torch.arange(tokens.shape[1], device=tokens.device)
        places = (self.now[:, None] + ahead).clamp(max=self.ids.shape[1] - 1)
        self.ids[self.live[:, None], places] = torch.where(ahead < counts[:, None], tokens, self.fill)


def processed(processors: LogitsProcessorList, texts: Texts, logits: Tensor, counts: Tensor, ahead: int = 0) -> Tensor:
    """Scores of logits [live, new, vocab]; place j < counts[r] is what follows the first lengths[r] + ahead + j ids.

    Processors see rows of one length, as in a plain search, hence one call for each length that occurs.
    """
    if not processors:
        return logits
    scores, everyone = logits.clone(), len(texts.ids)
    for time, rows, places in _by_length(texts.now + ahead, counts):
        chosen, given = texts.live[rows], logits[rows, places]  # a copy: a custom processor may write into what it gets
        if processors.fixed and len(rows) < everyone:
            whole = given.new_zeros(everyone, given.shape[1]).index_copy_(0, chosen, given)
            scores[rows, places] = processors(texts.ids[:, :time], whole)[chosen]
            continue
        processors.start()
        if len(rows) < everyone:
            processors.keep(chosen)
        scores[rows, places] = processors(texts.ids[chosen, :time], given)
    return scores


def asked(
    criteria: Callable[[Tensor, Any], Tensor], texts: Texts, counts: Tensor, steps: Callable[[int], Any]
) -> Tensor:
    """Which of the counts[r] tokens written behind the rows end them, [live, most counts] of truth values.

    `steps(time)` is what the criteria get as the scores of a text of `time` ids.
    """
    found = torch.zeros(len(counts), int(counts.max()), dtype=torch.bool, device=counts.device)
    for time, rows, places in _by_length(texts.now, counts):
        answer = criteria(texts.ids[:, : time + 1], steps(time + 1))
        found[rows, places] = answer[texts.live[rows]]
    return found


def _by_length(starts: Tensor, counts: Tensor) -> Iterator[tuple[int, list[int], list[int]]]:
    """Every length in starts[r], ..., starts[r] + counts[r] - 1: the rows that come by it, and how far in it is."""
    first, many = starts.tolist(), counts.tolist()
    for time in range(min(first), max(map(sum, zip(first, many, strict=True)))):
        rows = [row for row, start in enumerate(first) if start <= time < start + many[row]]
        if rows:
            yield time, rows, [time - first[row] for row in rows]
