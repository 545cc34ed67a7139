"""One stored tensor -> a numpy array that maps its bytes; dtypes by the names of safetensors. No framework here.

`bfloat16` is that of `ml_dtypes`, which JAX and TensorFlow both bring.
"""

import importlib
import mmap
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqgraft.checkpoints.headers import Header
from seqgraft.errors import CheckpointError, MissingExtraError

Array = NDArray[Any]

_PLAIN = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16", "I32": "int32", "U32": "uint32",
    "I64": "int64", "U64": "uint64", "F16": "float16", "F32": "float32", "F64": "float64", "C64": "complex64",
}  # fmt: skip
_FURTHER = {"BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
"""Of `ml_dtypes`, as the frameworks call them."""
_CODES = {name: code for code, name in (_PLAIN | _FURTHER).items()}
_BLOCK = 1 << 24


def dtype_called(code: str) -> np.dtype[Any]:
    """The numpy dtype of a name of safetensors, such as F32 or BF16."""
    if code in _PLAIN:
        return np.dtype(_PLAIN[code])
    if code not in _FURTHER:
        raise CheckpointError(f"A dtype must be one of {', '.join(_PLAIN | _FURTHER)} to be an array, but is {code}.")
    try:
        further = importlib.import_module("ml_dtypes")
    except ImportError as error:
        raise MissingExtraError(
            f"Arrays of {_FURTHER[code]} need ml_dtypes: pip install 'seqgraft[flax]' or 'seqgraft[tensorflow]'."
        ) from error
    found: np.dtype[Any] = np.dtype(getattr(further, _FURTHER[code]))
    return found


def code_of(dtype: Any) -> str:
    """The name that safetensors gives a numpy dtype, or a dtype's own name such as 'bfloat16'."""
    name = str(dtype) if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in _CODES:
        raise CheckpointError(f"A dtype must be one of {', '.join(_CODES)} to be written, but is {name}.")
    return _CODES[name]


def mapped(header: Header) -> Array:
    """A stored tensor as a map of its file, in memory of its own where its bytes are not aligned."""
    dtype = dtype_called(header.dtype)
    if not header.size:
        return np.empty(header.shape, dtype)
    if header.parts or header.start % dtype.itemsize:
        flat = np.empty(header.size // dtype.itemsize, dtype)
        header.read_into(flat.view(np.uint8))
    else:
        before = header.start % mmap.ALLOCATIONGRANULARITY
        with header.file.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size < header.start + header.size:
                raise header.cut_short()
            held = mmap.mmap(
                stream.fileno(), header.size + before, access=mmap.ACCESS_COPY, offset=header.start - before
            )
        flat = np.frombuffer(held, dtype, header.size // dtype.itemsize, before)
    if header.strides is None:
        return flat.reshape(header.shape)
    steps = tuple(step * dtype.itemsize for step in header.strides)
    return np.lib.stride_tricks.as_strided(flat, header.shape, steps)


def same_bits(one: Array, other: Array) -> bool:
    """Whether two arrays are of one shape and dtype and equal bit for bit, looked at in parts."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return all(a.tobytes() == b.tobytes() for a, b in zip(blocks(one), blocks(other), strict=True))


def blocks(array: Array) -> Iterator[Array]:
    """Groups of rows, of some megabytes each; the array itself where it has no rows."""
    if array.ndim == 0 or not array.size:
        yield array
        return
    step = max(_BLOCK // max(array.nbytes // len(array), 1), 1)
    for at in range(0, len(array), step):
        yield array[at : at + step]
