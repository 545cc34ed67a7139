"""A SentencePiece `.model` file -> its pieces, scores and normalisation (the extra `seqgraft[sentencepiece]`)."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from tokenizers import AddedToken

from seqgraft.errors import MissingExtraError, TokenizerError

UNIGRAM, BPE = 1, 2

# Fields of sentencepiece_model.proto that the library's own interface does not give.
_PIECE, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE_KIND, _CONTROL, _USER_DEFINED = 3, 3, 4
_MODEL_TYPE, _BYTE_FALLBACK = 3, 35
_CHARSMAP = 2


@dataclass(frozen=True)
class Pieces:
    """The vocabulary in id order, and what else a tokenizer needs of the model."""

    scored: list[tuple[str, float]]
    kind: int
    unk_id: int
    bos_id: int
    eos_id: int
    byte_fallback: bool
    charsmap: bytes | None
    marked: list[tuple[str, bool]]  # (piece, is control): <s> and what the user defined, found whole in text

    def added(self) -> list[str | AddedToken]:
        """The marked pieces as tokens; control pieces are special."""
        return [AddedToken(piece, normalized=False, special=control) for piece, control in self.marked]


def read(path: str | os.PathLike[str]) -> Pieces:
    """Read a `.model` file.

    Raises MissingExtraError without the sentencepiece package, TokenizerError when the file is no such model.
    """
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise MissingExtraError(
            f"{path} needs the sentencepiece package (`pip install seqgraft[sentencepiece]`), which is not installed."
        ) from error
    try:
        model = SentencePieceProcessor(model_file=os.fspath(path))
    except (RuntimeError, OSError) as error:
        raise TokenizerError(f"{path} must be a SentencePiece model, but cannot be read: {error}") from error
    fields = _fields(model.serialized_model_proto())
    trainer = _fields(fields.get(_TRAINER, [b""])[-1])
    normalizer = _fields(fields.get(_NORMALIZER, [b""])[-1])
    ids = range(model.get_piece_size())
    kinds = [_number(_fields(piece), _PIECE_KIND, 1) for piece in fields[_PIECE]]
    return Pieces(
        scored=[(model.id_to_piece(i), model.get_score(i)) for i in ids],
        kind=_number(trainer, _MODEL_TYPE, UNIGRAM),
        unk_id=model.unk_id(),
        bos_id=model.bos_id(),
        eos_id=model.eos_id(),
        byte_fallback=bool(_number(trainer, _BYTE_FALLBACK, 0)),
        charsmap=_bytes(normalizer, _CHARSMAP),
        marked=[(model.id_to_piece(i), kinds[i] == _CONTROL) for i in ids if kinds[i] in (_CONTROL, _USER_DEFINED)],
    )


def merges(vocab: dict[str, int]) -> list[tuple[str, str]]:
    """The merges of a BPE model, whose file holds only the pieces: every split into two pieces, in id order."""
    found = []
    for piece, rank in vocab.items():
        splits = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        local = [(a, b) for a, b in splits if a in vocab and b in vocab]
        found += [(rank, a, b) for a, b in sorted(local, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))]
    found.sort(key=lambda merge: (merge[0], len(merge[1]), len(merge[2])))
    return [(a, b) for _, a, b in found]


def _number(fields: dict[int, list[int | bytes]], number: int, default: int) -> int:
    value = fields.get(number, [default])[-1]
    return value if isinstance(value, int) else default


def _bytes(fields: dict[int, list[int | bytes]], number: int) -> bytes | None:
    value = fields.get(number, [b""])[-1]
    return value if isinstance(value, bytes) and value else None


def _fields(message: int | bytes) -> dict[int, list[int | bytes]]:
    """A protocol buffer message -> its values by field number, numbers and byte strings undecoded."""
    found: dict[int, list[int | bytes]] = {}
    if isinstance(message, bytes):
        for number, value in _walk(message):
            found.setdefault(number, []).append(value)
    return found


def _walk(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(message, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise TokenizerError(f"A SentencePiece model must hold wire types 0, 1, 2 and 5, but holds {wire}.")
        yield number, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message):
            raise TokenizerError("A SentencePiece model ends in the middle of a number.")
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
