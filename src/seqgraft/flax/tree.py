"""The params tree: published names cut at their dots, `kernel` [in, out], `embedding` and `scale` for `weight`.

This is how the originals' Flax classes name and lay out every parameter, so that `flax_model.msgpack` files of either
are the other's. The functional core's weights are views of the tree's leaves, inside a compiled program too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from seqgraft.checkpoints.pairs import in_one_file
from seqgraft.config import EncoderDecoderConfig
from seqgraft.families import family
from seqgraft.families.naming import Written, plan_writing
from seqgraft.functional import host
from seqgraft.functional.layout import linear_maps
from seqgraft.spec import parameters

Tree = dict[str, Any]
Path = tuple[str, ...]
_TABLES = ("embed", "positions", "streams", "token_types", "position_bias", "distances")


@dataclass(frozen=True)
class Leaf:
    """One array of the tree."""

    name: str
    """In a PyTorch file."""
    path: Path
    shape: tuple[int, ...]
    written: Written | None
    """Of which canonical tensors a file's is made; None for what is carried along."""
    side: str
    """encoder, decoder, or bridge."""
    turned: bool
    """Whether it is the file's matrix turned."""
    parts: tuple[str, ...] = ()
    """The functional core's names of what it holds."""


def leaves(config: EncoderDecoderConfig, carried: Mapping[str, tuple[int, ...]] | None = None) -> list[Leaf]:
    """Every leaf of a pair's tree. `carried`: names in its file that nothing computes with -> shapes."""
    shapes: dict[str, tuple[int, ...]] = {}
    linear: set[str] = set()
    core: dict[str, str] = {}
    for side in host.SIDES:
        half = getattr(config, side)
        spec = family(half.model_type).half(side).spec(half)  # type: ignore[arg-type]
        maps = linear_maps(spec)
        for name, shape in parameters(spec).items():
            known = f"{side}.{name}"
            shapes[known] = shape
            kernel = name.removesuffix(".weight") in maps and name.endswith(".weight")
            if kernel:
                linear.add(known)
            core[known] = known[:-6] + "kernel" if kernel else known

    def written(side: str, start: str, headed: bool) -> dict[str, tuple[str, Written]]:
        half = getattr(config, side)
        declared = family(half.model_type).half(side)  # type: ignore[arg-type]
        table = parameters(declared.spec(half))
        plan = plan_writing(declared.names(half), table, headed=headed)
        return {start + one.name: (side, one) for one in plan if not one.repeated}

    bridge = {leaf: ("bridge", Written(leaf, (leaf,))) for leaf in ("weight", "bias")} if config.bridge else {}
    found = in_one_file(
        config,
        lambda start, headed: written("encoder", start, headed),
        lambda start, headed: written("decoder", start, headed),
        bridge,
        lambda one: one,
    )
    elsewhere = host.owners(config)
    made = []
    for name, (side, one) in found.items():
        if side == "bridge":
            shape = config.bridge or ()
            turned = one.name == "weight"
            made.append(
                Leaf(
                    name,
                    _path(name, "kernel" if turned else "bias"),
                    shape[::-1] if turned else shape[:1],
                    one,
                    side,
                    turned,
                    (f"bridge.{'kernel' if turned else 'bias'}",),
                )
            )
            continue
        parts = tuple(f"{side}.{part}" for part in one.parts)
        if all(core[part] in elsewhere for part in parts):
            continue
        shape = _shape(one, [shapes[part] for part in parts])
        kernel = parts[0] in linear
        turned = kernel and len(shape) == 2
        leaf = "kernel" if kernel or parts[0].endswith("convolution.weight") else _leaf(parts[0])
        made.append(
            Leaf(
                name,
                _path(name, leaf),
                shape[::-1] if turned else shape,
                one,
                side,
                turned,
                tuple(core[p] for p in parts),
            )
        )
    for name, shape in (carried or {}).items():
        last = name.rpartition(".")[2]
        table = "embed" in name.rpartition(".")[0].rpartition(".")[2]
        turned = last == "weight" and len(shape) == 2 and not table
        leaf = "kernel" if turned else "embedding" if table else "scale" if last == "weight" else last
        made.append(Leaf(name, _path(name, leaf), shape[::-1] if turned else shape, None, "carried", turned))
    return made


def _leaf(canonical: str) -> str:
    module, _, last = canonical.rpartition(".")
    if last != "weight":
        return last
    table = module.rpartition(".")[2] in _TABLES or ".constants." in module
    return "embedding" if table else "scale"


