"""Which rows end after a step, asked of the device as little as possible.

The length is known without looking at the ids, so it is never a tensor; end tokens are compared with the newest
tokens alone; other criteria, if there are any, see the whole ids as in the field.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from seqgraft.generation.stopping import EosTokenCriteria, MaxLengthCriteria, StoppingCriteriaList


@dataclass(frozen=True)
class Stopping:
    """When rows end: at `max_length` tokens, at an end token, or when one of `others` says so."""

    max_length: int
    eos_token_ids: tuple[int, ...] = ()
    others: StoppingCriteriaList = field(default_factory=StoppingCriteriaList)

    @classmethod
    def of(cls, criteria: Sequence[Any], max_length: int) -> "Stopping":
        """Sort a list of criteria: the known ones are taken apart, the others are called."""
        ends: list[int] = []
        others = StoppingCriteriaList()
        for criterion in criteria:
            if type(criterion) is MaxLengthCriteria:
                max_length = min(max_length, criterion.max_length)
            elif type(criterion) is EosTokenCriteria:
                ends += criterion.eos_token_id
            else:
                others.append(criterion)
        return cls(max_length, tuple(dict.fromkeys(ends)), others)

    @property
    def may_stop_early(self) -> bool:
        """Whether a row can end before `max_length`."""
        return bool(self.eos_token_ids) or bool(self.others)

    @property
    def fixed(self) -> bool:
        """Whether rows may not leave the batch: a criterion of somebody else's may keep something for each of them."""
        return any(not type(criterion).__module__.startswith("seqgraft.") for criterion in self.others)

    def ended(self, tokens: Tensor) -> Tensor:
        """tokens [...] -> which of them are end tokens, [...] of truth values."""
        if not self.eos_token_ids:
            return torch.zeros_like(tokens, dtype=torch.bool)
        done = tokens == self.eos_token_ids[0]
        for token in self.eos_token_ids[1:]:
            done = done | (tokens == token)
        return done

    def asked(self, ids: Tensor, scores: Any) -> Tensor:
        """ids [rows, time] -> which rows the other criteria end, [rows] of truth values."""
        return self.others(ids, scores)  # type: ignore[no-any-return]
