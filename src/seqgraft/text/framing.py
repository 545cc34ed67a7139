"""What stands around a text: `[CLS] text [SEP]`, `<s> text </s>`, kept in the backend's post-processor."""

import threading
from collections.abc import Iterator
from itertools import islice
from typing import Any

from tokenizers import processors

from seqgraft.errors import TokenizerError
from seqgraft.text.vocabulary import Vocabulary


class Framing(Vocabulary):
    """The part of a tokenizer that adds special tokens around one or two texts."""

    _add_bos = False
    _add_eos = False
    _lock: threading.Lock  # padding and truncation are the backend's state
    _state: tuple[Any, ...]

    @property
    def add_bos_token(self) -> bool:
        """Whether `bos_token` is put before each text; setting it rewrites the frame."""
        return self._add_bos

    @add_bos_token.setter
    def add_bos_token(self, value: bool) -> None:
        self._add_bos = bool(value)
        self.update_post_processor()

    @property
    def add_eos_token(self) -> bool:
        """Whether `eos_token` is put after each text; setting it rewrites the frame."""
        return self._add_eos

    @add_eos_token.setter
    def add_eos_token(self, value: bool) -> None:
        self._add_eos = bool(value)
        self.update_post_processor()

    def update_post_processor(self) -> None:
        """Rewrite the frame from `add_bos_token` and `add_eos_token`; a token that is not set is not added."""
        self._add_bos = self._add_bos and self.bos_token is not None
        self._add_eos = self._add_eos and self.eos_token is not None
        before = [str(self.bos_token)] if self._add_bos else []
        after = [str(self.eos_token)] if self._add_eos else []
        single = [*(f"{t}:0" for t in before), "$A:0", *(f"{t}:0" for t in after)]
        second = [*(f"{t}:1" for t in before), "$B:1", *(f"{t}:1" for t in after)]
        self._backend.post_processor = processors.TemplateProcessing(
            single=single,
            pair=[*single, *second],
            special_tokens=[(token, self.token_to_id(token)) for token in dict.fromkeys([*before, *after])],
        )

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens one text (or a pair) gets."""
        count: int = self._backend.num_special_tokens_to_add(pair)
        return count

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Ids of one or two texts -> the row of ids with the special tokens."""
        return [index for index, _ in self._framed(token_ids_0, token_ids_1)]

    def get_special_tokens_mask(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """1 where the row holds a special token, 0 elsewhere; the row is framed first unless it is already."""
        if not already_has_special_tokens:
            return [mask for _, mask in self._framed(token_ids_0, token_ids_1)]
        if token_ids_1 is not None:
            raise TokenizerError(
                "A row that has its special tokens must be given alone, but `token_ids_1` is given too."
            )
        special = set(self.all_special_ids)
        return [int(index in special) for index in token_ids_0]

    def _framed(self, first: list[int], second: list[int] | None) -> list[tuple[int, int]]:
        """(id, is special) of the framed row. The backend frames only texts, so one shows where the tokens go."""
        row: list[tuple[int, int]] = []
        placed: set[int] = set()
        texts = {0: first, 1: second or []}
        for index, sequence in self._probe(second is not None):
            if sequence is None:
                row.append((index, 1))
            elif sequence not in placed:
                placed.add(sequence)
                row += [(int(index), 0) for index in texts[sequence]]
        return row

    def _probe(self, pair: bool) -> list[tuple[int, int | None]]:
        """(id, sequence) of a framed short text or pair; sequence is None for special tokens."""
        for probe in self._probes():
            encoding = self._encode_plain((probe, probe) if pair else probe)
            found = list(zip(encoding.ids, encoding.sequence_ids, strict=True))
            if {0, 1} <= {s for _, s in found} or (not pair and 0 in {s for _, s in found}):
                return found
        raise TokenizerError("No text of this tokenizer's vocabulary shows where its special tokens go.")

    def _probes(self) -> Iterator[str]:
        """Short texts, one of which gives a token."""
        yield from ("a", ".")
        yield from islice(self.get_vocab(), 64)

    def _encode_plain(self, text: Any) -> Any:
        """One text or pair -> its framed `tokenizers.Encoding`, without the padding that was last used."""
        with self._lock:
            self._reset_state()
            return self._backend.encode(*(text if isinstance(text, tuple) else (text,)))

    def _reset_state(self) -> None:
        """Forget the last call's padding and truncation (under the lock)."""
        self._state = ()
        self._backend.no_padding()
        self._backend.no_truncation()
