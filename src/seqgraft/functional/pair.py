"""An encoder and a decoder together, as functions of their weights: what the classes of each framework compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from seqgraft.config import EncoderDecoderConfig
from seqgraft.families import family
from seqgraft.functional.attention import Seen
from seqgraft.functional.ops import Array, Ops, Size
from seqgraft.functional.run import Run
from seqgraft.functional.stack import Cache, Memory, Record, Text, logits, stack_states
from seqgraft.spec import Stack

IGNORED = -100
"""The label of a position that counts nothing."""


@dataclass(frozen=True)
class Pair:
    """The mathematics of a pair, and the ids that a call needs to know."""

    encoder: Stack
    decoder: Stack
    bridged: bool
    """Whether there is a projection from the encoder's width to the decoder's."""
    start: int | None
    """Token before the first of a target; None takes a row's last one (mBART)."""
    pad: int | None
    ends: tuple[int, ...]
    source_pad: int | None
    source_ends: tuple[int, ...]
    hides_target: bool
    """Whether padding among the decoder's inputs is hidden where nobody says so."""

    @classmethod
    def of(cls, config: EncoderDecoderConfig) -> Pair:
        """What a configuration says."""
        encoder, pad, ends = config.encoder, config.special("pad_token_id"), many(config.special("eos_token_id"))
        own = encoder.pad_token_id is not None
        return cls(
            family(encoder.model_type).half("encoder").spec(encoder),
            family(config.decoder.model_type).half("decoder").spec(config.decoder),
            config.bridge is not None,
            None if config.wraps else config.special("decoder_start_token_id"),
            pad,
            ends,
            encoder.pad_token_id if own else pad,
            many(encoder.eos_token_id) if own else ends,
            config.whole is None,
        )


def many(ids: Any) -> tuple[int, ...]:
    """One id, several or none -> a tuple."""
    return () if ids is None else (ids,) if isinstance(ids, int) else tuple(ids)


def source_mask(ops: Ops, pair: Pair, ids: Array | None, mask: Array | None) -> Array | None:
    """The source's mask [rows, time], or what its padding implies."""
    if mask is not None or ids is None or pair.source_pad is None or pair.source_pad in pair.source_ends:
        return mask
    return ops.cast(ids != pair.source_pad, "int32")


def target_mask(ops: Ops, pair: Pair, ids: Array) -> Array | None:
    """The mask that padding of the decoder's inputs [rows, time] implies; the start token is seen, whatever its id.

    Where padding is the end token as well (GPT-2), an end is seen, and of those in a row at the right the first.
    """
    if pair.pad is None or not pair.hides_target:
        return None
    shown = ids != pair.pad
    if pair.pad in pair.ends:
        count = ops.cumsum(ops.cast(shown, "int32"), 1)
        following = count[:, -1:] - count + ops.cast(shown, "int32") > 0  # whether the text goes on here or later
        shown = ops.concatenate((following[:, :1] | True, following[:, 1:] | following[:, :-1]), 1)
    if pair.start == pair.pad:
        shown = ops.concatenate((shown[:, :1] | True, shown[:, 1:]), 1)
    return ops.cast(shown, "int32")


def encode(run: Run, pair: Pair, text: Text, record: Record | None = None) -> Array:
    """A source -> the encoder's states [rows, time, width]."""
    states, _ = stack_states(run.under("encoder"), pair.encoder, text, record=record)
    return states


def bridge(run: Run, pair: Pair, states: Array) -> Array:
    """The encoder's states at the width that the decoder reads."""
    return run.linear("bridge", states) if pair.bridged else states


def decode(
    run: Run,
    pair: Pair,
    text: Text,
    memory: Memory,
    cache: Cache | None = None,
    record: Record | None = None,
) -> tuple[Array, Array, Cache | None]:
    """A target so far -> logits [rows, time, vocabulary], states [rows, time, width], and the cache."""
    own = run.under("decoder")
    states, kept = stack_states(own, pair.decoder, text, memory, cache, record)
    return logits(own, pair.decoder, states), states, kept


def asked(states: bool, attentions: bool) -> Record:
    """A record of what is asked for, and of nothing else."""
    return Record([] if states else None, Seen() if attentions else None)


def shifted(ops: Ops, labels: Array, start: int | None, pad: int) -> Array:
    """labels [rows, time] -> the same shape: `start`, then all but the last; -100 becomes `pad`.

    Without a start each row's last token that is no padding takes its place.
    """
    filled = ops.where(labels == IGNORED, ops.cast(ops.array(pad), "int32"), labels)
    if start is None:
        last = ops.sum(ops.cast(filled != pad, "int32"), 1, keepdims=True) - 1
        first = ops.gather(filled, last)
    else:
        first = ops.full((ops.shape(filled)[0], 1), start, "int32")
    return ops.concatenate((first, filled[:, :-1]), 1)


def cross_entropy(ops: Ops, scores: Array, labels: Array, count: Any = None, smoothing: float = 0.0) -> Array:
    """Cross-entropy of logits [rows, time, vocabulary] at labels [rows, time], in float32, over those not -100.

    Its mean; or, with `count`, its sum divided by that number.
    """
    said = labels != IGNORED
    chances = ops.log_softmax(ops.cast(scores, "float32"))
    zero = ops.array(0.0, "float32")
    index = ops.where(said, labels, ops.array(0, "int32"))
    lost = -ops.gather(chances, index[..., None])[..., 0]
    if smoothing:
        lost = (1 - smoothing) * lost - smoothing * ops.mean(chances, -1)
    total = ops.sum(ops.where(said, lost, zero))
    counted = ops.sum(ops.cast(said, "float32")) if count is None else ops.cast(ops.array(count), "float32")
    return total / counted


def loss(run: Run, pair: Pair, scores: Array, labels: Array, record: Record, count: Any = None) -> Array:
    """What training makes smaller, of the main logits [rows, time, vocabulary] and of the streams' where there are."""
    ops, spec = run.ops, pair.decoder.streams
    if spec is None:
        return cross_entropy(ops, scores, labels, count)
    own, each = run.under("decoder"), [scores]
    if record.ahead:
        more = record.ahead[0]
        each += [logits(own, pair.decoder, more[:, stream]) for stream in range(1, spec.count)]
    parts = [cross_entropy(ops, one, labels, count, spec.smoothing) for one in each[: spec.learned]]
    out: Array = 0.0
    for part in parts:
        out = out + part / len(parts)
    return out


def length_of(ops: Ops, text: Text) -> Size:
    """Tokens of a text."""
    return ops.shape(text.first)[1]
