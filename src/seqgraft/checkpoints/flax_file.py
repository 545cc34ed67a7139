"""The headers of `flax_model.msgpack`, and how one is written, without Flax.

A file is nested msgpack maps of names; an array is an extension of type 1 that holds msgpack again: shape, name of the
dtype, bytes (flax/serialization.py). So its bytes lie in one place, and are mapped like those of a safetensors file.
Larger than 1 GiB, they come in chunks, as a map of its own. Everything else is refused.
https://github.com/msgpack/msgpack/blob/master/spec.md
"""

import math
import mmap
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from seqgraft.checkpoints.headers import BYTES, Header, row_major
from seqgraft.checkpoints.maps import Array, blocks, code_of
from seqgraft.checkpoints.names_flax import nested
from seqgraft.errors import CheckpointError

_ARRAY = 1
_CHUNKED, _CHUNK = "__msgpack_chunked_array__", 1 << 30
_DEEPEST = 64
_BIN = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_STR = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_MAP = {0xDE: 2, 0xDF: 4}
_LIST = {0xDC: 2, 0xDD: 4}
_EXT = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED_EXT = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_UNSIGNED = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}


def read_flax(file: Path) -> dict[str, Header]:
    """Path with slashes -> header of every array of one file, without reading their bytes.

    Raises CheckpointError when it is damaged, or holds anything but nested dictionaries of arrays.
    """
    with file.open("rb") as stream:
        if not file.stat().st_size:
            raise CheckpointError(f"{file} must hold msgpack, but is empty.")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as held:
            found: dict[str, Header] = {}
            at = _Reader(file, held, len(held)).tree(0, "", found, 0)
            if at != len(held):
                raise CheckpointError(
                    f"{file} must end with its tree of arrays, but goes on for {len(held) - at:,} bytes."
                )
    return found


