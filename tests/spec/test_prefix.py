"""Prefixes: what they need, and which tensors they are."""

from dataclasses import replace

import pytest

from seqgraft.errors import SpecError
from seqgraft.spec import Attention, BlockSparse, FeedForward, Layer, Norm, Prefix, Stack, parameters

OWN = Attention(4, 2, 8)
LAYER = Layer(OWN, FeedForward(64, "gelu"), Norm("layer", 1e-5), "post")
STACK = Stack(32, 61, (LAYER,) * 3, causal=True, prefix=Prefix(5, 12, ("self_attention",)))


def test_its_tensors() -> None:
    """Keys and values of two groups of eight numbers, in three layers."""
    table = {name: shape for name, shape in parameters(STACK).items() if name.startswith("prefixes.")}
    assert table == {
        "prefixes.self_attention.embed.weight": (5, 32),
        "prefixes.self_attention.up.weight": (12, 32),
        "prefixes.self_attention.up.bias": (12,),
        "prefixes.self_attention.down.weight": (3 * 2 * 2 * 8, 12),
        "prefixes.self_attention.down.bias": (96,),
    }


def test_what_it_needs() -> None:
    other = replace(LAYER, self_attention=Attention(4, 4, 8))
    sparse = replace(LAYER, self_attention=Attention(4, 4, 8, sparse=BlockSparse(4, 1, 1024)))
    for make, message in (
        (lambda: Prefix(0, 12, ("self_attention",)), "Prefix.length must be a number of at least 1"),
        (lambda: Prefix(5, 12, ()), "Prefix.blocks must name a block"),
        (lambda: Prefix(5, 12, ("feed_forward",)), "Prefix.blocks must be one of self_attention"),  # type: ignore[arg-type]
        (lambda: Prefix(5, 12, ("self_attention",), "sine"), "Prefix.activation must be one of"),
        (lambda: replace(STACK, prefix=Prefix(5, 12, ("cross_attention",))), "needs a cross_attention in every layer"),
        (lambda: replace(STACK, layers=(LAYER, other)), "self_attention in every layer, all with heads alike"),
        (lambda: replace(STACK, causal=False, layers=(sparse,)), "neither sparse nor of several streams"),
    ):
        with pytest.raises(SpecError, match=message):
            make()
