"""What every framework's run of the core is held against: the reference's tiny models."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from seqgraft.functional.attention import Seen
from seqgraft.functional.layout import laid_out
from seqgraft.functional.ops import Ops
from seqgraft.functional.run import Run
from seqgraft.functional.stack import Memory, Record, Text, constants, logits, stack_states

from ..families.rows import ROWS

BOUND = 1e-5
"""Relative to the largest value."""
ENCODERS = [
    pytest.param(row, both, id=f"{row.name}{'-both-ways' * both}")
    for row in ROWS
    if row.body
    for both in ((False, True) if row.sees_back else (False,))
]
DECODERS = [
    pytest.param(row, cross, id=f"{row.name}{'-cross' * cross}")
    for row in ROWS
    if row.causal
    for cross in ((False, True) if row.cross and row.cross_works else (False,))
]


def weights(ops: Ops, ours: Any) -> dict[str, Any]:
    """A torch half's parameters as the core has them."""
    from seqgraft.spec import parameters

    spec = ours.spec
    held = dict(ours.named_parameters(remove_duplicate=False))
    canonical = {name: held[name].detach().numpy() for name in parameters(spec)}
    arrays = {**laid_out(spec, canonical, np.transpose), **constants(spec)}
    return {name: ops.array(value, "float32") for name, value in arrays.items()}


def given(ops: Ops, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Torch's inputs as the framework's arrays."""
    return {
        name: ops.array(value.numpy(), "float32" if value.is_floating_point() else "int32")
        for name, value in inputs.items()
    }


def run_half(ops: Ops, ours: Any, inputs: Mapping[str, Any], record: Record | None = None) -> Any:
    """The states of an encoder, or the logits of a decoder."""
    return run_spec(ops, ours.spec, weights(ops, ours), given(ops, inputs), record)


def run_spec(ops: Ops, spec: Any, held: Mapping[str, Any], told: dict[str, Any], record: Record | None = None) -> Any:
    """The same of a stack's description, its weights and the framework's arrays by the names of torch's inputs."""
    run, told = Run(ops, held), dict(told)
    memory = Memory(told.pop("encoder_hidden_states", None), told.pop("encoder_attention_mask", None))
    text = Text(
        told.pop("input_ids"),
        mask=told.pop("attention_mask", None),
        positions=told.pop("position_ids", None),
        token_types=told.pop("token_type_ids", None),
        everywhere=told.pop("global_attention_mask", None),
        inputs=told,
    )
    states, _ = stack_states(run, spec, text, memory, record=record)
    return states if spec.head is None else logits(run, spec, states)


def asked() -> Record:
    """A record of all."""
    return Record([], Seen())
