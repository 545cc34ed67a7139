"""What a tokenizer returns: rows of ids by name, the maps between characters, words and tokens, and tensors of them."""

import importlib
from collections import UserDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seqgraft.errors import MissingExtraError, TokenizerError

_ROOMS = {"pt": "torch", "jax": "flax", "tf": "tensorflow"}


class CharSpan(NamedTuple):
    """Characters `start` to `end` (exclusive) of the text."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens `start` to `end` (exclusive) of a row."""

    start: int
    end: int


class BatchEncoding(UserDict[str, Any]):
    """A dictionary of rows, whose names are attributes too; `model(**batch)` works.

    `batch[0]` is the first row's `tokenizers.Encoding`, `batch[:2]` the first two rows of every value.
    """

    def __init__(
        self,
        data: dict[str, Any] | None = None,
        encoding: Any = None,
        tensor_type: str | None = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
    ) -> None:
        super().__init__(data)
        if encoding is not None and not isinstance(encoding, Sequence):
            encoding = [encoding]
        self._encodings: Sequence[Any] | None = encoding
        self.n_sequences = encoding[0].n_sequences if n_sequences is None and encoding else n_sequences
        self.convert_to_tensors(tensor_type, prepend_batch_axis)

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, str):
            return self.data[item]
        if self._encodings is not None:
            return self._encodings[item]
        if isinstance(item, slice):
            return {key: value[item] for key, value in self.data.items()}
        raise KeyError(f"A batch is read by a name, by a slice, or (fresh from a tokenizer) by a row, not by {item!r}.")

    def __getattr__(self, name: str) -> Any:
        if name != "data" and name in self.data:
            return self.data[name]
        raise AttributeError(f"This batch holds {', '.join(self.__dict__.get('data', {})) or 'nothing'}, not {name!r}.")

    def __getstate__(self) -> dict[str, Any]:
        return {"data": self.data, "_encodings": self._encodings, "n_sequences": self.n_sequences}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def is_fast(self) -> bool:
        """Whether the maps between characters, words and tokens are here."""
        return self._encodings is not None

    @property
    def encodings(self) -> Sequence[Any] | None:
        """One `tokenizers.Encoding` a row, or None when the batch did not come from text."""
        return self._encodings

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of one row."""
        return list(self._row(batch_index).tokens)

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of one row its word's number in the text; None for special tokens."""
        return list(self._row(batch_index).word_ids)

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of one row 0 (first text), 1 (second text) or None (special)."""
        return list(self._row(batch_index).sequence_ids)

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Which of the pair's texts holds the token."""
        row, token = self._place(batch_or_token_index, token_index)
        found: int | None = row.token_to_sequence(token)
        return found

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The number of the word that holds the token."""
        row, token = self._place(batch_or_token_index, token_index)
        found: int | None = row.token_to_word(token)
        return found

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """The characters of the text that became the token; None for special tokens."""
        row, token = self._place(batch_or_token_index, token_index)
        span = row.token_to_chars(token)
        return None if span is None else CharSpan(*span)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The token that holds the character; None for a space that no token holds."""
        row, char = self._place(batch_or_char_index, char_index)
        found: int | None = row.char_to_token(char, sequence_index)
        return found

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The number of the word that holds the character."""
        row, char = self._place(batch_or_char_index, char_index)
        found: int | None = row.char_to_word(char, sequence_index)
        return found

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The tokens of the word."""
        row, word = self._place(batch_or_word_index, word_index)
        span = row.word_to_tokens(word, sequence_index)
        return None if span is None else TokenSpan(*span)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """The characters of the word."""
        row, word = self._place(batch_or_word_index, word_index)
        span = row.word_to_chars(word, sequence_index)
        return None if span is None else CharSpan(*span)

    def convert_to_tensors(self, tensor_type: str | None = None, prepend_batch_axis: bool = False) -> "BatchEncoding":
        """Replace every list by a tensor of `tensor_type` ("pt", "np", "jax", "tf"); None leaves all as it is.

        Raises TokenizerError when rows have unequal lengths.
        """
        if tensor_type is not None:
            for key, value in self.data.items():
                if isinstance(value, list | tuple):
                    self.data[key] = tensor([value] if prepend_batch_axis else value, tensor_type, key)
        return self

    def to(self, device: Any, *, non_blocking: bool = False) -> "BatchEncoding":
        """Move every value that can move to `device`, in place."""
        options = {"non_blocking": True} if non_blocking else {}
        self.data = {k: v.to(device, **options) if hasattr(v, "to") else v for k, v in self.data.items()}
        return self

    def _row(self, index: int) -> Any:
        if not self._encodings:
            raise TokenizerError("Tokens, words and characters are known only to a batch that came from text.")
        return self._encodings[index]

    def _place(self, first: int, second: int | None) -> tuple[Any, int]:
        """`(index,)` means the first row, `(row, index)` any; a negative index counts from the row's end."""
        row, index = (self._row(0), first) if second is None else (self._row(first), second)
        return row, index if index >= 0 else len(row.ids) + index


def tensor(rows: Sequence[Any], kind: str, name: str = "input_ids") -> Any:
    """Equal rows of integers -> one tensor [rows, length] of the framework `kind`.

    Raises TokenizerError for unequal rows or an unknown kind, MissingExtraError when the framework is missing.
    """
    if kind != "np" and kind not in _ROOMS:
        raise TokenizerError(f"`return_tensors` must be 'pt', 'np', 'jax', 'tf' or None, but is {kind!r}.")
    try:
        array = np.asarray(rows, dtype=np.int64)
    except (ValueError, TypeError) as error:
        raise TokenizerError(
            f"`{name}` must be rows of integers of one length to become a tensor, but has {_describe(rows)}; pass "
            "`padding=True` (and `truncation=True`), or leave out `return_tensors`."
        ) from error
    if kind == "np":
        return array
    room = _ROOMS[kind]
    try:
        door = importlib.import_module(f"seqgraft.{room}.tensors")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"`return_tensors={kind!r}` must have {room} installed (`pip install seqgraft[{room}]`), "
            f"but {error.name} is missing."
        ) from error
    return door.from_rows(rows)


def _describe(rows: Sequence[Any]) -> str:
    if all(isinstance(row, list | tuple) for row in rows):
        lengths = sorted({len(row) for row in rows})
        if len(lengths) > 1:
            return f"rows of lengths {', '.join(map(str, lengths[:8]))}"
    return "something else"
