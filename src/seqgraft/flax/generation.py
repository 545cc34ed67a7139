"""`generate` on JAX: encoder, search and all its steps are one compiled program."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from seqgraft.flax.inputs import int32
from seqgraft.flax.module import computed_in
from seqgraft.flax.ops import JaxOps
from seqgraft.flax.outputs import FlaxBeamSearchOutput, FlaxGreedySearchOutput, FlaxSampleOutput
from seqgraft.flax.tree import core_weights, leaves
from seqgraft.functional import host
from seqgraft.functional.found import Found
from seqgraft.functional.pair import Pair
from seqgraft.functional.request import INPUTS, answer, further, only_source, request
from seqgraft.functional.run import Run
from seqgraft.functional.settings import Settings
from seqgraft.functional.stack import Text
from seqgraft.generation import GenerationConfig
from seqgraft.machine import give_back

if TYPE_CHECKING:
    from seqgraft.flax.model import FlaxEncoderDecoderModel


def generate(
    model: FlaxEncoderDecoderModel,
    input_ids: Any,
    generation_config: GenerationConfig | None,
    prng_key: Any,
    trace: bool,
    params: Mapping[str, Any] | None,
    kwargs: dict[str, Any],
) -> FlaxGreedySearchOutput | FlaxSampleOutput | FlaxBeamSearchOutput:
    """See `FlaxEncoderDecoderModel.generate`."""
    ops = JaxOps()
    given = {name: kwargs.pop(name, None) for name in INPUTS}
    pair = Pair.of(model.config)
    own = {name: kwargs.pop(name, None) for name in (*pair.encoder.inputs, "global_attention_mask")}
    own = {name: int32(value) for name, value in further(pair, model.config.encoder.model_type, own).items()}
    outputs = given.pop("encoder_outputs")
    states = None if outputs is None else outputs[0]
    source: dict[str, Any] = {
        "ids": model.known("input_ids", input_ids, "encoder") if outputs is None else None,
        "embeddings": given["inputs_embeds"],
        "mask": int32(given["attention_mask"]),
        "positions": int32(given["position_ids"]),
        "token_types": int32(given["token_type_ids"]),
        "everywhere": own.pop("global_attention_mask", None),
        "inputs": own,
    }
    known = only_source(source["ids"], source["embeddings"], states)
    asked = request(
        ops,
        model.config,
        model.generation_config,
        generation_config,
        kwargs,
        known.shape[0],
        int32(given["decoder_input_ids"]),
        int32(given["decoder_attention_mask"]),
    )
    key = prng_key if prng_key is not None else jax.random.PRNGKey(0)
    arguments = (source, states, asked.prompt, asked.prompt_mask, key)
    held = model.params if params is None else params
    if trace:
        program = model.program(asked.settings, partial(_found, model, asked.settings))
        count = getattr(program, "_cache_size", int)  # of what it compiled
        before, found = count(), program(held, *arguments)
        if count() > before:  # what the compiler needed
            give_back()
    else:
        with jax.disable_jit():
            found = _found(model, asked.settings, held, *arguments)
    if asked.settings.beams > 1:
        return FlaxBeamSearchOutput(found.sequences, found.scores)
    kind = FlaxSampleOutput if asked.settings.sample else FlaxGreedySearchOutput
    return kind(found.sequences)


def _found(
    model: FlaxEncoderDecoderModel,
    wanted: Settings,
    params: Mapping[str, Any],
    source: dict[str, Any],
    states: Any,
    prompt: Any,
    prompt_mask: Any,
    key: Any,
) -> Found:
    """What is compiled."""
    weights = core_weights(model.config, params, leaves(model.config, {}))
    weights |= {name: jnp.asarray(value) for name, value in host.computed(model.config).items()}
    weights = {name: computed_in(value, model.dtype) for name, value in weights.items()}
    run = Run(JaxOps(), weights)
    dtype = jnp.dtype(model.dtype).name
    return answer(run, Pair.of(model.config), wanted, Text(**source), prompt, prompt_mask, key, states, dtype=dtype)
