"""`generate` in TensorFlow: encoder, search and all its steps are one program, in a graph or compiled by XLA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import tensorflow as tf

from seqgraft.functional.found import Found
from seqgraft.functional.pair import Pair
from seqgraft.functional.request import INPUTS, answer, only_source, request
from seqgraft.functional.run import Run
from seqgraft.functional.settings import Settings
from seqgraft.generation import GenerationConfig
from seqgraft.tensorflow.inputs import source_text, unpacked
from seqgraft.tensorflow.ops import TensorFlowOps
from seqgraft.tensorflow.outputs import (
    TFBeamSampleEncoderDecoderOutput,
    TFBeamSearchEncoderDecoderOutput,
    TFGreedySearchEncoderDecoderOutput,
    TFSampleEncoderDecoderOutput,
)

if TYPE_CHECKING:
    from seqgraft.tensorflow.model import TFEncoderDecoderModel

F = TypeVar("F", bound=Callable[..., Any])
_KEPT = 16
"""Programs that a model keeps, the last ones asked for."""


def as_it_is(function: F) -> F:
    """Kept from AutoGraph, which would read the whole library through to find nothing to convert."""
    made: F = tf.autograph.experimental.do_not_convert(function)
    return made


def generate(
    model: TFEncoderDecoderModel,
    inputs: Any,
    config: GenerationConfig | None,
    seed: Any,
    jit_compile: bool,
    kwargs: dict[str, Any],
) -> Any:
    """See `TFEncoderDecoderModel.generate`."""
    ops, pair = TensorFlowOps(), Pair.of(model.config)
    own = (*INPUTS, *pair.encoder.inputs, "global_attention_mask")
    given = unpacked(inputs, {name: kwargs.pop(name, None) for name in own})
    rest, rest_mask = (given.pop(name, None) for name in ("decoder_input_ids", "decoder_attention_mask"))
    outputs = given.pop("encoder_outputs", None)
    states = None if outputs is None else outputs if tf.is_tensor(outputs) else outputs[0]
    if states is not None:
        given.pop("input_ids", None)
    sources = ops.shape(only_source(given.get("input_ids"), given.get("inputs_embeds"), states))[0]
    asked = request(ops, model.config, model.generation_config, config, kwargs, sources, rest, rest_mask)
    arguments = (given, states, asked.prompt, asked.prompt_mask, seed_of(seed))
    if not tf.executing_eagerly():  # part of the caller's program
        return _told(asked.settings, asked.config, _found(model, asked.settings, *arguments))
    found = _program(model, asked.settings, jit_compile)(*arguments)
    longest = int(tf.reduce_max(found.lengths))
    return _told(asked.settings, asked.config, Found(found.sequences[:, :longest], found.scores, found.lengths))


def seed_of(seed: int | Sequence[int] | None) -> Any:
    """One or two numbers -> the key that sampling draws from; without, one of TensorFlow's own generator."""
    if seed is None:
        return tf.random.uniform([2], tf.int32.min, tf.int32.max, tf.int32)
    if isinstance(seed, int):
        return tf.constant([0, seed], tf.int32)
    return tf.cast(tf.convert_to_tensor(seed), tf.int32)


def _program(model: TFEncoderDecoderModel, settings: Settings, jit_compile: bool) -> Any:
    # A pair's ids may be changed after a program was made: they are part of it.
    pair = Pair.of(model.config)
    programs, name = model.held.programs, (settings, pair, jit_compile)
    if name not in programs:
        while len(programs) >= _KEPT:
            programs.pop(next(iter(programs)))

        def program(*arguments: Any) -> Found:
            return _found(model, settings, *arguments)

        # A program of any batch and length, from the second shape on; blocks (Zaheer et al. 2020) need a known length.
        any_length = all(layer.self_attention.sparse is None for layer in pair.encoder.layers)
        programs[name] = tf.function(program, jit_compile=jit_compile, autograph=False, reduce_retracing=any_length)
    return programs[name]


def _found(
    model: TFEncoderDecoderModel,
    settings: Settings,
    given: dict[str, Any],
    states: Any,
    prompt: Any,
    prompt_mask: Any,
    key: Any,
) -> Found:
    """The program."""
    pair, given = Pair.of(model.config), dict(given)
    mask = given.pop("attention_mask", None)
    source = source_text(pair, model.config.encoder.model_type, given, mask)
    run = Run(TensorFlowOps(), model.held.weights())
    return answer(run, pair, settings, source, prompt, prompt_mask, key, states, dtype=model.held.dtype)


def _told(settings: Settings, config: GenerationConfig, found: Found) -> Any:
    if not config.return_dict_in_generate:
        return found.sequences
    if settings.beams > 1:
        beams = TFBeamSampleEncoderDecoderOutput if settings.sample else TFBeamSearchEncoderDecoderOutput
        return beams(found.sequences, found.scores)
    return (TFSampleEncoderDecoderOutput if settings.sample else TFGreedySearchEncoderDecoderOutput)(found.sequences)
