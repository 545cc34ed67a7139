"""What a tokenizer is made from, whether a folder or a caller gave it."""

import copy
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tokenizers
from tokenizers import AddedToken
from tokenizers.models import BPE, WordPiece

from seqgraft.errors import TokenizerError
from seqgraft.text.sentencepiece import Pieces

Vocabulary = str | os.PathLike[str] | Mapping[str, int] | Sequence[tuple[str, float]]
Merges = str | os.PathLike[str] | Sequence[Any]


@dataclass
class Recipe:
    """Either `backend` (a whole tokenizer), or `pieces` (SentencePiece), or `vocab` with or without `merges`."""

    backend: tokenizers.Tokenizer | None = None
    vocab: Vocabulary | None = None
    merges: Merges | None = None
    pieces: Pieces | None = None
    options: dict[str, Any] = field(default_factory=dict)
    chosen: frozenset[str] = frozenset()  # the options that the caller named, not a file
    added: dict[int, AddedToken] = field(default_factory=dict)
    carried: dict[str, Any] = field(default_factory=dict)  # fields of tokenizer_config.json that mean nothing here

    def words(self, owner: str) -> dict[str, int]:
        """The WordPiece vocabulary: token -> id. Raises TokenizerError when there is none."""
        if isinstance(self.vocab, str | os.PathLike):
            return dict(_read(WordPiece.read_file, self.vocab))
        if isinstance(self.vocab, Mapping):
            return dict(self.vocab)
        raise TokenizerError(f"{owner} must be given `vocab` (a file or a dictionary) or a `tokenizer_object`.")

    def bytes_pairs(self, owner: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
        """The BPE vocabulary, token -> id, and its merges in order. Raises TokenizerError when one is missing."""
        if isinstance(self.vocab, str | os.PathLike) and isinstance(self.merges, str | os.PathLike):
            vocab, merges = _read(BPE.read_file, self.vocab, self.merges)
            return dict(vocab), list(merges)
        vocab = read_vocab(self.vocab) if isinstance(self.vocab, str | os.PathLike) else self.vocab
        if not isinstance(vocab, Mapping):
            raise TokenizerError(
                f"{owner} must be given `vocab` and `merges` (files or values) or a `tokenizer_object`."
            )
        if isinstance(self.merges, str | os.PathLike):
            return dict(vocab), read_merges(self.merges)
        pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in self.merges or ()]
        return dict(vocab), [(left, right) for left, right in pairs]

    def scored(self, owner: str) -> list[tuple[str, float]]:
        """The unigram vocabulary, (token, log-probability) in id order. Raises TokenizerError when there is none."""
        if self.vocab is None or isinstance(self.vocab, str | os.PathLike | Mapping):
            raise TokenizerError(f"{owner} must be given `vocab` as (token, score) pairs, or a `tokenizer_object`.")
        return [(token, score) for token, score in self.vocab]


def open_backend(tokenizer_object: Any, tokenizer_file: str | os.PathLike[str] | None) -> tokenizers.Tokenizer | None:
    """A copy of the object, or the tokenizer that a tokenizer.json holds, or None when neither is given."""
    if tokenizer_object is not None:
        if not isinstance(tokenizer_object, tokenizers.Tokenizer):
            raise TokenizerError(
                f"`tokenizer_object` must be a tokenizers.Tokenizer, but is a {type(tokenizer_object).__name__}."
            )
        return copy.deepcopy(tokenizer_object)
    if tokenizer_file is None:
        return None
    backend: tokenizers.Tokenizer = _read(tokenizers.Tokenizer.from_file, tokenizer_file)
    return backend


def read_vocab(path: str | os.PathLike[str]) -> dict[str, int]:
    """vocab.json: token -> id."""
    with open(path, encoding="utf-8") as file:
        try:
            vocab = json.load(file)
        except ValueError as error:
            raise TokenizerError(f"{path} must hold a JSON vocabulary, but does not: {error}.") from error
    if not isinstance(vocab, dict) or not all(isinstance(index, int) for index in vocab.values()):
        raise TokenizerError(f"{path} must hold a JSON object of token -> id, but holds something else.")
    return vocab


def read_merges(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """merges.txt: one pair a line, in order; a first line `#version` is passed over."""
    with open(path, encoding="utf-8") as file:
        lines = [line.rstrip("\r\n") for line in file]
    pairs = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    if any(len(pair) != 2 for pair in pairs):
        raise TokenizerError(f"{path} must hold two tokens a line, but a line holds another number of them.")
    return [(left, right) for left, right in pairs]


def _read(reader: Any, *paths: str | os.PathLike[str]) -> Any:
    try:
        return reader(*(os.fspath(path) for path in paths))
    except Exception as error:  # the Rust library raises bare Exceptions
        named = " and ".join(os.fspath(path) for path in paths)
        raise TokenizerError(f"{named} must hold a tokenizer's vocabulary, but cannot be read: {error}") from error
