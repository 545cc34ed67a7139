"""A folder or hub repository -> its weight files and their headers, with every problem of theirs in one error."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from seqgraft import folders
from seqgraft.checkpoints.headers import Header, read_safetensors
from seqgraft.checkpoints.layout import HDF5, MSGPACK, PICKLE, SAFETENSORS, index_names, single_name
from seqgraft.checkpoints.pickles import read_pickle
from seqgraft.errors import CheckpointError, FolderError
from seqgraft.folders import Origin

if TYPE_CHECKING:
    from seqgraft.checkpoints.renamed import Reading

Kind = Literal["safetensors", "pickle", "hdf5", "msgpack", "index"]
INDEX = ".ckpt.index"
_KINDS: dict[str, Kind] = {SAFETENSORS: "safetensors", PICKLE: "pickle", HDF5: "hdf5", MSGPACK: "msgpack"}
_OF = {"pt": (SAFETENSORS, PICKLE), "tf": (SAFETENSORS, HDF5), "flax": (SAFETENSORS, MSGPACK)}
_ORDER = {
    "pt": (SAFETENSORS, PICKLE, HDF5, MSGPACK),
    "tf": (SAFETENSORS, HDF5, PICKLE, MSGPACK),
    "flax": (MSGPACK, SAFETENSORS, PICKLE, HDF5),
}
"""Whose files come first -> the files in the order of the search."""


@dataclass(frozen=True)
class WeightFiles:
    """The headers of a checkpoint's tensors, whichever files they are in."""

    source: str
    headers: dict[str, Header]
    kind: Kind
    metadata: dict[str, str] = field(default_factory=dict)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """name -> shape, as `plan_reading` takes it."""
        return {name: header.shape for name, header in self.headers.items()}

    @property
    def dtypes(self) -> frozenset[str]:
        """The dtypes that occur, by safetensors' names."""
        return frozenset(header.dtype for header in self.headers.values())

    def same(self, first: str, second: str) -> bool:
        """Whether two stored tensors are equal bit for bit (not read when they are one and the same storage)."""
        a, b = self.headers[first], self.headers[second]
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            return False
        if (a.file, a.start, a.strides) == (b.file, b.start, b.strides):
            return True
        if a.strides != b.strides:
            from seqgraft.checkpoints.maps import mapped, same_bits

            return same_bits(mapped(a), mapped(b))
        return all(one == other for one, other in zip(a.chunks(), b.chunks(), strict=True))


def open_weights(
    source: str | os.PathLike[str],
    origin: Origin | None = None,
    *,
    variant: str | None = None,
    use_safetensors: bool | None = None,
    framework: str | None = None,
    first: str = "pt",
) -> WeightFiles:
    """Find the weights of a folder or hub repository and read their headers, no data.

    Those of Flax and TensorFlow have PyTorch's names and layout here. Single files come before sharded ones,
    safetensors before others; `use_safetensors` allows or excludes that format; `framework` (pt, tf, flax) allows one
    framework's files only, whose safetensors say so; `first` says whose come first. With tf a TensorFlow checkpoint of
    the original BERT release serves too: its index file, or a folder of one.
    Raises FolderError when there are none, CheckpointError with every problem of the files found.
    """
    name = os.fspath(source)
    wanted = [
        base
        for base in (_ORDER[first] if framework is None else _OF[framework])
        if use_safetensors is None or use_safetensors == (base == SAFETENSORS)
    ]
    index = _release_index(source) if framework == "tf" else None
    if index is not None and not Path(source).expanduser().is_dir():
        return _gather(name, "index", [index], None)
    looked = [single_name(base, variant) for base in wanted] + [index_names(base, variant)[0] for base in wanted]
    for base in wanted:
        found = _found(name, base, source, origin, variant)
        if found is None:
            continue
        said = found.metadata.get("format", "pt")
        if base != SAFETENSORS or framework in (None, said) or (framework == "pt" and said not in _OF):
            return found
        looked.append(f"{SAFETENSORS} (the one that is there is of the format '{said}')")
    if index is not None:
        return _gather(name, "index", [index], None)
    raise FolderError(_nothing(source, origin, looked, framework))


def _found(
    name: str, base: str, source: str | os.PathLike[str], origin: Origin | None, variant: str | None
) -> WeightFiles | None:
    file = folders.find(source, single_name(base, variant), origin)
    if file is not None:
        return _gather(name, _KINDS[base], [file], None)
    for index_name in index_names(base, variant):
        index = folders.find(source, index_name, origin)
        if index is not None:
            return _sharded(name, _KINDS[base], index, source, origin)
    return None


def _release_index(source: str | os.PathLike[str]) -> Path | None:
    """The index of a TensorFlow checkpoint: itself, its name without the ending, or the only one of a folder."""
    path = Path(source).expanduser()
    if path.is_dir():
        held = sorted(path.glob(f"*{INDEX}"))
        return held[0] if len(held) == 1 else None
    tried = (path, path.with_name(f"{path.name}.index"))
    return next((one for one in tried if one.name.endswith(INDEX) and one.is_file()), None)


