"""The headers of `pytorch_model.bin` without PyTorch and without running what the pickle asks for.

A pickle is a program. This one is interpreted with every global replaced by a record of what it would have built;
a global that is none of those that a plain dictionary of tensors needs is refused by name. Both layouts end with
the storages' raw bytes, so tensors of either can be mapped like those of a safetensors file.
"""

import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from seqgraft.checkpoints.headers import BYTES, Header
from seqgraft.errors import CheckpointError

_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
    "ByteStorage": "U8", "BoolStorage": "BOOL", "UntypedStorage": "U8",
}  # fmt: skip
_DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL", "uint16": "U16", "uint32": "U32", "uint64": "U64",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip


@dataclass(frozen=True)
class _Dtype:
    name: str


@dataclass(frozen=True)
class _Storage:
    dtype: str
    key: str
    skip: int
    """Bytes from the beginning of the stored bytes of `key`."""
    size: int
    """Bytes."""


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _RefusedError(Exception):
    """The pickle asks for something that only code could give."""


def _rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> _Tensor:
    shape, strides = tuple(shape), tuple(strides)
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or not all(type(n) is int and n >= 0 for n in numbers):
        raise _RefusedError("a tensor that is not made of a storage, a shape and strides")
    dtype = next((r.name for r in rest if isinstance(r, _Dtype)), storage.dtype)
    return _Tensor(storage, dtype, offset, shape, strides)


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _typed(function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    if function is not _rebuild:
        raise _RefusedError("a tensor of a class of its own")
    return _rebuild(*arguments)


_PLAIN: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor": _rebuild,
    "torch._utils._rebuild_tensor_v2": _rebuild,
    "torch._utils._rebuild_tensor_v3": _rebuild,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _typed,
    "torch.Size": tuple,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in _PLAIN:
            return _PLAIN[full]
        if module in ("torch", "torch.storage", "torch.cuda") and name in _STORAGES:
            return _Dtype(_STORAGES[name])
        if module == "torch" and name in _DTYPES:
            return _Dtype(_DTYPES[name])
        if full in ("torch.Tensor", "torch.nn.parameter.Parameter", "torch._tensor.Tensor"):
            return full
        raise _RefusedError(f"the global `{full}`")

    def persistent_load(self, pid: Any) -> Any:
        try:
            kind, dtype, key, _, count, *view = pid
            skip = view[0][1] if view and view[0] else 0
            count = view[0][2] if view and view[0] else count
            known = kind == "storage" and isinstance(dtype, _Dtype) and type(count) is type(skip) is int and skip >= 0
        except (TypeError, ValueError, IndexError):
            known = False
        if not known:
            raise _RefusedError(f"the storage {str(pid)[:100]}")
        width = BYTES[dtype.name]
        return _Storage(dtype.name, str(key), skip * width, count * width)


def read_pickle(file: Path) -> dict[str, Header]:
    """The headers of one `.bin` file, of PyTorch's zip layout or of the older one.

    Raises CheckpointError when it is damaged, or holds anything but a dictionary of plain tensors.
    """
    try:
        with file.open("rb") as stream:
            value, places = _read_zip(stream) if zipfile.is_zipfile(file) else _read_legacy(stream)
    except _RefusedError as error:
        raise CheckpointError(
            f"{file} must hold nothing but tensors, but asks for {error}, which could run any code. "
            "It was not run. Ask its author for a safetensors file."
        ) from error
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle raises almost anything
        raise CheckpointError(
            f"{file} must be a file of `torch.save`, but cannot be read as one: it is truncated or damaged "
            f"({type(error).__name__}: {error})."
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{file} must hold a dictionary of tensors, but holds a {type(value).__name__}.")
    return {name: _header(file, name, tensor, places) for name, tensor in value.items()}


def _read_zip(stream: BinaryIO) -> tuple[Any, dict[str, tuple[int, int]]]:
    """The unpickled value, and for every storage (byte of the file where it begins, bytes)."""
    with zipfile.ZipFile(stream) as archive:
        inside = {info.filename.partition("/")[2]: info for info in archive.infolist()}
        if "byteorder" in inside and archive.read(inside["byteorder"]) != b"little":
            raise _RefusedError("bytes in big-endian order")
        with archive.open(inside["data.pkl"]) as data:
            value = _Unpickler(data, encoding="utf-8").load()
    places: dict[str, tuple[int, int]] = {}
    for name, info in inside.items():
        if name.startswith("data/") and info.compress_type == zipfile.ZIP_STORED:
            stream.seek(info.header_offset + 26)
            name_length, extra_length = struct.unpack("<HH", stream.read(4))
            places[name[5:]] = (info.header_offset + 30 + name_length + extra_length, info.file_size)
    return value, places


def _read_legacy(stream: BinaryIO) -> tuple[Any, dict[str, tuple[int, int]]]:
    """As `_read_zip`, for the layout before PyTorch 1.6: five pickles, then each storage after its count."""
    if _Unpickler(stream).load() != _MAGIC:
        raise ValueError("it does not begin with PyTorch's number")
    _Unpickler(stream).load(), _Unpickler(stream).load()
    unpickler = _Widths(stream, encoding="utf-8")
    value = unpickler.load()
    keys = _Unpickler(stream).load()
    places: dict[str, tuple[int, int]] = {}
    for key in keys:
        count = int.from_bytes(stream.read(8), "little")
        places[key] = (stream.tell(), count * unpickler.widths[key])
        stream.seek(places[key][1], 1)
    return value, places


class _Widths(_Unpickler):
    """Remembers how many bytes an element of each storage has, which the older layout does not say again."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.widths: dict[str, int] = {}

    def persistent_load(self, pid: Any) -> Any:
        storage = super().persistent_load(pid)
        self.widths[storage.key] = BYTES[storage.dtype]
        return storage


def _header(file: Path, name: Any, tensor: Any, places: dict[str, tuple[int, int]]) -> Header:
    if not isinstance(name, str) or not isinstance(tensor, _Tensor):
        kind = type(tensor).__name__
        raise CheckpointError(
            f"{file} must hold a dictionary of names to tensors, but holds {name!r} -> {kind}. "
            "(A training checkpoint? Save its model's `state_dict()` alone.)"
        )
    if tensor.storage.key not in places:
        raise CheckpointError(f"{file}: the bytes of '{name}' must be in the file, uncompressed, but are not.")
    begin, held = places[tensor.storage.key]
    start = tensor.storage.skip + tensor.offset * BYTES[tensor.dtype]
    header = Header(tensor.shape, tensor.dtype, file, begin + start, _strides(tensor))
    if start + header.size > held or begin + held > file.stat().st_size:
        raise CheckpointError(
            f"{file}: '{name}' must have {header.size:,} bytes from byte {header.start:,} on, "
            "but the file or its storage ends before: it is truncated."
        )
    return header


def _strides(tensor: _Tensor) -> tuple[int, ...] | None:
    step, plain = 1, []
    for n in reversed(tensor.shape):
        plain.append(step)
        step *= n
    ones = [n == 1 for n in tensor.shape]
    same = all(one or a == b for one, a, b in zip(ones, tensor.strides, reversed(plain), strict=True))
    return None if same or 0 in tensor.shape else tensor.strides
