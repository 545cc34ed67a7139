"""Tokens that a row or its source already has."""

import torch
from torch import Tensor
from torch.nn import functional

from seqgraft.errors import GenerationError
from seqgraft.torch.processors.base import BANNED, LogitsProcessor, RowTable


class RepetitionPenaltyLogitsProcessor(LogitsProcessor):
    """Divides the positive scores of tokens that occurred by `penalty`, and multiplies the negative ones.

    Keskar et al. 2019, CTRL (https://arxiv.org/abs/1909.05858). The first `prompt_ignore_length` tokens do not
    count: one number, or `[rows]`.
    """

    def __init__(self, penalty: float, prompt_ignore_length: int | Tensor | None = None) -> None:
        if not penalty > 0:
            raise GenerationError(f"`repetition_penalty` must be more than 0, but is {penalty!r}.")
        self.penalty = float(penalty)
        self.prompt_ignore_length = prompt_ignore_length
        self._ignored = RowTable(prompt_ignore_length) if isinstance(prompt_ignore_length, Tensor) else None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self._ignored is not None:
            positions = torch.arange(input_ids.shape[1], device=input_ids.device)
            ignored = positions < self._ignored.of(input_ids)[:, None]
            input_ids = input_ids.masked_fill(ignored, scores.shape[-1])
        elif self.prompt_ignore_length is not None:
            input_ids = input_ids[:, self.prompt_ignore_length :]
        return _penalized(scores, input_ids, self.penalty)

    def keep(self, rows: Tensor) -> None:
        if self._ignored is not None:
            self._ignored.keep(rows)

    def start(self) -> None:
        if self._ignored is not None:
            self._ignored.start()


class EncoderRepetitionPenaltyLogitsProcessor(LogitsProcessor):
    """Favours the tokens of the row's source: the inverse of a repetition penalty, against invented words.

    `encoder_input_ids [sources, source_time]`: rows are source-major.
    """

    def __init__(self, penalty: float, encoder_input_ids: Tensor) -> None:
        if not penalty > 0:
            raise GenerationError(f"`encoder_repetition_penalty` must be more than 0, but is {penalty!r}.")
        self.penalty = 1 / penalty
        self.encoder_input_ids = encoder_input_ids
        self._source = RowTable(encoder_input_ids)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return _penalized(scores, self._source.of(input_ids), self.penalty)

    def keep(self, rows: Tensor) -> None:
        self._source.keep(rows)

    def start(self) -> None:
        self._source.start()


def _penalized(scores: Tensor, ids: Tensor, penalty: float) -> Tensor:
    """scores [rows, vocab] with those of the tokens ids [rows, time] divided if positive, multiplied if negative."""
    vocab = scores.shape[-1]
    padded = functional.pad(scores, (0, 1))  # one column more takes the ids that the output layer does not have
    ids = ids.clamp(max=vocab)
    seen = padded.gather(1, ids)
    padded.scatter_(1, ids, torch.where(seen < 0, seen * penalty, seen / penalty))
    return padded[:, :vocab]


class NoRepeatNGramLogitsProcessor(LogitsProcessor):
    """Forbids the token that would repeat an n-gram of the row (Paulus et al. 2017, https://arxiv.org/abs/1705.04304)."""

    def __init__(self, ngram_size: int) -> None:
        if ngram_size < 1:
            raise GenerationError(f"`no_repeat_ngram_size` must be at least 1, but is {ngram_size}.")
        self.ngram_size = ngram_size
        self.shortest = ngram_size

    def _windows(self, input_ids: Tensor) -> Tensor:
        """The n-grams that may not come again, [rows, windows, ngram_size]."""
        return input_ids.unfold(1, self.ngram_size, 1)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        time, vocab = input_ids.shape[1], scores.shape[-1]
        if time < self.shortest:
            return scores
        windows = self._windows(input_ids)
        suffix = input_ids[:, time + 1 - self.ngram_size :]
        matching = (windows[..., :-1] == suffix[:, None]).all(dim=-1)
        ends = torch.where(matching, windows[..., -1].clamp(max=vocab), vocab)  # [rows, windows]
        return functional.pad(scores, (0, 1)).scatter_(1, ends, BANNED)[:, :vocab]


class EncoderNoRepeatNGramLogitsProcessor(NoRepeatNGramLogitsProcessor):
    """Forbids the token that would copy an n-gram of the row's source (Roller et al. 2020, Blenderbot).

    `encoder_input_ids [sources, source_time]`: rows are source-major.
    """

    def __init__(self, encoder_ngram_size: int, encoder_input_ids: Tensor) -> None:
        if encoder_ngram_size < 1:
            raise GenerationError(f"`encoder_no_repeat_ngram_size` must be at least 1, but is {encoder_ngram_size}.")
        super().__init__(encoder_ngram_size)
        self.shortest = encoder_ngram_size - 1
        short = encoder_input_ids.shape[1] < encoder_ngram_size
        self._source = None if short else RowTable(encoder_input_ids.unfold(1, encoder_ngram_size, 1))

    def _windows(self, input_ids: Tensor) -> Tensor:
        if self._source is None:
            return input_ids.new_empty((len(input_ids), 0, self.ngram_size))
        return self._source.of(input_ids)

    def keep(self, rows: Tensor) -> None:
        if self._source is not None:
            self._source.keep(rows)

    def start(self) -> None:
        if self._source is not None:
            self._source.start()
