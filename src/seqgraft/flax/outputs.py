"""What `generate` returns on JAX, and outputs as pytrees: they pass through `jit`, `grad`, `vmap` and `pmap`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax

from seqgraft.generation.outputs import (
    BaseModelOutput,
    CausalLMOutputWithCrossAttentions,
    ModelOutput,
    Seq2SeqLMOutput,
)


@dataclass
class FlaxGreedySearchOutput(ModelOutput):
    """What greedy search found: sequences [batch, max_length], filled with the padding id."""

    sequences: Any = None


@dataclass
class FlaxSampleOutput(ModelOutput):
    """What was drawn: sequences [batch * num_return_sequences, max_length], filled with the padding id."""

    sequences: Any = None


@dataclass
class FlaxBeamSearchOutput(ModelOutput):
    """What beams found: sequences [batch * num_return_sequences, max_length] and their scores."""

    sequences: Any = None
    scores: Any = None


def _register(kind: Any) -> None:
    names = tuple(kind.__dataclass_fields__)

    def flatten(output: Any) -> tuple[tuple[Any, ...], None]:
        return tuple(getattr(output, name) for name in names), None

    def unflatten(_: None, values: Any) -> Any:
        made: Any = kind()  # whatever the leaves are: jax puts its own markers there
        for name, value in zip(names, values, strict=True):
            setattr(made, name, value)
        return made

    jax.tree_util.register_pytree_node(kind, flatten, unflatten)


for _kind in (
    BaseModelOutput,
    CausalLMOutputWithCrossAttentions,
    Seq2SeqLMOutput,
    FlaxGreedySearchOutput,
    FlaxSampleOutput,
    FlaxBeamSearchOutput,
):
    _register(_kind)
