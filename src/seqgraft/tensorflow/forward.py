"""One call of a pair: from inputs by name to its outputs."""

from typing import Any

from seqgraft.config import EncoderDecoderConfig
from seqgraft.functional.ops import Array, Ops
from seqgraft.functional.pair import (
    Pair,
    asked,
    bridge,
    decode,
    encode,
    length_of,
    loss,
    shifted,
    source_mask,
    target_mask,
)
from seqgraft.functional.run import Run
from seqgraft.functional.stack import Cache, Memory, Record, Text, empty_cache, remembered
from seqgraft.tensorflow.inputs import source_text
from seqgraft.tensorflow.outputs import TFBaseModelOutput, TFSeq2SeqLMOutput


def encoded(
    run: Run, config: EncoderDecoderConfig, given: dict[str, Any], states: bool, attentions: bool
) -> TFBaseModelOutput:
    """The encoder's output for the inputs `given`, which must be its own; TypeError for what it has not."""
    pair, record = Pair.of(config), asked(states, attentions)
    mask = source_mask(run.ops, pair, given.get("input_ids"), given.pop("attention_mask", None))
    last = encode(run, pair, source_text(pair, config.encoder.model_type, given, mask), record)
    return TFBaseModelOutput(last, _states(record), None if record.seen is None else tuple(record.seen.own))


def forward(
    run: Run,
    config: EncoderDecoderConfig,
    given: dict[str, Any],
    *,
    use_cache: bool,
    states: bool,
    attentions: bool,
) -> TFSeq2SeqLMOutput:
    """Inputs by name -> all that the pair says of them; see `TFEncoderDecoderModel.call`."""
    ops, pair = run.ops, Pair.of(config)
    past, outputs = given.pop("past_key_values", None), given.pop("encoder_outputs", None)
    labels, count = given.pop("labels", None), given.pop("num_items_in_batch", None)
    ids, embeddings, target_seen, positions, types = (
        given.pop(f"decoder_{name}", None)
        for name in ("input_ids", "inputs_embeds", "attention_mask", "position_ids", "token_type_ids")
    )
    mask = source_mask(ops, pair, given.get("input_ids"), given.get("attention_mask"))
    if outputs is None:
        source = encoded(run, config, given, states, attentions)
    else:
        given.pop("attention_mask", None)
        source_text(pair, config.encoder.model_type, given, mask)  # so that what nobody knows is refused here too
        source = TFBaseModelOutput(*_parts(outputs))
    if labels is not None and ids is None and embeddings is None:
        ids = target_ids(ops, config, labels)
    if ids is None and embeddings is None:
        raise ValueError("`decoder_input_ids`, `decoder_inputs_embeds` or `labels` must be given, but none is.")
    if target_seen is None and ids is not None and past is None:
        target_seen = target_mask(ops, pair, ids)
    text = Text(ids, embeddings, target_seen, positions, types)
    record = asked(states, attentions)
    if labels is not None and pair.decoder.streams is not None:
        record.ahead = []
    memory, cache = _remembered(run, pair, source, mask, past, text, use_cache)
    scores, _, kept = decode(run, pair, text, memory, cache, record)
    lost = None if labels is None else ops.reshape(loss(run, pair, scores, labels, record, count), (1,))
    seen = record.seen
    return TFSeq2SeqLMOutput(
        lost,
        scores,
        None if kept is None or not use_cache else _past(kept, memory),
        _states(record),
        None if seen is None else tuple(seen.own),
        None if seen is None or not seen.memory else tuple(seen.memory),
        source.last_hidden_state,
        source.hidden_states,
        source.attentions,
    )


def target_ids(ops: Ops, config: EncoderDecoderConfig, labels: Array) -> Array:
    """labels [batch, time] -> the decoder's inputs; ConfigurationError where an id that it takes was never said."""
    start = None if config.wraps else config.needed("decoder_start_token_id")
    return shifted(ops, labels, start, config.needed("pad_token_id"))


def _remembered(
    run: Run, pair: Pair, source: TFBaseModelOutput, mask: Array | None, past: Any, text: Text, use_cache: bool
) -> tuple[Memory, Cache | None]:
    """What the decoder looks at, and room for what it is to remember of this call."""
    ops, own = run.ops, run.under("decoder")
    time = length_of(ops, text)
    if past is not None:
        before = ops.shape(past[0][0])[2]
        room = ((0, 0), (0, 0), (0, time), (0, 0))
        layers = tuple((ops.pad(layer[0], room), ops.pad(layer[1], room)) for layer in past)
        kept = tuple((layer[2], layer[3]) if len(layer) > 2 else None for layer in past)
        return Memory(None, mask, kept), Cache(layers, before)
    seen = bridge(run, pair, source.last_hidden_state)
    if not use_cache:
        return Memory(seen, mask), None
    rows, dtype = ops.shape(text.first)[0], ops.dtype(own.weight("embed.weight"))
    return Memory(None, mask, remembered(own, pair.decoder, seen)), empty_cache(ops, pair.decoder, rows, time, dtype)


def _past(cache: Cache, memory: Memory) -> tuple[tuple[Array, ...], ...]:
    """(key, value, memory's key, memory's value) of each layer."""
    kept = memory.remembered or (None,) * len(cache.layers)
    return tuple((*own, *(other or ())) for own, other in zip(cache.layers, kept, strict=True))


def _parts(outputs: Any) -> tuple[Any, ...]:
    """An encoder's output, a tuple of its parts, or its states alone -> its parts."""
    if hasattr(outputs, "to_tuple"):
        return tuple(outputs.to_tuple())
    return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)


def _states(record: Record) -> tuple[Array, ...] | None:
    return None if record.states is None else tuple(record.states)
