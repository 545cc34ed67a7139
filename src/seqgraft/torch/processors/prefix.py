"""A caller's function that says which tokens may follow (de Cao et al. 2020, https://arxiv.org/abs/2010.00904)."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.torch.processors.base import BANNED, LogitsProcessor

Allowed = Callable[[int, Tensor], Sequence[int] | Tensor]


class PrefixConstrainedLogitsProcessor(LogitsProcessor):
    """Forbids all but the tokens that `prefix_allowed_tokens_fn(source, ids [time])` returns for each row.

    `source` is the row's place among the sources. The `num_beams` rows of a source are one search: where none of the
    tokens allowed to any of them can be chosen any more, those are let through with a score of 0. `rows_per_source` is
    more than `num_beams` where several rows of a source are drawn, each by itself.
    """

    def __init__(
        self, prefix_allowed_tokens_fn: Allowed, num_beams: int = 1, rows_per_source: int | None = None
    ) -> None:
        self._allowed = prefix_allowed_tokens_fn
        self._beams = num_beams
        self._rows_per_source = rows_per_source or num_beams
        self._sources: list[int] | None = None  # of each row, once rows have left

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        rows = len(input_ids)
        sources = self._sources or [row // self._rows_per_source for row in range(rows)]
        found: list[list[int]] = []
        for source, ids in zip(sources, input_ids, strict=True):
            allowed: Any = self._allowed(source, ids)
            found.append(allowed.tolist() if isinstance(allowed, Tensor) else list(allowed))
            if not found[-1]:
                raise GenerationError(
                    f"`prefix_allowed_tokens_fn` must allow at least one token, but allows none for source {source} "
                    f"after {ids.tolist()}."
                )
        flat = torch.tensor(list(chain.from_iterable(found)), device=scores.device)
        counts = torch.tensor([len(allowed) for allowed in found], device=scores.device)
        mask = torch.full_like(scores, BANNED)
        mask[torch.arange(rows, device=scores.device).repeat_interleave(counts), flat] = 0
        processed = scores + mask
        stuck = processed.amax(dim=-1).isneginf().view(-1, self._beams).all(dim=-1)
        return torch.where(stuck.repeat_interleave(self._beams)[:, None], mask, processed)

    def keep(self, rows: Tensor) -> None:
        left = rows.tolist()
        self._sources = [self._sources[row] if self._sources else row // self._rows_per_source for row in left]

    def start(self) -> None:
        self._sources = None
