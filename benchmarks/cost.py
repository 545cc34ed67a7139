"""What generating must cost at the least, counted from the specs of a pair: bytes to read, operations, calls.

The limit of a machine follows from its ceilings (`ceilings.py`): each part takes as long as its bytes or its operations
take, whichever is longer (the roofline of Williams et al. 2009). A multiply and an add are two operations. Weights are
read once a step however many rows there are; the encoder's keys and values once a source however many beams look at it.
Activations, norms, biases and embeddings' rows are left out: together below 1 in 100 of the sizes measured here.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from seqgraft.spec import Attention, Experts, FeedForward, Layer, Stack

CACHED = 4
"""Bytes of a number of keys and values."""


@dataclass(frozen=True)
class Part:
    """One kind of work: bytes that it must read, operations, and the calls of a library that does it in one each."""

    name: str
    read: float = 0
    operations: float = 0
    products: float = 0
    """Calls of matrix products with a weight."""
    others: float = 0
    """Calls of anything else: attention, norms, sums, writing to the cache."""

    def times(self, count: float) -> "Part":
        """The same, so many times."""
        numbers = {key: value * count for key, value in asdict(self).items() if key != "name"}
        return Part(self.name, **numbers)


@dataclass(frozen=True)
class Ceilings:
    """What the machine can do at most."""

    operations: float
    """Operations a second of large matrix products."""
    reading: tuple[tuple[float, float], ...]
    """(bytes, bytes a second) of reading so many over and over: small ones stay in the processor's caches."""
    product_call: float
    """Seconds of a product too small to take any time itself."""
    other_call: float
    """Seconds of another operation likewise."""

    def read(self, size: float) -> float:
        """Bytes a second when so many are read over and over."""
        return next((rate for held, rate in self.reading if held >= size), self.reading[-1][1])

    def limit(self, parts: Iterable[Part], size: float) -> float:
        """Seconds that these parts take at the least; `size` bytes are read over and over."""
        rate = self.read(size)
        return sum(max(part.read / rate, part.operations / self.operations) for part in parts)

    def calls(self, parts: Iterable[Part]) -> float:
        """Seconds that their calls take."""
        return sum(part.products * self.product_call + part.others * self.other_call for part in parts)


def encoder_pass(encoder: Stack, decoder: Stack, lengths: Sequence[int], weight_bytes: int = 4) -> list[Part]:
    """The encoder over sources of these lengths, and the keys and values that the decoder makes of its states.

    Raises ValueError for a stack whose attention this does not count.
    """
    parts = list(_layers(encoder, sum(lengths), weight_bytes, encoder.layers))
    seen = sum(
        4 * a.heads * a.head_width * length * min(length, 1 + sum(a.window) if a.window else length)
        for layer in encoder.layers
        for length in lengths
        if (a := layer.self_attention)
    )
    parts.append(Part("attention", 0, seen, 0, len(encoder.layers)))
    kept = sum(2 * _keys(looks) * (looks.memory_width or decoder.width) for looks in _looks(decoder))
    parts.append(_weights("source's keys and values", kept, sum(lengths), weight_bytes, 2 * len(_looks(decoder))))
    return _merged(parts)


def decoder_step(
    decoder: Stack, lengths: Sequence[int], beams: int, past: int, weight_bytes: int = 4, head_bytes: int | None = None
) -> list[Part]:
    """One step of `beams` rows for each source of these lengths; `past` tokens are seen, the new one among them.

    `head_bytes` are those of a number of the output table, where they differ. Raises ValueError as `encoder_pass`.
    """
    rows = beams * len(lengths)
    parts = list(_layers(decoder, rows, weight_bytes, decoder.layers))
    for layer in decoder.layers:
        own, looks = layer.self_attention, layer.looks
        shown = min(past, 1 + own.window[0]) if own.window else past
        scores = 4 * own.heads * own.head_width * rows * shown
        parts.append(Part("own past", 2 * _keys(own) * rows * shown * CACHED, scores, 0, 3))
        if looks is not None:
            total = sum(lengths)
            scores = 4 * looks.heads * looks.head_width * total * beams
            parts.append(Part("source", 2 * _keys(looks) * total * CACHED, scores, 0, 1))
    if decoder.head is not None:
        transform = decoder.head.transform
        into = transform.width or decoder.state_width if transform else decoder.state_width
        if transform is not None:
            parts.append(_weights("output table", decoder.state_width * into, rows, weight_bytes, 1, 2))
        parts.append(_weights("output table", decoder.vocabulary * into, rows, head_bytes or weight_bytes, 1))
    parts.append(Part("embeddings and choice", 0, 0, 0, 8))
    return _merged(parts)


