"""Tokens and sequences that a setting favours or forbids."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.torch.processors.base import BANNED, LogitsProcessor, as_ids, ids_below


class SequenceBiasLogitsProcessor(LogitsProcessor):
    """Adds a bias to the token that would complete a sequence: `{(17, 4): 2.5}` or `[[[17, 4], 2.5]]`."""

    def __init__(self, sequence_bias: Mapping[tuple[int, ...], float] | Sequence[Any]) -> None:
        pairs = sequence_bias.items() if isinstance(sequence_bias, Mapping) else [tuple(p) for p in sequence_bias]
        self.sequence_bias = {tuple(ids): float(bias) for ids, bias in pairs}
        if not all(self.sequence_bias) or any(i < 0 for ids in self.sequence_bias for i in ids):
            raise GenerationError(
                f"`sequence_bias` must map non-empty sequences of token ids to biases, but is {sequence_bias!r}."
            )
        self._single: Tensor | None = None  # [vocab]
        self._longer: list[tuple[Tensor, Tensor, Tensor]] = []  # per length: prefixes [n, length - 1], ends [n], biases

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self._single is None:
            self._single = self._prepare(scores)
        bias = self._single
        for prefixes, ends, biases in self._longer:
            length = prefixes.shape[1]
            if length <= input_ids.shape[1]:
                if bias.dim() == 1:
                    bias = bias.repeat(len(scores), 1)
                matching = (input_ids[:, None, -length:] == prefixes).all(dim=-1)  # [rows, n]
                bias.index_add_(1, ends, torch.where(matching, biases, 0.0))
        return scores + bias

    def _prepare(self, scores: Tensor) -> Tensor:
        vocab, device = scores.shape[-1], scores.device
        outside = sorted({i for ids in self.sequence_bias for i in ids if i >= vocab})
        if outside:
            raise GenerationError(f"Biased or bad token ids must be below the vocabulary's {vocab}, but are {outside}.")
        single = torch.zeros(vocab, device=device, dtype=scores.dtype)
        groups: dict[int, list[tuple[tuple[int, ...], float]]] = {}
        for ids, bias in self.sequence_bias.items():
            if len(ids) == 1:
                single[ids[0]] = bias
            else:
                groups.setdefault(len(ids), []).append((ids, bias))
        self._longer = [
            (
                torch.tensor([ids[:-1] for ids, _ in group], device=device),
                torch.tensor([ids[-1] for ids, _ in group], device=device),
                torch.tensor([bias for _, bias in group], device=device, dtype=scores.dtype),
            )
            for group in groups.values()
        ]
        return single


class NoBadWordsLogitsProcessor(SequenceBiasLogitsProcessor):
    """Forbids sequences; an end token alone is never forbidden."""

    def __init__(self, bad_words_ids: Sequence[Sequence[int]], eos_token_id: int | Sequence[int] | None = None) -> None:
        ends = as_ids(eos_token_id)
        self.bad_word_ids = bad_words_ids
        super().__init__({tuple(w): BANNED for w in bad_words_ids if not (len(w) == 1 and w[0] in ends)})


class SuppressTokensLogitsProcessor(LogitsProcessor):
    """Forbids `suppress_tokens` at every step; ids that the output layer does not have are passed over."""

    def __init__(self, suppress_tokens: Sequence[int] | Tensor, device: Any = None) -> None:
        self.suppress_tokens = as_ids(suppress_tokens)
        self._ids: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self._ids is None or self._ids.device != scores.device:
            self._ids = ids_below(self.suppress_tokens, scores.shape[-1], scores.device)
        return scores.index_fill(1, self._ids, BANNED)


class SuppressTokensAtBeginLogitsProcessor(SuppressTokensLogitsProcessor):
    """Forbids `begin_suppress_tokens` where a row has `begin_index` tokens: as the first that is generated."""

    def __init__(self, begin_suppress_tokens: Sequence[int] | Tensor, begin_index: int, device: Any = None) -> None:
        super().__init__(begin_suppress_tokens, device)
        self.begin_suppress_tokens = self.suppress_tokens
        self.begin_index = begin_index

    def set_begin_index(self, begin_index: int) -> None:
        """Move the step at which the tokens are forbidden."""
        self.begin_index = begin_index

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return super().__call__(input_ids, scores) if input_ids.shape[-1] == self.begin_index else scores
