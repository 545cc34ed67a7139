"""A folder or hub repository -> its weight files and their headers, with every problem of theirs in one error."""

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from seqgraft import folders
from seqgraft.checkpoints.headers import Header, read_safetensors
from seqgraft.checkpoints.layout import FOREIGN, PICKLE, SAFETENSORS, index_names, single_name
from seqgraft.checkpoints.pickles import read_pickle
from seqgraft.errors import CheckpointError, FolderError
from seqgraft.folders import Origin


@dataclass(frozen=True)
class WeightFiles:
    """The headers of a checkpoint's tensors, whichever files they are in."""

    source: str
    headers: dict[str, Header]
    kind: Literal["safetensors", "pickle"]
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
) -> WeightFiles:
    """Find the weights of a folder or hub repository and read their headers, no data.

    Single files come before sharded ones, safetensors before pickles; `use_safetensors` allows one kind only.
    Raises FolderError when there are none, CheckpointError with every problem of the files found.
    """
    kinds: list[tuple[Literal["safetensors", "pickle"], str]] = [("safetensors", SAFETENSORS), ("pickle", PICKLE)]
    wanted = kinds if use_safetensors is None else kinds[:1] if use_safetensors else kinds[1:]
    name = os.fspath(source)
    for kind, base in wanted:
        file = folders.find(source, single_name(base, variant), origin)
        if file is not None:
            return _gather(name, kind, [file], None)
        for index_name in index_names(base, variant):
            index = folders.find(source, index_name, origin)
            if index is not None:
                return _sharded(name, kind, index, source, origin)
    raise FolderError(_nothing(source, origin, variant, [base for _, base in wanted]))


def _gather(
    name: str,
    kind: Literal["safetensors", "pickle"],
    files: list[Path],
    weight_map: dict[str, Path | None] | None,
    faults: tuple[str, ...] = (),
) -> WeightFiles:
    """Read every file's headers; `weight_map` says which file the index expects each tensor in."""
    found = list(faults)
    headers: dict[str, Header] = {}
    metadata: dict[str, str] = {}
    broken: set[Path] = set()
    for file in files:
        try:
            read, more = read_safetensors(file) if kind == "safetensors" else (read_pickle(file), {})
        except (CheckpointError, OSError) as error:
            found.append(str(error))
            broken.add(file)
            continue
        metadata.update(more)
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
    kind: Literal["safetensors", "pickle"],
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


def _nothing(source: str | os.PathLike[str], origin: Origin | None, variant: str | None, bases: list[str]) -> str:
    looked = [single_name(base, variant) for base in bases] + [index_names(base, variant)[0] for base in bases]
    message = f"'{os.fspath(source)}' must hold weights as {', '.join(looked)}, but holds none of them."
    foreign = [file for file in FOREIGN if folders.find(source, file, origin)]
    if foreign:
        named = " and ".join(f"{file} ({FOREIGN[file]})" for file in foreign)
        return f"{message} It holds {named}, which cannot be read yet: convert it to safetensors first."
    folder = Path(source).expanduser() / (origin.subfolder if origin else "")
    if not folder.is_dir():
        return f"{message} (Offline, only what the cache holds is seen.)"
    held = sorted(p.name for p in folder.iterdir() if p.suffix in (".safetensors", ".bin") or ".index." in p.name)
    return f"{message} It holds {', '.join(held)}." if held else message


def _listed(what: str, problems: list[str]) -> str:
    if len(problems) == 1:
        return f"{what}: {problems[0]}"
    return f"{what}, for {len(problems)} reasons:" + "".join(f"\n  - {problem}" for problem in problems)
