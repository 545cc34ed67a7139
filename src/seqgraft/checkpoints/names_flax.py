"""Flax's names and layouts of published tensors: `a.b.weight` (out, in) is `a/b/kernel` (in, out).

The rules are the originals' (`transformers` 4.57.6, modeling_flax_pytorch_utils.py), without their guesses: what a
tensor is, its family's declaration says. A norm without a mean keeps the name `weight`, as T5's and Llama's do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from seqgraft.errors import CheckpointError

if TYPE_CHECKING:
    from seqgraft.checkpoints.kinds import Kind

_LEAVES: dict[Kind, str] = {"map": "kernel", "convolution": "kernel", "table": "embedding", "norm": "scale"}


def to_flax(name: str, kind: Kind) -> tuple[str, bool]:
    """A published name -> (path with slashes, whether the axes are in the opposite order there)."""
    module, _, leaf = name.rpartition(".")
    if leaf == "weight" and kind in _LEAVES:
        leaf = _LEAVES[kind]
    path = f"{module}.{leaf}" if module else leaf
    return path.replace(".", "/"), leaf == "kernel"


def from_flax(path: str) -> tuple[str, bool]:
    """A path with slashes or dots -> (published name, whether the axes are in the opposite order there)."""
    module, _, leaf = path.replace("/", ".").rpartition(".")
    modern = "weight" if leaf in ("kernel", "embedding", "scale") else leaf
    return f"{module}.{modern}" if module else modern, leaf == "kernel"


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Paths with slashes -> nested dictionaries. Raises CheckpointError where a tensor and a module have one path."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *modules, leaf = path.split("/")
        inner = tree
        for module in modules:
            inner = inner.setdefault(module, {})
            if not isinstance(inner, dict):
                raise CheckpointError(f"'{path}' must have a path of its own, but a tensor has a part of it.")
        inner[leaf] = value
    return tree
