"""Experts: what their spec refuses, and what tensors they have."""

import dataclasses

import pytest

from seqgraft.errors import SpecError
from seqgraft.spec import Attention, Experts, FeedForward, Layer, Norm, Positions, Stack, parameters

EACH = FeedForward(6, "silu", gated=True, bias=False)


@pytest.mark.parametrize(
    ("count", "chosen", "message"),
    [
        (0, 1, "Experts.count must be a number of at least 1, but is 0."),
        (2, 0, "Experts.chosen must be a number of at least 1, but is 0."),
        (2, 3, "Experts.chosen must be at most the number of experts (2), but is 3."),
    ],
)
def test_what_experts_refuse(count: int, chosen: int, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Experts(count, chosen, EACH)
    assert str(caught.value) == message


def test_what_else_is_refused() -> None:
    with pytest.raises(SpecError, match=r"FeedForward.clamp needs a gated feed-forward, but is 7.0."):
        FeedForward(6, "gelu", clamp=7.0)
    with pytest.raises(SpecError, match=r"Positions.given must be one of rows, places, but is 'ids'"):
        Positions(6, given="ids")  # type: ignore[arg-type]


def test_their_tensors() -> None:
    layer = Layer(Attention(1, 1, 4), Experts(2, 1, EACH, router_bias=True), Norm("rms", 1e-5, bias=False), "pre")
    table = parameters(Stack(4, 9, (layer,), causal=True))
    own = {
        name.removeprefix("layers.0.feed_forward."): shape for name, shape in table.items() if ".feed_forward." in name
    }
    assert own == {
        "router.weight": (2, 4),
        "router.bias": (2,),
        **{
            f"experts.{e}.{part}.weight": (4, 6) if part == "down" else (6, 4)
            for e in (0, 1)
            for part in ("up", "gate", "down")
        },
    }
    assert dataclasses.replace(layer.feed_forward, router_bias=False).width == 6
