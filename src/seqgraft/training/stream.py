"""What one process trains on, batch after batch, each made before it is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from seqgraft.torch.loss import IGNORED
from seqgraft.training.ahead import ahead
from seqgraft.training.data import TokenizedPairs
from seqgraft.training.plan import BatchPlan

_AHEAD = 4
"""Batches that are ready before they are asked for."""


class Stream:
    """The batches of one process of several, epoch after epoch, for Lightning.

    An optimizer step takes the next `accumulate * world` batches of the plan, whoever computes them, so that the steps
    of `world=2, accumulate=1` and of `world=1, accumulate=2` are the same. The last step of an epoch takes what is
    left; a process for which nothing is left gets a batch whose labels all count nothing.

    Beside `input_ids`, `attention_mask` and `labels` a batch says of its whole step, all processes together, how many
    target tokens (`step_tokens`) and pairs (`step_pairs`) it has, and whether it is the process's last of it (`last`).

    Args:
        start: optimizer steps that were taken before, of an earlier run.
    """

    def __init__(
        self,
        data: TokenizedPairs,
        plan: BatchPlan,
        *,
        accumulate: int = 1,
        world: int = 1,
        rank: int = 0,
        start: int = 0,
        pin: bool = False,
    ) -> None:
        self.data, self.plan, self.pin = data, plan, pin
        self.accumulate, self.world, self.rank = accumulate, world, rank
        self.steps = steps_of(plan, accumulate, world)
        self.epoch, self._skipped = divmod(start, self.steps)

    @property
    def sampler(self) -> Stream:
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls it before each epoch."""
        if epoch != self.epoch:
            self.epoch, self._skipped = epoch, 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return ahead(self._batches(self.epoch, self._skipped), _AHEAD)

    def _batches(self, epoch: int, first: int) -> Iterator[dict[str, Any]]:
        size = self.accumulate * self.world
        for step in range(first, self.steps):
            group = range(step * size, min((step + 1) * size, len(self.plan)))
            rows = [self.plan.batch(epoch, index) for index in group]
            whole = {
                "step_tokens": int(sum(self.plan.targets[held].sum() for held in rows)),
                "step_pairs": sum(map(len, rows)),
            }
            turns = -(-len(rows) // self.world)
            for turn in range(turns):
                place = turn * self.world + self.rank
                indexes = rows[place] if place < len(rows) else rows[0][:1]
                batch: dict[str, Any] = dict(self.data[indexes.tolist()])
                if place >= len(rows):
                    batch["labels"] = torch.full_like(batch["labels"], IGNORED)
                if self.pin:
                    batch = {name: value.pin_memory() for name, value in batch.items()}
                yield {**batch, **whole, "last": turn == turns - 1}


def steps_of(plan: BatchPlan, accumulate: int, world: int) -> int:
    """Optimizer steps of an epoch."""
    return -(-len(plan) // (accumulate * world))
