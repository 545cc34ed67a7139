"""How the field names weight files, and how tensors are shared out among shards."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seqgraft.errors import CheckpointError

SAFETENSORS = "model.safetensors"
PICKLE = "pytorch_model.bin"
QUANTIZED = ("int8", "fp8")
"""Variants that quantised weights are written as: under the plain name, other libraries would take them for broken
floats and fill the model with random ones."""
HDF5 = "tf_model.h5"
MSGPACK = "flax_model.msgpack"

_UNITS = {"TB": 10**12, "GB": 10**9, "MB": 10**6, "KB": 10**3}


@dataclass(frozen=True)
class Layout:
    """Which tensors go into which file, and the index beside them if there are several."""

    files: dict[str, tuple[str, ...]]
    """file name -> the tensors in it, in the order given"""
    index_name: str | None
    index: dict[str, Any] | None


def single_name(base: str, variant: str | None = None) -> str:
    """`model.safetensors`, or of a variant `model.fp16.safetensors`."""
    if not variant:
        return base
    if not re.fullmatch(r"[\w-]+", variant):
        raise CheckpointError(f"`variant` must be a part of a file's name, such as 'fp16', but is {variant!r}.")
    stem, _, ending = base.rpartition(".")
    return f"{stem}.{variant}.{ending}"


def index_names(base: str, variant: str | None = None) -> tuple[str, ...]:
    """Names that the index of a sharded save may have, the one written today first.

    `transformers` writes `model.safetensors.index.fp16.json`; others put the variant where the single file has it.
    """
    if not variant:
        return (f"{base}.index.json",)
    return (f"{base}.index.{variant}.json", f"{single_name(base, variant)}.index.json")


def stale_weights(variant: str | None = None, bases: tuple[str, ...] = (SAFETENSORS, PICKLE)) -> tuple[str, ...]:
    """Patterns of the files that a save of this variant replaces, in either format; other variants' files stay, and so
    do other frameworks', unless `bases` names them.

    Quantised weights and those without a variant replace each other: the folder's configuration says which it holds.
    """
    patterns: list[str] = []
    for each in (None, *QUANTIZED) if variant is None or variant in QUANTIZED else (variant,):
        for base in bases:
            one = single_name(base, each)
            stem, _, ending = one.rpartition(".")
            shard = "[0-9]" * 5 + "-of-" + "[0-9]" * 5
            patterns += [one, f"{stem}-{shard}.{ending}", *index_names(base, each)]
    return tuple(patterns)


STALE_WEIGHTS = stale_weights()
"""What a save without a variant replaces; hand it to `folders.saving(stale=...)`."""


def parse_size(size: int | str) -> int:
    """Bytes: `5_000_000`, or "5MB" (units of 1000: KB, MB, GB, TB)."""
    number: int | float = -1
    if isinstance(size, int):
        number = size
    else:
        text = size.strip()
        try:
            number = float(text[:-2]) * _UNITS[text[-2:].upper()]
        except (KeyError, ValueError):
            number = -1
    if not 0 < number < 2**63:
        raise CheckpointError(f"`max_shard_size` must be bytes above zero, or a text such as '5GB', but is {size!r}.")
    return max(int(number), 1)


def shards(
    sizes: Mapping[str, int],
    max_shard_size: int | str = "50GB",
    *,
    base: str = SAFETENSORS,
    variant: str | None = None,
    parameters: int | None = None,
) -> Layout:
    """Fill shards with the tensors in their order, `sizes` in bytes; a larger tensor gets a shard of its own.

    Shards and index are the ones that `transformers` makes; `parameters` is the index's count of elements.
    """
    limit = parse_size(max_shard_size)
    groups: list[list[str]] = []
    open_group: list[str] = []
    filled = 0
    for name, size in sizes.items():
        if size > limit:
            groups.append([name])
            continue
        if filled + size > limit:
            groups.append(open_group)
            open_group, filled = [], 0
        open_group.append(name)
        filled += size
    if open_group or not groups:
        groups.append(open_group)
    one = single_name(base, variant)
    if len(groups) == 1:
        return Layout({one: tuple(groups[0])}, None, None)
    stem, _, ending = one.rpartition(".")
    files = {
        f"{stem}-{number:05d}-of-{len(groups):05d}.{ending}": tuple(group)
        for number, group in enumerate(groups, start=1)
    }
    metadata: dict[str, int] = {"total_size": sum(sizes.values())}
    if parameters is not None:
        metadata["total_parameters"] = parameters
    weight_map = {name: file for file, names in files.items() for name in names}
    return Layout(files, index_names(base, variant)[0], {"metadata": metadata, "weight_map": weight_map})