def generation(
    encoder: Stack,
    decoder: Stack,
    lengths: Sequence[int],
    beams: int,
    new: int,
    weight_bytes: int = 4,
    head_bytes: int | None = None,
) -> tuple[list[Part], list[Part]]:
    """All of a `generate` call that makes `new` tokens: the encoder's part, and the steps'.

    `head_bytes`: as of `decoder_step`.
    """
    middle = (new + 1) / 2  # the past grows evenly, so the middle step is the mean one
    low, high = (
        decoder_step(decoder, lengths, beams, past, weight_bytes, head_bytes)
        for past in (math.floor(middle), math.ceil(middle))
    )
    steps = _merged([part.times(new / 2) for part in (*low, *high)])
    return encoder_pass(encoder, decoder, lengths, weight_bytes), steps


def held(encoder: Stack, decoder: Stack, lengths: Sequence[int], beams: int, new: int) -> int:
    """Bytes of keys and values at the end of a generation."""
    own = sum(2 * _keys(layer.self_attention) for layer in decoder.layers) * beams * len(lengths) * new
    return CACHED * (own + sum(2 * _keys(looks) for looks in _looks(decoder)) * sum(lengths))


def step_weights(decoder: Stack, weight_bytes: int = 4) -> float:
    """Bytes of weights that a step of one row reads."""
    parts = decoder_step(decoder, [1], 1, 1, weight_bytes)
    return sum(part.read for part in parts if part.name not in ("own past", "source"))


def _keys(attention: Attention) -> int:
    return attention.key_value_heads * attention.head_width


def _looks(decoder: Stack) -> list[Attention]:
    return [looks for layer in decoder.layers if (looks := layer.looks) is not None]


def _weights(name: str, numbers: float, rows: int, each: int, products: int, others: int = 0) -> Part:
    """Maps with so many weights, each applied to all rows."""
    return Part(name, numbers * each, 2 * numbers * rows, products, others)


def _layers(stack: Stack, rows: int, each: int, layers: tuple[Layer, ...]) -> Iterator[Part]:
    """The layers' products with weights for so many rows: what the layer's own rows go through."""
    if stack.streams or stack.distances or any(layer.self_attention.sparse for layer in layers):
        raise ValueError("The cost model counts no streams, disentangled or block-sparse attention, but this has some.")
    if stack.narrow is not None:
        numbers = stack.width * stack.narrow.width * (2 if stack.narrow.back else 1)
        yield _weights("widening", numbers, rows, each, 1)
    for layer in layers:
        own, norms = layer.self_attention, len(layer.norms)
        queries = own.heads * own.head_width
        numbers = stack.width * (2 * queries + 2 * _keys(own))
        yield _weights("projections", numbers, rows, each, 2)
        if (looks := layer.looks) is not None and not layer.merged:
            yield _weights("projections", 2 * stack.width * looks.heads * looks.head_width, rows, each, 2)
        forwards = [layer.feed_forward, *([layer.inserted.feed_forward] if layer.inserted else [])]
        for forward in forwards:
            yield from _forward(forward, stack.width, rows, each)
        if layer.adapter is not None:
            yield _weights("feed-forward", 2 * stack.width * layer.adapter.width, rows, each, 2, 2)
        blocks = 2 + (looks is not None and not layer.merged)
        yield Part("norms and sums", 0, 0, 0, norms + blocks)


def _forward(forward: FeedForward | Experts, width: int, rows: int, each: int) -> Iterator[Part]:
    if isinstance(forward, Experts):
        one = width * forward.each.width * (3 if forward.each.gated else 2)
        used = min(forward.count, rows * forward.chosen)
        yield Part("feed-forward", each * one * used, 2 * one * rows * forward.chosen, 2 * used, 2 * used)
        yield _weights("feed-forward", width * forward.count, rows, each, 1, 2)
    else:
        numbers = width * forward.width * (3 if forward.gated else 2)
        yield _weights("feed-forward", numbers, rows, each, 2, 1 + forward.gated)


def _merged(parts: Iterable[Part]) -> list[Part]:
    """Parts of one name as one."""
    names: dict[str, list[float]] = {}
    for part in parts:
        numbers = names.setdefault(part.name, [0, 0, 0, 0])
        for at, more in enumerate((part.read, part.operations, part.products, part.others)):
            numbers[at] += more
    return [Part(name, *numbers) for name, numbers in names.items()]


def as_json(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """For a file of figures."""
    return [asdict(part) for part in parts]


def from_json(parts: Iterable[dict[str, Any]]) -> list[Part]:
    """And back."""
    return [Part(**part) for part in parts]
