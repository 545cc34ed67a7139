"""Scores that are no numbers, and scores that are to be log-probabilities."""

import torch
from torch import Tensor

from seqgraft.torch.processors.base import LogitsProcessor


class InfNanRemoveLogitsProcessor(LogitsProcessor):
    """Makes NaN 0, and what is infinite the largest or smallest number there is."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        limits = torch.finfo(scores.dtype)
        return scores.nan_to_num(nan=0.0, posinf=limits.max, neginf=limits.min)


class LogitNormalization(LogitsProcessor):
    """Makes the scores log-probabilities again: their exponentials sum to 1."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores.log_softmax(dim=-1)