def _path(name: str, leaf: str) -> Path:
    """A file's name -> the tree's; the last word is `leaf` where the file's is `weight`, else the file's."""
    *modules, last = name.split(".")
    return (*modules, leaf if last == "weight" else last)


def _shape(one: Written, parts: list[tuple[int, ...]]) -> tuple[int, ...]:
    """Of the file's tensor."""
    each = len(parts) // (one.experts or 1)
    shape = (sum(part[0] for part in parts[:each]), *parts[0][1:]) if parts[0] else ()
    shape = shape[::-1] if one.turned else shape
    shape = (*shape[:-1], one.heads, shape[-1] // one.heads) if one.heads else shape
    return (one.experts, *shape) if one.experts else shape


def planted(config: EncoderDecoderConfig, tensors: Mapping[str, Any], carried: Mapping[str, tuple[int, ...]]) -> Tree:
    """A file's tensors by name -> the tree, views where possible."""
    tree: Tree = {}
    for leaf in leaves(config, carried):
        put(tree, leaf.path, np.transpose(tensors[leaf.name]) if leaf.turned else tensors[leaf.name])
    return tree


def gathered(config: EncoderDecoderConfig, tree: Mapping[str, Any], carried: Mapping[str, tuple[int, ...]]) -> Tree:
    """The way back, without the copies that only a file of a tied pair holds."""
    found = {}
    for leaf in leaves(config, carried):
        value = np.asarray(at(tree, leaf.path))
        found[leaf.name] = np.transpose(value) if leaf.turned else value
    return found


def core_weights(config: EncoderDecoderConfig, tree: Mapping[str, Any], every: list[Leaf]) -> dict[str, Any]:
    """The tree's leaves as the functional core's weights; differentiable, and free of copies once compiled."""
    held: dict[str, Any] = {}
    for leaf in every:
        if leaf.written is not None:
            held |= _cut(config, leaf, jnp.asarray(at(tree, leaf.path)))
    for name, owner in host.owners(config).items():
        held[name] = held[owner]
    return held


def _cut(config: EncoderDecoderConfig, leaf: Leaf, value: Any) -> dict[str, Any]:
    """One leaf's parts, linear weights as [in, out]."""
    one = leaf.written
    kernel = leaf.parts[0].endswith(".kernel")
    if one is None:
        return {}
    if len(leaf.parts) == 1 and not one.experts and not one.heads:
        straight = one.turned == (not leaf.turned) if kernel else True
        return {leaf.parts[0]: value if straight else value.T}
    stored = value.T if leaf.turned else value
    each = len(leaf.parts) // (one.experts or 1)
    table = _part_shapes(config, leaf)
    held = {}
    for expert in range(one.experts or 1):
        whole = stored[expert] if one.experts else stored
        whole = whole.reshape(*whole.shape[:-2], -1) if one.heads else whole
        whole = whole.T if one.turned else whole
        names = leaf.parts[expert * each : (expert + 1) * each]
        if each > 1:
            blocks = whole.reshape(one.blocks, -1, *whole.shape[1:])
            start = 0
            for name in names:
                count = table[name][0] // one.blocks
                part = blocks[:, start : start + count].reshape(-1, *whole.shape[1:])
                held[name] = part.T if kernel else part
                start += count
        else:
            held[names[0]] = whole.T if kernel else whole
    return held


def _part_shapes(config: EncoderDecoderConfig, leaf: Leaf) -> dict[str, tuple[int, ...]]:
    """The core's names of a leaf's parts -> canonical shapes, linear weights (out, in)."""
    half = getattr(config, leaf.side)
    table = parameters(family(half.model_type).half(leaf.side).spec(half))  # type: ignore[arg-type]
    found = {}
    for name in leaf.parts:
        own = name.removeprefix(f"{leaf.side}.")
        found[name] = table[own[:-6] + "weight" if own.endswith(".kernel") else own]
    return found


def at(tree: Mapping[str, Any], path: Path) -> Any:
    """A leaf; KeyError names its path."""
    found: Any = tree
    for step in path:
        try:
            found = found[step]
        except KeyError:
            raise KeyError(f"The params tree must hold '{'/'.join(path)}', but does not.") from None
    return found


def put(tree: Tree, path: Path, value: Any) -> None:
    """Set a leaf."""
    for step in path[:-1]:
        tree = tree.setdefault(step, {})
    tree[path[-1]] = value


def walked(tree: Mapping[str, Any], start: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every (path, leaf)."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from walked(value, (*start, name))
        else:
            yield (*start, name), value
