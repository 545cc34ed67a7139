"""Weight files -> numpy arrays, mapped where they lie; numpy arrays -> weight files. No framework here.

What JAX and TensorFlow read and write with, as PyTorch does with `torch/weights.py`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from seqgraft.checkpoints.files import WeightFiles
from seqgraft.checkpoints.headers import FLOATS, header_text
from seqgraft.checkpoints.layout import SAFETENSORS, shards
from seqgraft.checkpoints.maps import Array, blocks, code_of, mapped
from seqgraft.errors import CheckpointError
from seqgraft.families.naming import Piece, Written
from seqgraft.folders import write_json


def code_of_most(files: WeightFiles) -> str:
    """The floating type of a checkpoint, by the name of safetensors: that of most of its bytes; F32 where none."""
    count: dict[str, int] = {}
    for header in files.headers.values():
        if header.dtype in FLOATS:
            count[header.dtype] = count.get(header.dtype, 0) + header.size
    return max(count, key=lambda code: count[code]) if count else "F32"


class ArrayReader:
    """Arrays of a checkpoint. Each is a map of its own, read when first touched; dropping it gives its pages back.

    What is turned, strided, or rows of a source is a view of such a map, so it need not be contiguous. Writing to one
    changes a private copy of the page, never the file. Arrays outlive the reader.
    """

    def __init__(self, files: WeightFiles) -> None:
        self.files = files

    def raw(self, name: str) -> Array:
        """One stored tensor, whole, in its stored shape and dtype."""
        try:
            return mapped(self.files.headers[name])
        except KeyError:
            raise CheckpointError(f"'{self.files.source}' must hold the tensor '{name}', but does not.") from None

    def array(self, piece: Piece) -> Array:
        """One canonical array: linear weights are (out, in)."""
        whole = self.raw(piece.source)
        if piece.expert is not None:
            whole = whole[piece.expert]
        if piece.heads:
            whole = whole.reshape(*whole.shape[:-2], -1)
        if piece.turned:
            whole = whole.T
        if piece.rows is None:
            return whole
        start, stop = piece.rows
        if piece.blocks == 1:
            return whole[start:stop]
        cut = whole.reshape(piece.blocks, -1, *whole.shape[1:])[:, start:stop]
        return cut.reshape(-1, *whole.shape[1:])


def assembled(written: Written, held: Mapping[str, Array]) -> Array:
    """One tensor of a file from the canonical ones that it is made of: a view where it is one, else a new array."""
    parts = [held[part] for part in written.parts]
    if len(parts) == 1 and not written.experts:
        whole = parts[0].T if written.turned else parts[0]
        return whole.reshape(len(whole), written.heads, -1) if written.heads else whole
    each = len(parts) // (written.experts or 1)
    groups = []
    for at in range(0, len(parts), each):
        rows = [part.reshape(written.blocks, -1, *part.shape[1:]) for part in parts[at : at + each]]
        group = np.concatenate(rows, 1).reshape(-1, *parts[at].shape[1:])
        groups.append(group.T if written.turned else group)
    return np.stack(groups) if written.experts else groups[0]


def write_arrays(
    folder: Path,
    arrays: Mapping[str, Array],
    *,
    max_shard_size: int | str = "50GB",
    variant: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write the arrays into `folder` as one safetensors file, or as shards and their index; return the paths written.

    Without `metadata` it is `{"format": "pt"}`.
    """
    sizes = {name: array.nbytes for name, array in arrays.items()}
    count = sum(array.size for array in arrays.values())
    layout = shards(sizes, max_shard_size, base=SAFETENSORS, variant=variant, parameters=count)
    written: list[Path] = []
    for file, names in layout.files.items():
        written.append(folder / file)
        part = {name: arrays[name] for name in names}
        write_safetensors(written[-1], part, metadata if metadata is not None else {"format": "pt"})
    if layout.index_name and layout.index:
        written.append(folder / layout.index_name)
        write_json(written[-1], layout.index)
    return written


def write_safetensors(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write one file; what is not contiguous is made so some megabytes at a time."""
    described = {name: (code_of(array.dtype), array.shape) for name, array in arrays.items()}
    text, order = header_text(described, metadata)
    with path.open("wb") as stream:
        stream.write(text)
        for name in order:
            for block in blocks(arrays[name]):
                stream.write(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
