"""A pair's folder and its SavedModel."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from seqgraft.functional import host
from seqgraft.tensorflow.inputs import FIRST

if TYPE_CHECKING:
    from seqgraft.tensorflow.model import TFEncoderDecoderModel


def save(model: TFEncoderDecoderModel, folder: Any, safetensors: bool, max_shard_size: int | str) -> None:
    """See `TFEncoderDecoderModel.save_pretrained`."""
    held = model.held
    pair = host.Host(held.config, held.arrays(), held.generation)
    host.saved(folder, pair, held.dtype, "tf", safetensors, max_shard_size)


def serving(model: TFEncoderDecoderModel) -> Any:
    """Ids and masks [batch, time] of both sides -> logits and the encoder's states, whatever batch and length."""
    spec = {name: tf.TensorSpec((None, None), tf.int32, name=name) for name in FIRST}

    def serve(inputs: dict[str, Any]) -> dict[str, Any]:
        out = model(inputs, use_cache=False, return_dict=True, training=False)
        return {"logits": out.logits, "encoder_last_hidden_state": out.encoder_last_hidden_state}

    return tf.function(serve, input_signature=[spec], autograph=False)


def export(model: TFEncoderDecoderModel, folder: Any, signatures: Mapping[str, Any] | None = None) -> None:
    """Write a SavedModel: the functions, and the weights that they read."""
    module = tf.Module(name=model.name)
    module.weights_ = [variable.value for variable in model.weights]
    given = {"serving_default": serving(model)} if signatures is None else dict(signatures)
    module.functions = given
    tf.saved_model.save(module, os.fspath(folder), signatures={name: _concrete(one) for name, one in given.items()})


def _concrete(function: Any) -> Any:
    return function.get_concrete_function() if hasattr(function, "get_concrete_function") else function
