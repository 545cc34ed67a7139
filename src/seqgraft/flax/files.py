"""A pair's params tree from a host's arrays, and back."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from seqgraft.checkpoints.pair_arrays import HalfArrays, PairArrays, pair_tensors
from seqgraft.config import EncoderDecoderConfig
from seqgraft.flax.tree import Tree, at, core_weights, leaves, put, walked
from seqgraft.functional import host
from seqgraft.machine import give_back

Carried = Mapping[str, tuple[int, ...]]
"""Names in the pair's file of what computes nothing -> shapes."""


def tree_of(pair: host.Host, carried: Carried) -> Tree:
    """The tree on the device. The host's arrays are taken from it one by one, so that few are in memory twice."""
    tensors = pair_tensors(pair.config, pair.arrays)
    pair.arrays = PairArrays(HalfArrays({}), HalfArrays({}))
    tree: Tree = {}
    for leaf in leaves(pair.config, carried):
        value = tensors.pop(leaf.name)
        put(tree, leaf.path, jnp.asarray(np.transpose(value) if leaf.turned else value).block_until_ready())
        del value
    give_back()
    return tree


def arrays_of(config: EncoderDecoderConfig, tree: Mapping[str, Any], carried: Carried) -> PairArrays:
    """The parameters as numpy arrays by canonical name."""
    weights = core_weights(config, tree, leaves(config, {}))
    held = {name: np.asarray(value) for name, value in weights.items()}
    kept: dict[str, dict[str, Any]] = {side: {} for side in host.SIDES}
    for leaf in leaves(config, carried):
        if leaf.side == "carried":
            value = np.asarray(at(tree, leaf.path))
            side, own = host.carried_place(config, leaf.name)
            kept[side][own] = value.T if leaf.turned else value
    halves = [HalfArrays({}, kept[side]) for side in host.SIDES]
    return host.from_core(config, held, PairArrays(halves[0], halves[1]))


def cast(params: Mapping[str, Any], dtype: Any, mask: Any) -> Tree:
    """Floating parameters in another type; where a `mask` tree of the same shape is False, as they were."""
    tree: Tree = {}
    for path, value in walked(params):
        chosen = mask is None or bool(at(mask, path))
        change = chosen and jnp.issubdtype(value.dtype, jnp.floating)
        put(tree, path, value.astype(dtype) if change else value)
    return tree
