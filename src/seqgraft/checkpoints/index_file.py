"""The headers of a TensorFlow checkpoint (`model.ckpt.index` and its data files), without TensorFlow.

The index is a table of sorted names (LevelDB's format: blocks of entries whose names share a beginning, and an index of
the blocks), each with a protocol buffer that says dtype, shape and where the bytes lie in which data file
(tensorflow/core/util/tensor_bundle, tensorflow/core/lib/io/table). Checksums of index and data are compared.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from seqgraft.checkpoints.crc32c import crc32c, masked
from seqgraft.checkpoints.headers import Header
from seqgraft.errors import CheckpointError

_INDEX = ".index"
_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_LARGEST = 1 << 28
"""Bytes that an index may have: BERT's has some ten thousand."""
_DTYPES = {1: "F32", 2: "F64", 3: "I32", 4: "U8", 5: "I16", 6: "I8", 9: "I64", 10: "BOOL", 14: "BF16", 19: "F16"}


@dataclass(frozen=True)
class _Fields:
    """A protocol buffer's fields: number -> values, whole numbers or bytes."""

    held: dict[int, list[int | bytes]]

    def number(self, field: int) -> int:
        value = self.held.get(field, [0])[-1]
        if not isinstance(value, int):
            raise ValueError(f"field {field} must be a number")
        return value

    def texts(self, field: int) -> list[bytes]:
        values = self.held.get(field, [])
        if any(isinstance(value, int) for value in values):
            raise ValueError(f"field {field} must be bytes")
        return [value for value in values if isinstance(value, bytes)]


def read_index(file: Path) -> dict[str, Header]:
    """Variable's name -> header of every tensor that an index names, the data files compared with their checksums.

    Raises CheckpointError when the index or a data file is damaged, or a tensor is stored in slices.
    """
    try:
        return _read(file)
    except (ValueError, IndexError, struct.error, KeyError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{file} must be the index of a TensorFlow checkpoint, but is damaged: {error}."
        ) from error


def _read(file: Path) -> dict[str, Header]:
    size = file.stat().st_size
    data = file.read_bytes() if size <= _LARGEST else b""
    if len(data) < _FOOTER or struct.unpack("<Q", data[-8:])[0] != _MAGIC:
        raise CheckpointError(f"{file} must be the index of a TensorFlow checkpoint, but does not end as one.")
    _, at = _varint(data, len(data) - _FOOTER)  # where an index of meta blocks is, of which there are none
    _, at = _varint(data, at)
    entries: dict[str, _Fields] = {}
    for _, handle in _entries(_block(data, *_handle(data[at:]))):
        for name, value in _entries(_block(data, *_handle(handle))):
            entries[name.decode("utf-8")] = _fields(value)
    if "" not in entries or entries[""].number(2) != 0:
        raise CheckpointError(f"{file} must hold a header of little-endian data, but does not.")
    shards = entries.pop("").number(1)
    return {name: _header(file, shards, name, entry) for name, entry in entries.items()}


def _header(file: Path, shards: int, name: str, entry: _Fields) -> Header:
    if 7 in entry.held:
        raise CheckpointError(f"{file}: '{name}' must be stored whole, but is stored in slices.")
    if entry.number(1) not in _DTYPES:
        raise CheckpointError(
            f"{file}: '{name}' must be an array of numbers, but is of TensorFlow's {entry.number(1)}."
        )
    dims = [_fields(one) for shape in entry.texts(2) for one in _fields(shape).texts(2)]
    shape = tuple(dim.number(1) for dim in dims)
    place = file.with_name(f"{file.name.removesuffix(_INDEX)}.data-{entry.number(3):05d}-of-{shards:05d}")
    header = Header(shape, _DTYPES[entry.number(1)], place, entry.number(4))
    if any(not 0 <= n < 1 << 40 for n in shape) or header.size != entry.number(5):
        raise CheckpointError(
            f"{file}: '{name}' {list(shape)} must take {header.size:,} bytes, but takes {entry.number(5):,}."
        )
    if not place.is_file() or place.stat().st_size < header.start + header.size:
        raise CheckpointError(f"{place} must hold the {header.size:,} bytes of '{name}', but does not.")
    if masked(crc32c(header.chunks())) != entry.number(6):
        raise CheckpointError(f"{place} must hold the bytes of '{name}' that the index was made for, but does not.")
    return header


def _block(data: bytes, offset: int, size: int) -> bytes:
    """The contents of a block, its checksum compared."""
    if offset + size + 5 > len(data):
        raise ValueError("a block goes beyond the end")
    if masked(crc32c([data[offset : offset + size + 1]])) != struct.unpack_from("<I", data, offset + size + 1)[0]:
        raise ValueError("a block's checksum is another one")
    if data[offset + size] != 0:
        raise ValueError("a block is compressed, which TensorFlow's own are not")
    return data[offset : offset + size]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, value) of a block; at its end are the places where names begin anew, and their number."""
    restarts = struct.unpack("<I", block[-4:])[0]
    end = len(block) - 4 * (restarts + 1)
    at, name = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(name) or at + own + length > end:
            raise ValueError("an entry goes beyond its block")
        name = name[:shared] + block[at : at + own]
        at += own
        yield name, block[at : at + length]
        at += length


def _handle(data: bytes) -> tuple[int, int]:
    """(offset, size) of a block."""
    offset, at = _varint(data, 0)
    return offset, _varint(data, at)[0]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        byte = data[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at
    raise ValueError("a number has more than 64 bits")


def _fields(data: bytes) -> _Fields:
    """https://protobuf.dev/programming-guides/encoding/"""
    held: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        value: int | bytes
        if key & 7 == 0:
            value, at = _varint(data, at)
        elif key & 7 in (1, 5):
            width = 8 if key & 7 == 1 else 4
            value, at = int.from_bytes(data[at : at + width], "little"), at + width
        elif key & 7 == 2:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise ValueError(f"a field is of the kind {key & 7}")
        if at > len(data):
            raise ValueError("a field goes beyond its end")
        held.setdefault(key >> 3, []).append(value)
    return _Fields(held)
