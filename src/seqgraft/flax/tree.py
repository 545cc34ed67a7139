"""The params tree: published names cut at their dots, `kernel` [in, out], `embedding` and `scale` for `weight`.

This is how the originals' Flax classes name and lay out every parameter, so that `flax_model.msgpack` files of either
are the other's. The functional core's weights are views of the tree's leaves, inside a compiled program too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import lax

from seqgraft.checkpoints.kinds import pair_kinds, with_carried
from seqgraft.checkpoints.names_flax import to_flax
from seqgraft.checkpoints.pairs import in_one_file
from seqgraft.checkpoints.sharing import whole_of
from seqgraft.config import EncoderDecoderConfig
from seqgraft.families import family
from seqgraft.families.naming import Written, plan_writing
from seqgraft.functional import host
from seqgraft.functional.layout import linear_maps
from seqgraft.spec import parameters

Tree = dict[str, Any]
Path = tuple[str, ...]


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
    """Whether its axes are the file's in the opposite order."""
    parts: tuple[str, ...] = ()
    """The functional core's names of what it holds."""


def leaves(config: EncoderDecoderConfig, carried: Mapping[str, tuple[int, ...]] | None = None) -> list[Leaf]:
    """Every leaf of a pair's tree. `carried`: names in its file that nothing computes with -> shapes."""
    shapes: dict[str, tuple[int, ...]] = {}
    core: dict[str, str] = {}
    for side in host.SIDES:
        spec = host.spec_of(config, side)
        maps = linear_maps(spec)
        for name, size in parameters(spec).items():
            known = f"{side}.{name}"
            shapes[known] = size
            kernel = name.removesuffix(".weight") in maps and name.endswith(".weight")
            core[known] = f"{known[:-6]}kernel" if kernel else known

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
    kinds = pair_kinds(config)
    made = []
    for name, (side, one) in found.items():
        path, turned = to_flax(name, kinds[name])
        if side == "bridge":
            shape: tuple[int, ...] = (config.bridge or ())[: 2 if one.name == "weight" else 1]
            parts: tuple[str, ...] = ("bridge.kernel" if turned else "bridge.bias",)
        else:
            own = tuple(f"{side}.{part}" for part in one.parts)
            parts = tuple(core[part] for part in own)
            if all(part in elsewhere for part in parts):
                continue
            shape = _shape(one, [shapes[part] for part in own])
        made.append(Leaf(name, tuple(path.split("/")), shape[::-1] if turned else shape, one, side, turned, parts))
    more = carried or {}
    for name, what in with_carried({}, more, more).items():
        path, turned = to_flax(name, what)
        shape = more[name][::-1] if turned else more[name]
        made.append(Leaf(name, tuple(path.split("/")), shape, None, "carried", turned))
    return made


def _shape(one: Written, parts: list[tuple[int, ...]]) -> tuple[int, ...]:
    """Of the file's tensor."""
    each = len(parts) // (one.experts or 1)
    shape = (sum(part[0] for part in parts[:each]), *parts[0][1:]) if parts[0] else ()
    shape = shape[::-1] if one.turned else shape
    shape = (*shape[:-1], one.heads, shape[-1] // one.heads) if one.heads else shape
    return (one.experts, *shape) if one.experts else shape


def core_weights(config: EncoderDecoderConfig, tree: Mapping[str, Any], every: list[Leaf]) -> dict[str, Any]:
    """The tree's leaves as the functional core's weights; differentiable, and free of copies once compiled."""
    held: dict[str, Any] = {}
    for leaf in every:
        if leaf.written is not None:
            held |= _cut(config, leaf, jnp.asarray(at(tree, leaf.path)))
    whole = whole_of(config)
    for name in whole.fixed if whole is not None else ():  # which published models hold as buffers
        held[f"decoder.{name}"] = lax.stop_gradient(held[f"decoder.{name}"])
    for name, owner in host.owners(config).items():
        held[name] = held[owner]
    return held


def _cut(config: EncoderDecoderConfig, leaf: Leaf, value: Any) -> dict[str, Any]:
    """One leaf's parts, linear weights as [in, out]."""
    one = leaf.written
    kernel = leaf.parts[0].endswith(".kernel")
    if one is None:
        return {}
    if len(leaf.parts) == 1 and not one.experts and not one.heads and len(leaf.shape) <= 2:
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
    table = parameters(host.spec_of(config, leaf.side))
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
