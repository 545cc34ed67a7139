"""Fresh weights as numpy arrays, by the canonical name and the spec.

The distributions are those of `torch/initial.py`; the random numbers are numpy's own.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from seqgraft.checkpoints.maps import Array
from seqgraft.errors import SpecError
from seqgraft.spec import Attention, Norm, Stack, parameters


def fresh(spec: Stack, names: Iterable[str], seed: int = 0, dtype: Any = np.float32) -> dict[str, Array]:
    """Canonical name -> array: norms 1 and 0, biases and gates 0, the rest normal with the spec's deviation.

    A name's numbers depend on the seed and the name alone, whatever else is drawn.
    """
    table = parameters(spec)
    made: dict[str, Array] = {}
    for name in names:
        value, deviation = distribution(spec, name)
        if deviation:
            source = np.random.default_rng([seed, *name.encode()])
            made[name] = (source.standard_normal(table[name], np.float32) * np.float32(deviation)).astype(dtype)
        else:
            made[name] = np.full(table[name], value, dtype)
    return made


def distribution(spec: Stack, name: str) -> tuple[float, float]:
    """Mean and deviation of a fresh tensor by its canonical name; a deviation of 0 means that all are the mean."""
    parent, _, leaf = name.rpartition(".")
    block = parent.rstrip("0123456789").removesuffix(".").rpartition(".")[2]
    if leaf in ("bias", "gate"):
        return 0.0, 0.0
    if block.endswith("norm"):
        return 1.0 - norm_of(spec, parent).offset, 0.0
    inner = block in ("output", "down") and spec.output_deviation is not None and name.startswith("layers.")
    return 0.0, spec.output_deviation if inner and spec.output_deviation else spec.deviation


def norm_of(spec: Stack, path: str) -> Norm:
    """The norm that stands at a module's canonical path; SpecError when none does."""
    head = spec.head.transform.norm if spec.head and spec.head.transform else None
    own = {"embed_norm": spec.embed_norm, "final_norm": spec.final_norm, "head.norm": head}
    own |= {"distances_norm": spec.distances_norm, "convolution_norm": spec.layers[0].norm}
    found = own.get(path)
    if path.startswith("layers."):
        _, number, *blocks = path.split(".")
        layer = spec.layers[int(number)]
        inside = layer.inserted if blocks[0] == "inserted" else layer
        blocks = blocks[inside is not layer :]
        part = getattr(inside, blocks[0], None)
        found = part.head_norm if isinstance(part, Attention) else getattr(inside, "norm", None)
    if found is None:
        raise SpecError(f"'{path}' must be a norm of the stack, but is none.")
    return found


def copies_of_self_attention(
    spec: Stack, names: Iterable[str], own: Mapping[str, Array]
) -> tuple[dict[str, Array], list[str]]:
    """What fresh cross-attention takes from its layer's self-attention where shapes allow (T5Gemma), and the names of
    what must start at random since they do not: keys and values that read an encoder of another width.
    """
    table = parameters(spec)
    taken: dict[str, Array] = {}
    apart: list[str] = []
    for name in names:
        model = self_attention_of(name)
        if model is None or model not in own:
            continue  # a gate, say: self-attention has none
        if own[model].shape == table[name]:
            taken[name] = own[model]
        else:
            apart.append(name)
    return taken, apart


def self_attention_of(name: str) -> str | None:
    """The canonical name in self-attention of what stands here in cross-attention; None for anything else."""
    for block in ("inserted.cross_attention", "cross_attention"):
        if f".{block}" in name:
            return name.replace(f".{block}", ".self_attention")
    return None
