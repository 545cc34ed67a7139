"""What sampling draws from: processors that sharpen a distribution or cut its tail.

`min_tokens_to_keep` tokens are never cut: with beams one more than can end a row.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from seqgraft.errors import GenerationError
from seqgraft.torch.processors.base import BANNED, LogitsProcessor


class TemperatureLogitsWarper(LogitsProcessor):
    """Divides by `temperature`: below 1 sharper, above 1 flatter."""

    def __init__(self, temperature: float) -> None:
        if not temperature > 0:
            raise GenerationError(f"`temperature` must be more than 0, but is {temperature!r}.")
        self.temperature = float(temperature)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores / self.temperature


class TopKLogitsWarper(LogitsProcessor):
    """Keeps the `top_k` best tokens (Fan et al. 2018, https://arxiv.org/abs/1805.04833)."""

    def __init__(self, top_k: int, filter_value: float = BANNED, min_tokens_to_keep: int = 1) -> None:
        if top_k < 1:
            raise GenerationError(f"`top_k` must be at least 1, but is {top_k}.")
        self.top_k = max(top_k, min_tokens_to_keep)
        self.filter_value = filter_value

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        worst_kept = torch.topk(scores, min(self.top_k, scores.shape[-1]))[0][..., -1, None]
        return scores.masked_fill(scores < worst_kept, self.filter_value)


class TopPLogitsWarper(LogitsProcessor):
    """Keeps the best tokens that together have `top_p` of the probability (Holtzman et al. 2019, arXiv:1904.09751)."""

    def __init__(self, top_p: float, filter_value: float = BANNED, min_tokens_to_keep: int = 1) -> None:
        if not 0 <= top_p <= 1:
            raise GenerationError(f"`top_p` must be between 0 and 1, but is {top_p!r}.")
        self.top_p = float(top_p)
        self.filter_value = filter_value
        self.min_tokens_to_keep = min_tokens_to_keep

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        ordered, order = torch.sort(scores)
        removed = ordered.softmax(dim=-1).cumsum(dim=-1) <= (1 - self.top_p)
        removed[..., -self.min_tokens_to_keep :] = False
        return scores.masked_fill(removed.scatter(1, order, removed), self.filter_value)


class TopHLogitsWarper(LogitsProcessor):
    """Keeps the best tokens whose entropy terms sum to at most `top_h` of the whole entropy, and the best in any case.

    Potraghloo et al. 2025, top-H decoding (https://arxiv.org/abs/2509.02510), over the best `top_n` tokens.
    """

    top_n = 100

    def __init__(self, top_h: float, filter_value: float = BANNED) -> None:
        if not 0 < top_h <= 1:
            raise GenerationError(f"`top_h` must be more than 0 and at most 1, but is {top_h!r}.")
        self.top_h = float(top_h)
        self.filter_value = filter_value

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        best, order = scores.topk(min(self.top_n, scores.shape[-1]))
        log_probs, probs = _normalized(best)
        limit = _entropy(log_probs, probs)[:, None] * self.top_h
        kept = (-probs * probs.log()).cumsum(dim=-1) <= limit
        kept[:, 0] = True
        return scores.masked_fill(
            ~torch.zeros_like(scores, dtype=torch.bool).scatter(1, order, kept), self.filter_value
        )


class MinPLogitsWarper(LogitsProcessor):
    """Keeps the tokens that are at least `min_p` times as likely as the best (Nguyen et al. 2024, arXiv:2407.01082)."""

    def __init__(self, min_p: float, filter_value: float = BANNED, min_tokens_to_keep: int = 1) -> None:
        if not 0 <= min_p <= 1:
            raise GenerationError(f"`min_p` must be between 0 and 1, but is {min_p!r}.")
        self.min_p = min_p
        self.filter_value = filter_value
        self.min_tokens_to_keep = _least(min_tokens_to_keep)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        probs = scores.softmax(dim=-1)
        removed = probs < self.min_p * probs.amax(dim=-1, keepdim=True)
        best = probs.topk(min(self.min_tokens_to_keep, scores.shape[-1])).indices
        return scores.masked_fill(removed.scatter_(1, best, False), self.filter_value)


class TypicalLogitsWarper(LogitsProcessor):
    """Keeps the tokens whose surprise is nearest to the entropy and that together have `mass` of the probability.

    Meister et al. 2022, locally typical sampling (https://arxiv.org/abs/2202.00666).
    """

    def __init__(self, mass: float = 0.9, filter_value: float = BANNED, min_tokens_to_keep: int = 1) -> None:
        if not 0 < mass < 1:
            raise GenerationError(f"`typical_p` must be more than 0 and less than 1, but is {mass!r}.")
        self.mass = float(mass)
        self.filter_value = filter_value
        self.min_tokens_to_keep = _least(min_tokens_to_keep)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        log_probs = scores.log_softmax(dim=-1)
        entropy = -(log_probs * log_probs.exp()).nansum(dim=-1, keepdim=True)
        distance, order = (-log_probs - entropy).abs().sort()
        mass = scores.gather(-1, order).softmax(dim=-1).cumsum(dim=-1)
        last = (mass < self.mass).sum(dim=-1, keepdim=True).clamp(max=scores.shape[-1] - 1)
        removed = distance > distance.gather(1, last)
        removed[..., : self.min_tokens_to_keep] = False
        return scores.masked_fill(removed.scatter(1, order, removed), self.filter_value)


class EpsilonLogitsWarper(LogitsProcessor):
    """Removes the tokens less likely than `epsilon` (Hewitt et al. 2022, https://arxiv.org/abs/2210.15191)."""

    def __init__(self, epsilon: float, filter_value: float = BANNED, min_tokens_to_keep: int = 1) -> None:
        if not 0 < epsilon < 1:
            raise GenerationError(f"`epsilon_cutoff` must be more than 0 and less than 1, but is {epsilon!r}.")
        self.epsilon = float(epsilon)
        self.filter_value = filter_value
        self.min_tokens_to_keep = _least(min_tokens_to_keep)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        removed = (scores.softmax(dim=-1) < self.epsilon) & _below_best(scores, self.min_tokens_to_keep)
        return scores.masked_fill(removed, self.filter_value)


class EtaLogitsWarper(LogitsProcessor):
    """Removes the tokens less likely than min(epsilon, sqrt(epsilon) * exp(-entropy)).

    Hewitt et al. 2022, eta sampling (https://arxiv.org/abs/2210.15191).
    """

    def __init__(
        self, epsilon: float, filter_value: float = BANNED, min_tokens_to_keep: int = 1, device: Any = None
    ) -> None:
        if not 0 < epsilon < 1:
            raise GenerationError(f"`eta_cutoff` must be more than 0 and less than 1, but is {epsilon!r}.")
        self.epsilon = torch.tensor(float(epsilon), device=device)
        self.filter_value = filter_value
        self.min_tokens_to_keep = _least(min_tokens_to_keep)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        epsilon = self.epsilon
        cutoff = torch.minimum(epsilon, epsilon.sqrt() * (-_entropy(*_normalized(scores))).exp())[:, None]
        removed = (scores.softmax(dim=-1) < cutoff) & _below_best(scores, self.min_tokens_to_keep)
        return scores.masked_fill(removed, self.filter_value)


def _normalized(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities and probabilities, [rows, count] each, by the arithmetic of torch's `Categorical`."""
    log_probs = scores - scores.logsumexp(dim=-1, keepdim=True)
    return log_probs, functional.softmax(log_probs, dim=-1)


def _entropy(log_probs: Tensor, probs: Tensor) -> Tensor:
    """[rows, count] twice -> [rows]; a token without probability adds nothing."""
    return -(log_probs.clamp(min=torch.finfo(log_probs.dtype).min) * probs).sum(dim=-1)


def _below_best(scores: Tensor, count: int) -> Tensor:
    """Which scores are less than the `count` best of their row, [rows, vocab]."""
    return scores < scores.topk(min(count, scores.shape[-1])).values[..., -1:]


def _least(count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise GenerationError(f"`min_tokens_to_keep` must be an integer of at least 1, but is {count!r}.")
    return count
