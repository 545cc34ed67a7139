"""What one tensor of a file is and where its bytes lie, and how a safetensors file says so.

The header is parsed here rather than by the library because its readers do not tell the byte offsets, which every
framework's reader needs, and because their errors name neither the file nor the sizes. The checks are the format's:
https://huggingface.co/docs/safetensors/index#format
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seqgraft.errors import CheckpointError

BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1,
    "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4,
    "I64": 8, "U64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
"""Bytes of one element, by the dtype names of safetensors."""

FLOATS = frozenset({"F16", "BF16", "F32", "F64"})
"""The dtypes that a parameter may have."""

_LONGEST_HEADER = 100_000_000
_CHUNK = 1 << 24


@dataclass(frozen=True)
class Header:
    """One stored tensor: its bytes are `file[start:start + size]`, in little-endian order."""

    shape: tuple[int, ...]
    dtype: str
    """The name that safetensors gives it, such as F32 or BF16."""
    file: Path
    start: int
    """Bytes from the beginning of the file to the first element."""
    strides: tuple[int, ...] | None = None
    """Steps in elements along each axis, or None when the elements lie in row-major order (always in safetensors)."""
    parts: tuple[tuple[int, int], ...] = ()
    """(start, bytes) of each, where the bytes lie in several places, one after another; `strides` are then given."""

    @property
    def size(self) -> int:
        """Bytes from the first element to the end of the last."""
        if self.strides is None or 0 in self.shape:
            return math.prod(self.shape) * BYTES[self.dtype]
        return (sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)) + 1) * BYTES[self.dtype]

    def chunks(self) -> Iterator[bytes]:
        """The stored bytes, 16 MiB at a time, read and not mapped, so that nothing stays resident."""
        if self.parts:
            whole = bytearray(self.size)
            self.read_into(whole)
            yield bytes(whole)
            return
        with self.file.open("rb", buffering=0) as stream:
            stream.seek(self.start)
            for at in range(0, self.size, _CHUNK):
                chunk = stream.read(min(_CHUNK, self.size - at))
                if len(chunk) != min(_CHUNK, self.size - at):
                    raise self.cut_short()
                yield chunk

    def read_into(self, buffer: Any, skip: int = 0) -> None:
        """Fill `buffer` with the stored bytes after the first `skip`, read and not mapped."""
        view, at = memoryview(buffer).cast("B"), 0
        if self.parts:
            for start, size in self.parts:
                replace(self, start=start, parts=()).read_into(view[at : at + size])
                at += size
            return
        with self.file.open("rb", buffering=0) as stream:
            stream.seek(self.start + skip)
            while at < len(view):
                count = stream.readinto(view[at : at + _CHUNK])
                if not count:
                    raise self.cut_short()
                at += count

    def cut_short(self) -> CheckpointError:
        """The error of a file that has become shorter since it was opened."""
        return CheckpointError(
            f"{self.file} must have {self.size:,} bytes from byte {self.start:,} on, as when it was opened, "
            "but ends before."
        )


def read_safetensors(file: Path) -> tuple[dict[str, Header], dict[str, str]]:
    """The headers and the metadata of one safetensors file, without reading its data.

    Raises CheckpointError when the file does not follow the format or is cut short.
    """
    held = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if held < 8 or length > min(held - 8, _LONGEST_HEADER):
            raise CheckpointError(
                f"{file} must begin with the length of its header, but that would be {length:,} bytes "
                f"of a file of {held:,}: it is truncated or no safetensors file{_pointer(file, held)}."
            )
        text = stream.read(length)
    try:
        entries = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} must have a header of JSON, but has not: {error}.") from error
    if not isinstance(entries, dict):
        raise CheckpointError(f"{file} must have a JSON object as header, but has a {type(entries).__name__}.")
    metadata = entries.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(f"{file} must have texts as `__metadata__`, but has {str(metadata)[:200]}.")
    begin = 8 + length
    headers = {name: _header(file, name, entry, begin) for name, entry in entries.items()}
    _check_extents(file, headers, begin, held)
    return headers, metadata


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in elements, of a tensor whose last axis is the innermost."""
    strides = [1]
    for n in reversed(shape[1:]):
        strides.append(strides[-1] * max(n, 1))
    return tuple(reversed(strides)) if shape else ()


def turned(header: Header) -> Header:
    """The same bytes, seen with the axes in the opposite order: a kernel (in, out) as a weight (out, in)."""
    strides = header.strides or row_major(header.shape)
    return replace(header, shape=header.shape[::-1], strides=strides[::-1])


def header_text(
    tensors: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, str]
) -> tuple[bytes, list[str]]:
    """The beginning of a safetensors file of these tensors (dtype, shape), and the order in which their bytes follow.

    Wide elements come first, so that every tensor lies aligned.
    """
    order = sorted(tensors, key=lambda name: -BYTES[tensors[name][0]])
    entries: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name in order:
        dtype, shape = tensors[name]
        size = math.prod(shape) * BYTES[dtype]
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, order


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        twice = sorted({name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1})
        raise ValueError(f"it names {', '.join(twice)} twice")
    return entries


def _header(file: Path, name: str, entry: Any, begin: int) -> Header:
    try:
        dtype, shape, (start, stop) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        whole = isinstance(dtype, str) and all(type(n) is int and n >= 0 for n in (*shape, start, stop))
    except (TypeError, KeyError, ValueError):
        whole = False
    if not whole:
        raise CheckpointError(f"{file}: '{name}' must have dtype, shape and data_offsets, but is {str(entry)[:200]}.")
    if dtype not in BYTES:
        raise CheckpointError(f"{file}: '{name}' must have one of the dtypes {', '.join(BYTES)}, but has {dtype}.")
    header = Header(shape, dtype, file, begin + start)
    if stop - start != header.size:
        raise CheckpointError(
            f"{file}: '{name}' {list(shape)} {dtype} must take {header.size:,} bytes, but takes {stop - start:,}."
        )
    return header


def _check_extents(file: Path, headers: dict[str, Header], begin: int, held: int) -> None:
    """Tensors must follow one another without gap or overlap, to the end of the file."""
    at = begin
    for name, header in sorted(headers.items(), key=lambda item: (item[1].start, item[1].size)):
        if header.start != at:
            raise CheckpointError(
                f"{file}: '{name}' must begin at byte {at:,}, where the tensor before it ends, "
                f"but begins at {header.start:,}."
            )
        at += header.size
    if at != held:
        what = "is truncated" if held < at else "has bytes that belong to no tensor"
        raise CheckpointError(f"{file} must have {at:,} bytes by its header, but has {held:,}: it {what}.")


def _pointer(file: Path, held: int) -> str:
    """What a Git LFS pointer, the commonest such file, is told apart by."""
    if held < 1024 and file.read_bytes().startswith(b"version https://git-lfs"):
        return " (it is a Git LFS pointer: run `git lfs pull` in its folder)"
    return f" of {os.fspath(file.name)!r}" if held == 0 else ""
