"""What a pair costs in memory: its weights, and its cache by the token. From specs and headers, no framework."""

import math
from dataclasses import dataclass

from seqgraft.checkpoints import WeightFiles
from seqgraft.spec import Attention, Stack


@dataclass(frozen=True)
class Cost:
    """Bytes, in the dtypes that the checkpoints are loaded in."""

    weights: int
    """Of the whole model, shared tensors once."""
    cache_per_source_token: int
    """Keys and values of the layers that look at the encoder: once a source, however many beams."""
    cache_per_target_token: int
    """Keys and values of the decoder's own past: for every beam."""
    bytes_per_number: int
    """Of the decoder, and so of the cache."""


def the_cost(decoder: Stack, numbers: tuple[int, int], shared: int, bytes_each: tuple[int, int]) -> Cost:
    """From the decoder's spec, the numbers of both halves, those that they share, and the bytes of a number of each.

    Grouped heads are kept unrepeated; a layer without cross-attention keeps nothing of the source.
    """
    source = sum(_kept(looks) for layer in decoder.layers if (looks := layer.looks) is not None)
    target = sum(_kept(layer.self_attention) for layer in decoder.layers)
    own, other = bytes_each
    weights = numbers[0] * own + numbers[1] * other - shared * own
    return Cost(weights, source * other, target * other, other)


def _kept(attention: Attention) -> int:
    """Numbers that an attention keeps of one token: a key and a value for each group of heads."""
    return 2 * attention.key_value_heads * attention.head_width


def element_size(files: WeightFiles) -> int:
    """Bytes of a number in the dtype that most of a checkpoint has, which it is loaded in."""
    held: dict[int, int] = {}
    for header in files.headers.values():
        count = math.prod(header.shape)
        if count and header.dtype.startswith(("F", "BF")):
            width = header.size // count
            held[width] = held.get(width, 0) + header.size
    return max(held, key=lambda width: held[width]) if held else 4
