"""Streams that look ahead: what they need."""

import dataclasses
from typing import Any

import pytest

from seqgraft.errors import SpecError
from seqgraft.spec import Attention, Buckets, FeedForward, Layer, Norm, Positions, Stack, Streams, parameters


def test_streams_of_a_decoder() -> None:
    with pytest.raises(SpecError, match=r"Streams.count must be a number of at least 1"):
        Streams(0, 1)
    with pytest.raises(SpecError, match=r"Streams.learned must be at most the count \(2\), but is 3"):
        Streams(2, 3)
    with pytest.raises(SpecError, match=r"Streams.smoothing"):
        Streams(2, 2, 1.5)
    for wrong in ({"key_value_heads": 2}, {"window": (2, 0)}, {"memory_width": 32}):
        fields: dict[str, Any] = {"heads": 4, "key_value_heads": 4, "head_width": 8, **wrong}
        with pytest.raises(SpecError, match=r"Attention.relative needs self-attention"):
            Attention(**fields, relative=Buckets(8, 12))
    own = Attention(4, 4, 8, relative=Buckets(8, 12))
    layer = Layer(own, FeedForward(64, "gelu"), Norm("layer", 1e-5), "post")
    stack = Stack(32, 61, (layer,), causal=True, positions=Positions(20, 1), streams=Streams(2, 2))
    plain = dataclasses.replace(layer, self_attention=Attention(4, 4, 8))
    for other in ({"causal": False}, {"positions": None}, {"layers": (plain,)}, {"layers": (layer, plain)}):
        with pytest.raises(SpecError, match=r"Stack.streams needs a causal stack"):
            dataclasses.replace(stack, **other)
    with pytest.raises(SpecError, match=r"Stack.streams is None"):
        dataclasses.replace(stack, streams=None)
    table = parameters(stack)
    assert table["streams.weight"] == (2, 32)
    assert table["layers.0.self_attention.relative.weight"] == (32, 32)
    assert table["layers.0.self_attention.relative.bias"] == (32,)
