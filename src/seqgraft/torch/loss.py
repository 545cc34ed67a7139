"""The training loss, and the decoder inputs that belong to labels."""

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100
"""The label of a position that counts nothing."""


def cross_entropy(logits: Tensor, labels: Tensor, count: Tensor | int | None = None) -> Tensor:
    """Cross-entropy of logits [batch, time, vocabulary] at labels [batch, time], in float32.

    Its mean over the labels that are not -100; or, with `count`, its sum divided by that number, so that the parts of
    a batch that is split over steps and devices add up to the loss of the whole.
    """
    flat = logits.reshape(-1, logits.shape[-1]).float()
    targets = labels.reshape(-1).to(flat.device)
    if count is None:
        return F.cross_entropy(flat, targets, ignore_index=IGNORED)
    total = F.cross_entropy(flat, targets, ignore_index=IGNORED, reduction="sum")
    return total / (count.to(total.device) if isinstance(count, Tensor) else count)


def shifted(labels: Tensor, start: int | None, pad: int) -> Tensor:
    """labels [batch, time] -> the same shape: `start`, then all but the last; -100 becomes `pad`.

    Without a start each row's last token that is no padding takes its place (mBART, whose rows end in their language).
    """
    filled = labels.masked_fill(labels == IGNORED, pad)
    first = filled.new_full((len(filled), 1), pad if start is None else start)
    if start is None:
        first = filled.gather(1, (filled != pad).sum(1, keepdim=True) - 1)
    return torch.cat((first, filled[:, :-1]), 1)
