"""Attention to a few blocks: what it needs."""

import dataclasses

import pytest

from seqgraft.errors import SpecError
from seqgraft.spec import Attention, BlockSparse, Buckets, FeedForward, Layer, Norm, Stack


def test_blocks_of_an_encoder() -> None:
    few = BlockSparse(4, 2, 96)
    assert few.full == (2 + 3 + 2 * 2) * 4
    for wrong in ((0, 2, 96), (4, -1, 96), (4, 2, 0)):
        with pytest.raises(SpecError, match=r"BlockSparse.* must be a number of at least"):
            BlockSparse(*wrong)
    with pytest.raises(SpecError, match="as many key-value heads as heads"):
        Attention(4, 2, 8, sparse=few)
    with pytest.raises(SpecError, match="nothing else that changes the scores"):
        Attention(4, 4, 8, sparse=few, window=(2, 2))
    with pytest.raises(SpecError, match="no positions and no window"):
        Attention(4, 4, 8, sparse=few, memory_width=32)
    layer = Layer(Attention(4, 4, 8, sparse=few), FeedForward(64, "gelu"), Norm("layer", 1e-5), "post")
    stack = Stack(32, 61, (layer,), causal=False)
    for wrong in ({"causal": True}, {"position_bias": Buckets(8, 16)}):
        with pytest.raises(SpecError, match=r"a stack that is not causal and has no Stack\.position_bias"):
            dataclasses.replace(stack, **wrong)


def test_tokens_that_see_everything() -> None:
    near = Attention(4, 4, 8, window=(2, 2), everywhere=True)
    with pytest.raises(SpecError, match=r"Attention\.everywhere needs a window"):
        Attention(4, 4, 8, everywhere=True)
    for wrong in ({"key_value_heads": 2}, {"alibi": 8.0}, {"sink": True}, {"softcap": 5.0}):
        with pytest.raises(SpecError, match=r"Attention\.everywhere needs .* nothing else that changes the scores"):
            dataclasses.replace(near, **wrong)
    stack = Stack(32, 61, (Layer(near, FeedForward(64, "gelu"), Norm("layer", 1e-5), "post"),), causal=False)
    assert stack.sees_everywhere
    assert not dataclasses.replace(
        stack, layers=(dataclasses.replace(stack.layers[0], self_attention=Attention(4, 4, 8)),)
    ).sees_everywhere
    for wrong in ({"causal": True}, {"position_bias": Buckets(8, 16)}):
        with pytest.raises(SpecError, match=r"Attention\.everywhere needs a stack that is not causal"):
            dataclasses.replace(stack, **wrong)
