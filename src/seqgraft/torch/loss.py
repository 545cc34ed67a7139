"""The training loss."""

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
