"""A loss that is no number: which pairs it comes from, and the steps that are left out for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from seqgraft.errors import SeqgraftError
from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.training.data import TokenizedPairs
from seqgraft.training.metrics import pair_losses
from seqgraft.training.plan import BatchPlan

MOST_SKIPPED = 10
"""Steps in a row that may be left out: after those it is not the data."""


class NotFiniteError(SeqgraftError):
    """The loss of a step is nan or infinite. Weights are as they were before it."""

    def __init__(self, loss: float, step: int, more: str = "") -> None:
        self.loss, self.step = loss, step
        advice = more or "A lower learning rate or float32 may help;"
        super().__init__(f"The loss must be a finite number, but is {loss} at step {step}. {advice} nothing was saved.")


def explained(
    error: NotFiniteError, model: EncoderDecoderModel, data: TokenizedPairs, plan: BatchPlan, size: int
) -> NotFiniteError:
    """The error with the file and line of the pairs that it comes from, of steps of `size` batches."""
    steps = -(-len(plan) // size)
    epoch, step = divmod(error.step - 1, steps)
    batches = range(step * size, min((step + 1) * size, len(plan)))
    indexes = [int(index) for batch in batches for index in plan.batch(epoch, batch)]
    losses = pair_losses(model, data.some(indexes))
    bad = [index for index, (loss, _) in zip(indexes, losses, strict=True) if not math.isfinite(loss)]
    if 0 < len(bad) < len(indexes):
        more = f"It comes from {_named(data, bad)} (--skip-bad leaves such steps out);"
    else:
        more = f"The step's pairs are {_named(data, indexes)}. A lower learning rate or float32 may help;"
    return NotFiniteError(error.loss, error.step, more)


def _named(data: TokenizedPairs, indexes: Sequence[int]) -> str:
    places = [data.place(index) for index in sorted(indexes)[:3]]
    return ", ".join(places) + (f" and {len(indexes) - 3} more" if indexes[3:] else "")
