"""The headers of `tf_model.h5`, and how one is written, without TensorFlow; h5py reads and writes the format.

A file has a group for each part of the model, its weights' names (a class, the path of layers, the variable) as
datasets in it, and the names again as attributes. A shard has the datasets alone, by names without the class. What is
stored in one piece, uncompressed, as Keras does, is mapped like a tensor of a safetensors file; anything else, links
and other files among it, is refused.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seqgraft.checkpoints.headers import Header
from seqgraft.checkpoints.maps import Array, code_of
from seqgraft.errors import CheckpointError, MissingExtraError

_LONGEST_ATTRIBUTE = 64_000
"""Bytes that an attribute of HDF5 may have; longer lists are cut into several."""


def h5py() -> Any:
    """The library; MissingExtraError when it is not installed."""
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise MissingExtraError("tf_model.h5 needs h5py: pip install 'seqgraft[tensorflow]'.") from error


def read_hdf5(file: Path) -> tuple[dict[str, Header], bool]:
    """Variable's name -> header of every dataset of one file, and whether the class stands before the names.

    Raises CheckpointError when it is damaged, or holds datasets that are not plain arrays of this file.
    """
    library = h5py()
    found: dict[str, Header] = {}
    try:
        with library.File(file, "r") as held:
            leveled = "backend" in held.attrs or "top_level_model_weights" in held
            _walk(library, file, held, "", found)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{file} must be a file of HDF5, but cannot be read as one: {error}.") from error
    if leveled:  # the first level is the group of the part
        found = {name.partition("/")[2]: header for name, header in found.items()}
    return found, leveled


def _walk(library: Any, file: Path, group: Any, path: str, found: dict[str, Header], depth: int = 0) -> None:
    if depth > 64:
        raise CheckpointError(f"{file} must have groups at most 64 levels deep, but '{path[:100]}' is deeper.")
    for name in group:
        full = f"{path}/{name}" if path else name
        link = group.get(name, getlink=True)
        if not isinstance(link, library.HardLink):
            raise CheckpointError(f"{file}: '{full}' must be in the file itself, but is a link, which is not followed.")
        value = group[name]
        if isinstance(value, library.Group):
            _walk(library, file, value, full, found, depth + 1)
        elif isinstance(value, library.Dataset):
            found[full] = _header(file, full, value)
        else:
            raise CheckpointError(f"{file}: '{full}' must be a group or an array, but is a {type(value).__name__}.")


def _header(file: Path, name: str, dataset: Any) -> Header:
    plain = dataset.dtype.kind in "fiub" and dataset.dtype.isnative
    if not plain or dataset.shape is None:
        raise CheckpointError(f"{file}: '{name}' must be an array of numbers, but is of {dataset.dtype}.")
    if dataset.chunks or dataset.compression or dataset.external or dataset.is_virtual:
        raise CheckpointError(f"{file}: '{name}' must be stored in one piece of this file, uncompressed, but is not.")
    header = Header(tuple(dataset.shape), code_of(dataset.dtype), file, dataset.id.get_offset() or 0)
    if header.size and (not header.start or header.start + header.size > file.stat().st_size):
        raise CheckpointError(f"{file}: '{name}' must have {header.size:,} bytes in the file, but has not.")
    return header


def write_hdf5(path: Path, parts: Mapping[str, Mapping[str, Array]]) -> None:
    """Write one file: part -> (variable's name with the class -> array), as Keras 2 writes a model's weights."""
    with h5py().File(path, "w") as held:
        _names(held, "layer_names", list(parts))
        held.attrs["backend"] = b"tensorflow"
        held.attrs["keras_version"] = b"2.15.0"
        for part in sorted(parts):
            _group(held.create_group(part), parts[part])
        _group(held.create_group("top_level_model_weights"), {})


def write_hdf5_shard(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write one shard: variable's name -> array."""
    with h5py().File(path, "w") as held:
        for name in sorted(arrays):
            _dataset(held, name, arrays[name])
        _names(held, "layer_names", sorted(arrays))


def _group(group: Any, arrays: Mapping[str, Array]) -> None:
    _names(group, "weight_names", list(arrays))
    for name, array in arrays.items():
        _dataset(group, name, array)


def _dataset(group: Any, name: str, array: Array) -> None:
    if array.dtype.kind not in "fiub":
        raise CheckpointError(f"'{name}' must have a dtype that HDF5 knows, but is {array.dtype}: save as safetensors.")
    group.create_dataset(name, data=np.ascontiguousarray(array) if array.ndim else array)


def _names(group: Any, attribute: str, names: list[str]) -> None:
    """A list of names as an attribute, or as several where one would be too long (`weight_names0`, ...)."""
    data = [name.encode("utf-8") for name in names]
    longest = max(map(len, data), default=1)
    step = max(_LONGEST_ATTRIBUTE // longest, 1)
    groups = [data[at : at + step] for at in range(0, len(data), step)] or [[]]
    for number, part in enumerate(groups):
        name = attribute if len(groups) == 1 else f"{attribute}{number}"
        group.attrs[name] = np.array(part, f"S{longest}") if part else np.array([], "S1")
