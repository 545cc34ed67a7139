"""What a call of `generate` asks of a pair: its settings, its prompt, and the program that answers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqgraft.config import EncoderDecoderConfig
from seqgraft.errors import GenerationError
from seqgraft.functional.decoding import Decoding
from seqgraft.functional.found import Found
from seqgraft.functional.ops import Array, Key, Ops
from seqgraft.functional.pair import Pair, encode, source_mask
from seqgraft.functional.run import Run
from seqgraft.functional.search import search
from seqgraft.functional.settings import Settings, asked, settings
from seqgraft.functional.stack import Text
from seqgraft.generation import GenerationConfig
from seqgraft.generation.resolve import position_limit

INPUTS = (
    "attention_mask",
    "inputs_embeds",
    "token_type_ids",
    "position_ids",
    "encoder_outputs",
    "decoder_input_ids",
    "decoder_attention_mask",
)
"""What `generate` takes by name that is no setting, the inputs of a family alone aside."""


def further(pair: Pair, model_type: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of the encoder's family that are given; TypeError for what it has not."""
    known = (*pair.encoder.inputs, "global_attention_mask") if pair.encoder.sees_everywhere else pair.encoder.inputs
    given = {name: value for name, value in inputs.items() if value is not None}
    strange = [name for name in given if name not in known]
    if strange:
        has = ", ".join(f"`{name}`" for name in known) or "none"
        raise TypeError(
            f"`{strange[0]}` must be left out, since '{model_type}' has no such input; of inputs of its own it has "
            f"{has}."
        )
    return given


def only_source(ids: Array | None, embeddings: Array | None, states: Array | None) -> Array:
    """Of three ways to give a source the one that is used; ValueError for none, or several."""
    known = [one for one in (ids, embeddings, states) if one is not None]
    if len(known) != 1:
        raise ValueError("Exactly one of `input_ids`, `inputs_embeds` and `encoder_outputs` must be given.")
    return known[0]


@dataclass(frozen=True)
class Request:
    """One call's search; equal settings and shapes are one program."""

    settings: Settings
    prompt: Array
    """[sources, time] int32, the first token of a target before what the caller wants after it."""
    prompt_mask: Array | None
    config: GenerationConfig


def request(
    ops: Ops,
    config: EncoderDecoderConfig,
    own: GenerationConfig,
    given: GenerationConfig | None,
    call: Mapping[str, Any],
    sources: Any,
    rest: Array | None = None,
    rest_mask: Array | None = None,
) -> Request:
    """The search for `sources` rows that a call's settings ask for, over `given`, over the model's `own`.

    rest and rest_mask [sources, time] are `decoder_input_ids` and their mask. Raises TypeError for what is no setting,
    GenerationError for what contradicts itself, is not offered, or lacks a first token.
    """
    halves = (config, config.decoder)
    filled, ids = asked(call, given, own, halves)
    if ids.start is None:
        raise GenerationError(
            "The first token of the decoder is not known: set `decoder_start_token_id` (or `bos_token_id`) in "
            "`model.config`, in `model.generation_config` or in the call."
        )
    starts = np.atleast_1d(np.asarray(ids.start, np.int32))
    if len(starts) > 1 and isinstance(sources, int) and len(starts) != sources:
        raise GenerationError(
            f"`decoder_start_token_id` must be one id, or one for each of {sources} rows, but has {len(starts)}."
        )
    first = ops.broadcast(ops.array(starts, "int32")[:, None], (sources, 1))
    if rest is None:
        prompt, mask = first, None
    elif _begins(rest, starts):
        prompt, mask = rest, rest_mask
    else:
        prompt = ops.concatenate((first, rest), 1)
        mask = None
        if rest_mask is not None:
            mask = ops.concatenate((ops.full((sources, 1), 1, "int32"), ops.cast(rest_mask, "int32")), 1)
    length = ops.shape(prompt)[1]
    if not isinstance(length, int):
        raise GenerationError("`decoder_input_ids` must have a length that is known when the program is compiled.")
    return Request(settings(filled, ids, length, position_limit(halves)), prompt, mask, filled)


def _begins(rest: Array, starts: Any) -> bool:
    """Whether every row begins with the first token already; no, where its values are not known yet."""
    try:
        held = np.asarray(rest)
    except Exception:  # an array that is being traced: each framework has an error of its own
        return False
    return held.ndim == 2 and held.shape[1] > 0 and bool((held[:, 0] == starts).all())


def answer(
    run: Run,
    pair: Pair,
    wanted: Settings,
    source: Text,
    prompt: Array,
    prompt_mask: Array | None,
    key: Key,
    states: Array | None = None,
    *,
    dtype: str,
) -> Found:
    """The program: a source, or its encoder's states, -> what the search finds."""
    ops = run.ops
    mask = source_mask(ops, pair, source.ids, source.mask) if states is None else source.mask
    if states is None:
        states = encode(run, pair, Text(**{**vars(source), "mask": mask}))
    decoding = Decoding.of(run, pair, states, mask, wanted.each, wanted.total)
    rows = ops.shape(prompt)[0]
    carried = decoding.start(rows, dtype, prompt_mask)
    return search(
        ops,
        decoding.step,
        decoding.take,
        carried,
        prompt,
        wanted,
        key,
        rows=rows,
        vocabulary=pair.decoder.vocabulary,
        prompt_mask=prompt_mask,
    )
