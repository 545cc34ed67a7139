"""Tables of distances and what reads them; biases that only some maps have."""

import pytest

from seqgraft.errors import SpecError
from seqgraft.spec import Attention, Convolution, Disentangled, Distances, FeedForward, Layer, Norm, Stack, parameters


def test_distances_and_what_reads_them() -> None:
    """A disentangled block needs the stack's table, looks at something, and keeps its keys ungrouped."""
    tangled = Disentangled(True, True)
    with pytest.raises(SpecError, match="must look at contents, at positions, or at both"):
        Disentangled(False, False)
    with pytest.raises(SpecError, match="as many key-value heads as heads"):
        Attention(4, 2, 8, disentangled=tangled)
    with pytest.raises(SpecError, match="no positions"):
        Attention(4, 4, 8, memory_width=32, disentangled=tangled)
    with pytest.raises(SpecError, match=r"Distances.longest must be a number of at least 6, but is 5"):
        Distances(8, 5)
    layer = Layer(Attention(4, 4, 8, disentangled=tangled), FeedForward(64, "gelu"), Norm("layer", 1e-5), "post")
    with pytest.raises(SpecError, match=r"Stack.distances is None"):
        Stack(32, 61, (layer,), causal=False)
    table = parameters(Stack(32, 61, (layer,), causal=False, distances=Distances(8)))
    assert table["distances.weight"] == (16, 32)
    assert table["layers.0.self_attention.disentangled.query.bias"] == (32,)


def test_a_bias_of_its_own() -> None:
    """A projection may have a bias, or have none, where its neighbours differ."""
    own, forward = (
        Attention(4, 4, 8, input_bias=True, key_bias=False),
        FeedForward(64, "gelu", bias=False, down_bias=True),
    )
    table = parameters(Stack(32, 61, (Layer(own, forward, Norm("layer", 1e-5), "post"),), causal=False))
    biased = {name for name in table if name.endswith("bias") and "norm" not in name}
    assert biased == {
        f"layers.0.{name}.bias" for name in ("self_attention.query", "self_attention.value", "feed_forward.down")
    }


def test_a_convolution_keeps_lengths_and_order() -> None:
    """Its kernel is odd, its groups divide the width, and no causal stack may look ahead through it."""
    layer = Layer(Attention(4, 4, 8), FeedForward(64, "gelu"), Norm("layer", 1e-5), "post")
    with pytest.raises(SpecError, match=r"Convolution.kernel must be an odd number, but is 4"):
        Convolution(4, "tanh")
    for causal, groups in ((True, 1), (False, 5)):
        with pytest.raises(SpecError, match="not causal, and groups that divide its width"):
            Stack(32, 61, (layer,), causal=causal, convolution=Convolution(3, "tanh", groups))
    table = parameters(Stack(32, 61, (layer,), causal=False, convolution=Convolution(3, "tanh", 4)))
    assert table["convolution.weight"] == (32, 8, 3)
