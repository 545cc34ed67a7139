"""What settings make of scores [rows, vocabulary] before a token is chosen, in the field's order.

Beams hand in log-probabilities, greedy search and sampling logits. What depends on a row's tokens is kept from step to
step (`memory`) or asked of its last tokens, so that no step looks at a whole text times a whole vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from seqgraft.errors import GenerationError
from seqgraft.functional.ops import Array, Ops, Size
from seqgraft.functional.settings import Settings

Memory = dict[str, Array]
"""`seen` [rows, vocabulary], true for the tokens of a row, where a penalty wants it."""


class Processors:
    """The rules of one search, with their constants made once, outside of its loop.

    A size that is a Python number is known to the compiler: rules that cannot hold there cost nothing.
    """

    def __init__(self, ops: Ops, settings: Settings, vocabulary: int) -> None:
        """GenerationError for forced or bad tokens that the vocabulary does not have."""
        self.ops, self.settings, self.vocabulary = ops, settings, vocabulary
        self._banned = ops.array(-math.inf, "float32")
        singles = [word[0] for word in settings.bad_words if len(word) == 1]
        self._check("bad_words_ids", [i for word in settings.bad_words for i in word])
        self._check("forced_bos_token_id", [] if settings.forced_first is None else [settings.forced_first])
        self._check("forced_eos_token_id", settings.forced_last)
        self._single = self._set(singles)
        self._ends = self._set(settings.ends)
        self._suppressed = self._set(settings.suppressed)
        self._first = self._set(settings.suppressed_first)
        self._last = self._only(settings.forced_last)
        self._words: list[tuple[int, Array, Array]] = []  # tokens before, [words, before], and what ends them [words]
        for length in sorted({len(word) for word in settings.bad_words} - {1}):
            words = np.array([word for word in settings.bad_words if len(word) == length], np.int32)
            self._words.append((length - 1, ops.array(words[:, :-1], "int32"), ops.array(words[:, -1], "int32")))
        self._window = max([before for before, _, _ in self._words] + [settings.no_repeat_ngram - 1, 0])

    def start(self, sequences: Array, mask: Array | None = None) -> Memory:
        """Of the prompt, the first columns of sequences [rows, total]; mask [rows, prompt], 0 where it is padding."""
        if self.settings.repetition_penalty == 1.0:
            return {}
        ops, prompt = self.ops, sequences[:, : self.settings.prompt]
        counted = ops.full(ops.shape(prompt), 1, "int32")
        if mask is not None:  # only what stands before the first token that is seen
            shown = ops.cast(mask != 0, "int32")
            behind = (ops.cumsum(shown, 1) > 0) | (ops.sum(shown, 1, keepdims=True) == 0)
            counted = ops.cast(behind, "int32")
        inside = prompt < self.vocabulary
        counts = ops.full((ops.shape(prompt)[0], self.vocabulary), 0, "int32")
        index = ops.minimum(prompt, self.vocabulary - 1)
        return {"seen": ops.scatter_add(counts, index, counted * ops.cast(inside, "int32")) > 0}

    def noted(self, memory: Memory, tokens: Array) -> Memory:
        """The memory with a token [rows] more of every row."""
        if not memory:
            return memory
        newest = self.ops.arange(self.vocabulary)[None] == tokens[:, None]
        return {"seen": memory["seen"] | newest}

    def moved(self, memory: Memory, index: Array) -> Memory:
        """The memory of the rows of these numbers."""
        return {name: self.ops.take(value, index) for name, value in memory.items()}

    def __call__(self, scores: Array, sequences: Array, size: Size, memory: Memory) -> Array:
        """Scores [rows, vocabulary] after the first `size` tokens of sequences [rows, total]."""
        ops, settings = self.ops, self.settings
        if memory:
            penalty = settings.repetition_penalty
            scores = ops.where(memory["seen"], ops.where(scores < 0, scores * penalty, scores / penalty), scores)
        repeated = self._repeated(sequences, size)
        if repeated is not None:
            scores = ops.where(repeated, self._banned, scores)
        scores = self._ban(scores, self._single)
        if settings.min_length > settings.prompt:
            scores = self._ban(scores, self._ends, size < settings.min_length)
        if settings.forced_first is not None and isinstance(size, int) and size == 1:
            scores = self._force(scores, self._only((settings.forced_first,)))
        scores = self._force(scores, self._last, size == settings.total - 1)
        scores = self._ban(scores, self._suppressed)
        # The token after a forced first one counts as the first.
        first = settings.prompt + (settings.prompt == 1 and settings.forced_first is not None)
        return self._ban(scores, self._first, size == first)

    def _repeated(self, sequences: Array, size: Size) -> Array | None:
        """The tokens that would complete a bad word, or an n-gram that is there already [rows, vocabulary]."""
        ops, length = self.ops, self.settings.no_repeat_ngram
        if not self._words and not length:
            return None
        rows = ops.shape(sequences)[0]
        recent = None
        if self._window:
            index = ops.arange(self._window) + (size - self._window)
            recent = ops.take(sequences, ops.maximum(index, 0), 1)  # [rows, window]; with rubbish where rows are short
        places, hits = [], []
        for before, prefixes, ends in self._words:
            if recent is None or (isinstance(size, int) and size < before):
                continue
            hit = ops.all(recent[:, None, self._window - before :] == prefixes[None], -1)
            hits.append(hit if isinstance(size, int) else hit & (size >= before))
            places.append(ops.broadcast(ends[None], ops.shape(hit)))
        if length and self.settings.total > length:
            windows = self.settings.total - length  # the last one ends a place before the last token
            closing = sequences[:, length - 1 : length - 1 + windows]
            hit = (ops.arange(windows) + length <= size)[None] & (closing < self.vocabulary)
            for step in range(length - 1):
                if recent is not None:
                    newest = recent[:, self._window - (length - 1) + step]
                    hit = hit & (sequences[:, step : step + windows] == newest[:, None])
            hits.append(hit)
            places.append(ops.minimum(closing, self.vocabulary - 1))
        if not hits:
            return None
        counts = ops.full((rows, self.vocabulary), 0, "int32")
        place = places[0] if len(places) == 1 else ops.concatenate(places, 1)
        found = hits[0] if len(hits) == 1 else ops.concatenate(hits, 1)
        return ops.scatter_add(counts, place, ops.cast(found, "int32")) > 0

    def _ban(self, scores: Array, banned: Array | None, when: Array | bool = True) -> Array:
        if banned is None or when is False:
            return scores
        return self.ops.where(banned if when is True else banned & when, self._banned, scores)

    def _force(self, scores: Array, forced: Array | None, when: Array | bool = True) -> Array:
        if forced is None or when is False:
            return scores
        whole = self.ops.broadcast(forced, self.ops.shape(scores))
        return whole if when is True else self.ops.where(when, whole, scores)

    def _set(self, tokens: Sequence[int]) -> Array | None:
        """[1, vocabulary], true for the tokens; None where there are none. Those outside of it say nothing."""
        inside = [token for token in tokens if 0 <= token < self.vocabulary]
        if not inside:
            return None
        made = np.zeros((1, self.vocabulary), np.bool_)
        made[:, inside] = True
        return self.ops.array(made, "bool")

    def _only(self, tokens: Sequence[int]) -> Array | None:
        """[1, vocabulary]: 0 for the tokens, and nothing else may come."""
        if not tokens:
            return None
        made = np.full((1, self.vocabulary), -np.inf, np.float32)
        made[:, list(tokens)] = 0
        return self.ops.array(made, "float32")

    def _check(self, name: str, tokens: Sequence[int]) -> None:
        outside = sorted({token for token in tokens if not 0 <= token < self.vocabulary})
        if outside:
            raise GenerationError(f"`{name}` must be below the vocabulary's {self.vocabulary}, but has {outside}.")
