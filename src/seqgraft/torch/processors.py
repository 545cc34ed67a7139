"""Logits processors: functions of (ids so far `[rows, time]`, scores `[rows, vocab]`) -> scores, in a fixed order.

Each is built only when its setting is on, and none loops over the vocabulary or over rows. Beam search hands them
log-probabilities, greedy search and sampling hand them logits.
"""

import inspect
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from seqgraft.errors import GenerationError

_BANNED = -math.inf


class LogitsProcessor(ABC):
    """Base of the processors; any callable of the same signature serves as well."""

    @abstractmethod
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """ids [rows, time], scores [rows, vocab] -> scores [rows, vocab]; the argument may not be changed in place."""


class LogitsProcessorList(list[Any]):
    """Processors that run one after the other."""

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        for processor in self:
            if not kwargs:
                scores = processor(input_ids, scores)
                continue
            wanted = list(inspect.signature(processor.__call__).parameters)[2:]
            missing = [name for name in wanted if name not in kwargs]
            if missing:
                raise GenerationError(f"{type(processor).__name__} needs the arguments {', '.join(missing)}.")
            scores = processor(input_ids, scores, **(kwargs if wanted else {}))
        return scores


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
        ends = _ids(eos_token_id)
        self.bad_word_ids = bad_words_ids
        super().__init__({tuple(w): _BANNED for w in bad_words_ids if not (len(w) == 1 and w[0] in ends)})


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

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        vocab, ignored = scores.shape[-1], self.prompt_ignore_length
        if isinstance(ignored, Tensor):
            positions = torch.arange(input_ids.shape[1], device=input_ids.device)
            input_ids = input_ids.masked_fill(positions < ignored[:, None], vocab)
        elif ignored is not None:
            input_ids = input_ids[:, ignored:]
        # One column more takes what does not count and the ids that the output layer does not have.
        padded = functional.pad(scores, (0, 1))
        input_ids = input_ids.clamp(max=vocab)
        seen = padded.gather(1, input_ids)
        padded.scatter_(1, input_ids, torch.where(seen < 0, seen * self.penalty, seen / self.penalty))
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
        return functional.pad(scores, (0, 1)).scatter_(1, ends, _BANNED)[:, :vocab]


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
        self._source = None if short else encoder_input_ids.unfold(1, encoder_ngram_size, 1)

    def _windows(self, input_ids: Tensor) -> Tensor:
        if self._source is None:
            return input_ids.new_empty((len(input_ids), 0, self.ngram_size))
        return self._source.to(input_ids.device).repeat_interleave(len(input_ids) // len(self._source), 0)


class MinLengthLogitsProcessor(LogitsProcessor):
    """Forbids the end tokens until a row, its prompt counted, has `min_length` tokens."""

    def __init__(self, min_length: int, eos_token_id: int | Sequence[int], device: Any = None) -> None:
        self.min_length = min_length
        self.eos_token_id = torch.tensor([i for i in _ids(eos_token_id) if i >= 0], dtype=torch.long, device=device)
        self._highest = max(_ids(eos_token_id), default=0)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if input_ids.shape[-1] >= self.min_length:
            return scores
        ends = self.eos_token_id
        if self._highest >= scores.shape[-1]:  # an end token that the output layer does not have
            ends = ends[ends < scores.shape[-1]]
        return scores.index_fill(1, ends, _BANNED)


class MinNewTokensLengthLogitsProcessor(MinLengthLogitsProcessor):
    """Forbids the end tokens until `min_new_tokens` tokens follow the prompt."""

    def __init__(
        self, prompt_length_to_skip: int, min_new_tokens: int, eos_token_id: int | Sequence[int], device: Any = None
    ) -> None:
        super().__init__(prompt_length_to_skip + min_new_tokens, eos_token_id, device)
        self.prompt_length_to_skip = prompt_length_to_skip
        self.min_new_tokens = min_new_tokens


class ForcedBOSTokenLogitsProcessor(LogitsProcessor):
    """Forces the token after a prompt of one token."""

    def __init__(self, bos_token_id: int) -> None:
        self.bos_token_id = bos_token_id

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return _only(scores, [self.bos_token_id]) if input_ids.shape[-1] == 1 else scores


class ForcedEOSTokenLogitsProcessor(LogitsProcessor):
    """Forces the last token of a row that reaches `max_length`."""

    def __init__(self, max_length: int, eos_token_id: int | Sequence[int], device: Any = None) -> None:
        self.max_length = max_length
        self.eos_token_id = _ids(eos_token_id)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return _only(scores, self.eos_token_id) if input_ids.shape[-1] == self.max_length - 1 else scores


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

    def __init__(self, top_k: int, filter_value: float = _BANNED, min_tokens_to_keep: int = 1) -> None:
        if top_k < 1:
            raise GenerationError(f"`top_k` must be at least 1, but is {top_k}.")
        self.top_k = max(top_k, min_tokens_to_keep)
        self.filter_value = filter_value

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        worst_kept = torch.topk(scores, min(self.top_k, scores.shape[-1]))[0][..., -1, None]
        return scores.masked_fill(scores < worst_kept, self.filter_value)


class TopPLogitsWarper(LogitsProcessor):
    """Keeps the best tokens that together have `top_p` of the probability (Holtzman et al. 2019, arXiv:1904.09751)."""

    def __init__(self, top_p: float, filter_value: float = _BANNED, min_tokens_to_keep: int = 1) -> None:
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


def build(
    config: Any,
    *,
    prompt_length: int,
    max_length: int,
    eos_token_ids: Sequence[int],
    device: Any,
    prompt_mask: Tensor | None = None,
    source_ids: Tensor | None = None,
    custom: Sequence[Any] | None = None,
) -> LogitsProcessorList:
    """The processors that a filled `GenerationConfig` asks for, in the field's order, `custom` ones in their place.

    `prompt_mask [rows, prompt_length]`: padding at the left of a prompt does not count as a repetition.
    """
    made = LogitsProcessorList()
    if config.sequence_bias is not None:
        made.append(SequenceBiasLogitsProcessor(config.sequence_bias))
    if config.repetition_penalty != 1.0:
        padding = (prompt_mask != 0).int().argmax(dim=1) if prompt_mask is not None else None
        made.append(RepetitionPenaltyLogitsProcessor(config.repetition_penalty, padding))
    if config.no_repeat_ngram_size > 0:
        made.append(NoRepeatNGramLogitsProcessor(config.no_repeat_ngram_size))
    if config.encoder_no_repeat_ngram_size > 0:
        if source_ids is None:
            raise GenerationError(
                "`encoder_no_repeat_ngram_size` needs the `input_ids` of a source, but there are none."
            )
        made.append(EncoderNoRepeatNGramLogitsProcessor(config.encoder_no_repeat_ngram_size, source_ids))
    if config.bad_words_ids is not None:
        made.append(NoBadWordsLogitsProcessor(config.bad_words_ids, eos_token_ids))
    if eos_token_ids and config.min_length > 0:
        made.append(MinLengthLogitsProcessor(config.min_length, eos_token_ids, device))
    if eos_token_ids and config.min_new_tokens:
        made.append(MinNewTokensLengthLogitsProcessor(prompt_length, config.min_new_tokens, eos_token_ids, device))
    if config.forced_bos_token_id is not None:
        made.append(ForcedBOSTokenLogitsProcessor(config.forced_bos_token_id))
    if config.forced_eos_token_id is not None:
        made.append(ForcedEOSTokenLogitsProcessor(max_length, config.forced_eos_token_id))
    made = LogitsProcessorList(merged(made, custom or ()))
    if config.do_sample:
        keep = 1 + (max(1, len(eos_token_ids)) if config.num_beams > 1 else 0)  # one token more than can end a beam
        if config.temperature != 1.0:
            made.append(TemperatureLogitsWarper(config.temperature))
        if config.top_k > 0:
            made.append(TopKLogitsWarper(config.top_k, min_tokens_to_keep=keep))
        if config.top_p < 1.0:
            made.append(TopPLogitsWarper(config.top_p, min_tokens_to_keep=keep))
    return made


def merged(made: Sequence[Any], custom: Sequence[Any]) -> list[Any]:
    """`made` with `custom` behind; a custom one of the same class takes the place of the one that was made."""
    result: list[Any] = []
    for default in made:
        own = next((c for c in custom if type(c) is type(default)), None)
        if own is not None:
            warnings.warn(
                f"The {type(own).__name__} passed to generate() replaces the one that the settings ask for.",
                UserWarning,
                stacklevel=4,
            )
        result.append(default if own is None else own)
    return result + [c for c in custom if not any(c is r for r in result)]


def _ids(value: Any) -> list[int]:
    if value is None:
        return []
    value = value.tolist() if isinstance(value, Tensor) else value
    return [value] if isinstance(value, int) else list(value)


def _only(scores: Tensor, kept: list[int]) -> Tensor:
    forced = torch.full_like(scores, _BANNED)
    forced[:, kept] = 0
    return forced