def _headers(kind: Kind, file: Path) -> tuple[dict[str, Header], dict[str, str], Reading | None]:
    """A file's headers by published names, what it says of itself, and how its index's names are read."""
    from seqgraft.checkpoints.renamed import published, reading

    metadata: dict[str, str] = {}
    if kind == "safetensors":
        held, metadata = read_safetensors(file)
        how = reading(metadata.get("format"), leveled=False)
        in_index = reading(metadata.get("format"), leveled=True)
    elif kind == "pickle":
        return read_pickle(file), {}, None
    elif kind == "msgpack":
        from seqgraft.checkpoints.flax_file import read_flax

        held, how = read_flax(file), reading("flax", leveled=False)
        in_index = how
    elif kind == "hdf5":
        from seqgraft.checkpoints.hdf5_file import read_hdf5

        held, leveled = read_hdf5(file)
        how, in_index = reading("tf", leveled=leveled), reading("tf", leveled=True)
    else:
        from seqgraft.checkpoints.index_file import read_index

        held, how, in_index = read_index(file), reading("bert", leveled=False), None
    return (held if how is None else published(held, how, file)), metadata, in_index


def _gather(
    name: str,
    kind: Kind,
    files: list[Path],
    weight_map: dict[str, Path | None] | None,
    faults: tuple[str, ...] = (),
) -> WeightFiles:
    """Read every file's headers; `weight_map` says which file the index expects each tensor in."""
    found = list(faults)
    headers: dict[str, Header] = {}
    metadata: dict[str, str] = {}
    broken: set[Path] = set()
    in_index: Reading | None = None
    held: dict[Path, dict[str, Header]] = {}
    for file in files:
        try:
            held[file], more, in_index = _headers(kind, file)
        except (CheckpointError, OSError) as error:
            found.append(str(error))
            broken.add(file)
            continue
        metadata.update(more)
    if weight_map is not None and in_index is not None:
        weight_map = {(in_index(tensor) or (tensor, False))[0]: place for tensor, place in weight_map.items()}
    for file, read in held.items():
        for tensor, header in read.items():
            if tensor in headers:
                found.append(f"'{tensor}' must be in one shard, but is in {headers[tensor].file} and in {file}.")
            else:
                headers[tensor] = header
                if weight_map is not None and tensor not in weight_map:
                    found.append(f"{file} holds '{tensor}', which the index must name, but does not.")
    for tensor, place in (weight_map or {}).items():
        if place is None or place in broken:
            continue
        if tensor not in headers:
            found.append(f"'{tensor}' must be in {place}, as the index says, but is not.")
        elif headers[tensor].file != place:
            found.append(f"'{tensor}' must be in {place}, as the index says, but is in {headers[tensor].file}.")
    if found:
        raise CheckpointError(_listed(f"The weights of '{name}' cannot be read", found))
    return WeightFiles(name, headers, kind, metadata)


def _sharded(
    name: str,
    kind: Kind,
    index: Path,
    source: str | os.PathLike[str],
    origin: Origin | None,
) -> WeightFiles:
    try:
        weight_map = folders.read_json(index).get("weight_map")
    except FolderError as error:
        raise CheckpointError(str(error)) from error
    if (
        not isinstance(weight_map, dict)
        or not weight_map
        or not all(isinstance(file, str) for file in weight_map.values())
    ):
        raise CheckpointError(f"{index} must hold a `weight_map` of tensor names to file names, but does not.")
    faults: list[str] = []
    places: dict[str, Path | None] = {}
    for shard in dict.fromkeys(weight_map.values()):
        try:
            places[shard] = folders.find(source, shard, origin)
        except FolderError as error:
            places[shard] = None
            faults.append(f"{index} names the shard '{shard}': {error}")
            continue
        if places[shard] is None:
            count = sum(file == shard for file in weight_map.values())
            faults.append(f"{index} names the shard '{shard}' ({count} tensors), which must be beside it, but is not.")
    expected = {tensor: places[shard] for tensor, shard in weight_map.items()}
    return _gather(name, kind, [place for place in places.values() if place], expected, tuple(faults))


def _nothing(source: str | os.PathLike[str], origin: Origin | None, looked: list[str], framework: str | None) -> str:
    message = f"'{os.fspath(source)}' must hold weights as {', '.join(looked)}, but holds none of them."
    folder = Path(source).expanduser() / (origin.subfolder if origin else "")
    if not folder.is_dir():
        return f"{message} (Offline, only what the cache holds is seen.)"
    endings = (".safetensors", ".bin", ".h5", ".msgpack", ".index")
    held = sorted(p.name for p in folder.iterdir() if p.suffix in endings or ".index." in p.name)
    if not held:
        return message
    told = f" Without `from_{framework}` any framework's files serve." if framework is not None else ""
    if framework is None and any(name.endswith(INDEX) for name in held):
        told = " A TensorFlow checkpoint is opened with `from_tf=True` and `config=`."
    return f"{message} It holds {', '.join(held)}.{told}"


def _listed(what: str, problems: list[str]) -> str:
    if len(problems) == 1:
        return f"{what}: {problems[0]}"
    return f"{what}, for {len(problems)} reasons:" + "".join(f"\n  - {problem}" for problem in problems)