class _Reader:
    """Walks over the bytes of a file, or of an array inside it; every length is checked before it is used."""

    def __init__(self, file: Path, held: Any, end: int) -> None:
        self.file, self.held, self.end = file, held, end

    def tree(self, at: int, path: str, found: dict[str, Header], depth: int) -> int:
        """Read what begins at a byte, a map or an array, into `found`; returns the byte after it."""
        count = self.count(at, 0x80, _MAP)
        if count is None:
            header, at = self.array(at, path)
            found[path] = header
            return at
        if depth > _DEEPEST:
            raise self.wrong(f"'{path[:100]}' must be at most {_DEEPEST} levels deep, but is not")
        length, at = count
        if length > self.end - at:
            raise self.wrong(f"'{path}' must have a length that fits the file, but would have {length:,} names")
        inner: dict[str, Header] = {}
        chunked = False
        for number in range(length):
            name, at = self.text(at)
            if name == _CHUNKED and number == 0:
                chunked, at = True, at + 1
            elif chunked and name == "shape":
                shape, at = self.numbers(at)
            elif not name or ("/" in name and not chunked):
                raise self.wrong(f"a name must be there and have no slash, but is {name!r}")
            else:
                full = f"{path}/{name}" if path else name
                if full in inner or full in found:
                    raise self.wrong(f"it names '{full}' twice")
                at = self.tree(at, full, inner, depth + 1)
        if chunked:
            found[path] = self.joined(path, shape, list(inner.values()))
        else:
            found.update(inner)
        return at

    def array(self, at: int, path: str) -> tuple[Header, int]:
        """An array's header and the byte after it."""
        first = self.byte(at)
        if first in _FIXED_EXT:
            size, at = _FIXED_EXT[first], at + 1
        elif first in _EXT:
            size, at = self.whole(at + 1, _EXT[first]), at + 1 + _EXT[first]
        else:
            raise self.wrong(f"'{path}' must be an array or a dictionary, but begins with the byte {first:#x}")
        kind, at = self.byte(at), at + 1
        if kind != _ARRAY:
            raise self.wrong(f"'{path}' must be an array (extension type 1), but is an extension of type {kind}")
        after = at + size
        if after > self.end:
            raise self.wrong(f"'{path}' must have {size:,} bytes, but the file ends before: it is truncated")
        inside = _Reader(self.file, self.held, after)
        parts = inside.count(at, 0x90, _LIST)
        if parts is None or parts[0] != 3:
            raise self.wrong(f"'{path}' must be of shape, dtype and bytes, but is not")
        shape, at = inside.list_of_numbers(parts[1])
        name, at = inside.text(at)
        try:
            code = "BF16" if name == "V2" else code_of(name)  # as numpy once called it
        except CheckpointError as error:
            raise self.wrong(f"'{path}' has another dtype: {error}") from error
        first = inside.byte(at)
        if first not in _BIN:
            raise self.wrong(f"'{path}' must hold its bytes, but holds the byte {first:#x}")
        length, at = inside.whole(at + 1, _BIN[first]), at + 1 + _BIN[first]
        if length != math.prod(shape) * BYTES[code] or at + length != after:
            raise self.wrong(f"'{path}' {list(shape)} {name} must take all of its {after - at:,} bytes, but does not")
        return Header(shape, code, self.file, at), after

    def joined(self, path: str, shape: tuple[int, ...], chunks: list[Header]) -> Header:
        """An array that lies in several chunks."""
        held = sum(math.prod(chunk.shape) for chunk in chunks)
        if not chunks or len({chunk.dtype for chunk in chunks}) != 1 or held != math.prod(shape):
            raise self.wrong(
                f"the chunks of '{path}' must be of one dtype and {math.prod(shape):,} numbers, but are not"
            )
        parts = tuple((chunk.start, chunk.size) for chunk in chunks)
        return Header(shape, chunks[0].dtype, self.file, parts[0][0], row_major(shape), parts)

    def count(self, at: int, fixed: int, sized: Mapping[int, int]) -> tuple[int, int] | None:
        """(how many entries, the byte after) of a map or a list; None for anything else."""
        first = self.byte(at)
        if first & 0xF0 == fixed:
            return first & 0x0F, at + 1
        return (self.whole(at + 1, sized[first]), at + 1 + sized[first]) if first in sized else None

    def text(self, at: int) -> tuple[str, int]:
        """A text and the byte after it."""
        first = self.byte(at)
        if first & 0xE0 == 0xA0:
            size, at = first & 0x1F, at + 1
        elif first in _STR or first in _BIN:
            width = _STR.get(first) or _BIN[first]
            size, at = self.whole(at + 1, width), at + 1 + width
        else:
            raise self.wrong(f"a name must be a text, but begins with the byte {first:#x}")
        if at + size > self.end or size > 4096:
            raise self.wrong(f"a name must fit the file and 4,096 bytes, but would have {size:,}")
        try:
            return bytes(self.held[at : at + size]).decode("utf-8"), at + size
        except UnicodeDecodeError as error:
            raise self.wrong(f"a name must be UTF-8, but is not: {error}") from error

    def numbers(self, at: int) -> tuple[tuple[int, ...], int]:
        """The numbers of a shape, which a chunked array has as a map of '0', '1', ..."""
        parts = self.count(at, 0x80, _MAP)
        if parts is None or parts[0] > 16:
            raise self.wrong("the shape of a chunked array must be a map of at most 16 numbers, but is not")
        found, at = [], parts[1]
        for _ in range(parts[0]):
            _, at = self.text(at)
            number, at = self.number(at)
            found.append(number)
        return tuple(found), at

    def list_of_numbers(self, at: int) -> tuple[tuple[int, ...], int]:
        """The numbers of an ordinary shape."""
        parts = self.count(at, 0x90, _LIST)
        if parts is None or parts[0] > 16:
            raise self.wrong("a shape must be a list of at most 16 numbers, but is not")
        found, at = [], parts[1]
        for _ in range(parts[0]):
            number, at = self.number(at)
            found.append(number)
        return tuple(found), at

    def number(self, at: int) -> tuple[int, int]:
        """A whole number that is not negative, and the byte after it."""
        first = self.byte(at)
        if first < 0x80:
            return first, at + 1
        if first not in _UNSIGNED:
            raise self.wrong(f"a shape must be of whole numbers, but holds the byte {first:#x}")
        return self.whole(at + 1, _UNSIGNED[first]), at + 1 + _UNSIGNED[first]

    def whole(self, at: int, width: int) -> int:
        if at + width > self.end:
            raise self.wrong("it is truncated")
        return int.from_bytes(self.held[at : at + width], "big")

    def byte(self, at: int) -> int:
        return self.whole(at, 1)

    def wrong(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self.file} must be Flax's msgpack of arrays, but {what}.")


