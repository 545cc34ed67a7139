"""What a call is given, as tensors; and one argument that holds several, as `fit` hands them on."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from seqgraft.config import EncoderDecoderConfig
from seqgraft.functional.pair import Pair
from seqgraft.functional.request import further
from seqgraft.functional.stack import Text

FIRST = ("input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask")
"""The names of a list's tensors, in order."""
INPUTS = (
    *FIRST[1:],
    "encoder_outputs",
    "past_key_values",
    "inputs_embeds",
    "decoder_inputs_embeds",
    "labels",
    "token_type_ids",
    "position_ids",
    "decoder_position_ids",
    "decoder_token_type_ids",
    "num_items_in_batch",
)
"""What a call takes by name, those of a family alone aside."""
_FLAGS = ("use_cache", "output_attentions", "output_hidden_states", "return_dict")
_EMBEDDINGS = ("inputs_embeds", "decoder_inputs_embeds")
_AS_THEY_ARE = ("encoder_outputs", "past_key_values", "num_items_in_batch", *_FLAGS)


def unpacked(first: Any, named: Mapping[str, Any]) -> dict[str, Any]:
    """The call's inputs by name, ids and masks int32. `first` is `input_ids`, or a mapping or a list of arrays.

    Raises ValueError where an input is given twice, or a list is longer than `FIRST`.
    """
    given = {name: value for name, value in named.items() if value is not None}
    if isinstance(first, Mapping):
        held = dict(first)
    elif isinstance(first, (list, tuple)) and first and all(hasattr(one, "shape") for one in first):
        if len(first) > len(FIRST):
            raise ValueError(f"A list of inputs must hold at most {', '.join(FIRST)}, but has {len(first)}.")
        held = dict(zip(FIRST, first, strict=False))
    else:
        held = {} if first is None else {"input_ids": first}
    twice = sorted(set(held) & set(given))
    if twice:
        raise ValueError(f"`{twice[0]}` must be given once, but is given among the inputs and by name.")
    return {name: _tensor(name, value) for name, value in {**held, **given}.items() if value is not None}


def _tensor(name: str, value: Any) -> Any:
    if name in _AS_THEY_ARE:
        return value
    if name in _EMBEDDINGS:
        return tf.convert_to_tensor(value)
    return tf.cast(tf.convert_to_tensor(value), tf.int32)


def flags(config: EncoderDecoderConfig, given: dict[str, Any], said: Mapping[str, Any]) -> dict[str, bool]:
    """What a call asks for: a flag taken from among its inputs, or said by name, else the configuration's."""
    found = {name: given.pop(name, said[name]) for name in _FLAGS}
    return {name: bool(getattr(config, name) if value is None else value) for name, value in found.items()}


def source_text(pair: Pair, model_type: str, given: dict[str, Any], mask: Any) -> Text:
    """What an encoder reads, taken out of a call's inputs."""
    names = ("input_ids", "inputs_embeds", "position_ids", "token_type_ids")
    ids, embeddings, positions, types = (given.pop(name, None) for name in names)
    rest = further(pair, model_type, given)
    everywhere = rest.pop("global_attention_mask", None)
    return Text(ids, embeddings, mask, positions, types, everywhere, rest)