def write_flax(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write one file of these arrays by their paths with slashes, as Flax's `to_bytes` does."""
    with path.open("wb") as stream:
        _write(stream, nested(arrays))


def _write(stream: IO[bytes], tree: Any) -> None:
    if not isinstance(tree, dict):
        if tree.nbytes > _CHUNK:
            _write_chunked(stream, tree)
        else:
            _write_array(stream, tree.shape, tree)
        return
    stream.write(_sized(len(tree), 0x80, 0xDE))
    for name, inner in tree.items():
        stream.write(_text(name))
        _write(stream, inner)


def _write_array(stream: IO[bytes], shape: tuple[int, ...], array: Array) -> None:
    code_of(array.dtype)
    size = array.nbytes
    head = _sized(3, 0x90, 0xDC) + _sized(len(shape), 0x90, 0xDC) + b"".join(map(_number, shape))
    head += _text(array.dtype.name) + _bin(size)
    length = len(head) + size
    fixed = next((byte for byte, of in _FIXED_EXT.items() if of == length), None)
    if fixed is not None:
        stream.write(bytes([fixed, _ARRAY]))
    else:
        byte = next(byte for byte, width in _EXT.items() if length < 1 << 8 * width)
        stream.write(bytes([byte]) + length.to_bytes(_EXT[byte], "big") + bytes([_ARRAY]))
    stream.write(head)
    for block in blocks(array):
        stream.write(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)


def _write_chunked(stream: IO[bytes], array: Array) -> None:
    stream.write(_sized(3, 0x80, 0xDE) + _text(_CHUNKED) + b"\xc3" + _text("shape"))
    stream.write(_sized(array.ndim, 0x80, 0xDE))
    for axis, length in enumerate(array.shape):
        stream.write(_text(str(axis)) + _number(length))
    chunks = list(_chunks(array))
    stream.write(_text("chunks") + _sized(len(chunks), 0x80, 0xDE))
    for number, chunk in enumerate(chunks):
        stream.write(_text(str(number)))
        _write_array(stream, (chunk.size,), chunk)


def _chunks(array: Array) -> Iterator[Array]:
    """Groups of rows of at most a gibibyte."""
    step = max(_CHUNK // (array.nbytes // len(array)), 1)
    for at in range(0, len(array), step):
        yield array[at : at + step]


def _sized(count: int, fixed: int, byte: int) -> bytes:
    """The head of a map or a list; `byte` is that of 16 bits, the next one that of 32."""
    if count < 16:
        return bytes([fixed | count])
    return struct.pack(">BH", byte, count) if count < 1 << 16 else struct.pack(">BI", byte + 1, count)


def _text(text: str) -> bytes:
    data = text.encode("utf-8")
    if len(data) < 32:
        return bytes([0xA0 | len(data)]) + data
    byte = next(byte for byte, width in _STR.items() if len(data) < 1 << 8 * width)
    return bytes([byte]) + len(data).to_bytes(_STR[byte], "big") + data


def _bin(size: int) -> bytes:
    byte = next(byte for byte, width in _BIN.items() if size < 1 << 8 * width)
    return bytes([byte]) + size.to_bytes(_BIN[byte], "big")


def _number(number: int) -> bytes:
    if number < 0x80:
        return bytes([number])
    byte = next(byte for byte, width in _UNSIGNED.items() if number < 1 << 8 * width)
    return bytes([byte]) + number.to_bytes(_UNSIGNED[byte], "big")
