"""A spec is checked where it is made; its table and its graft are computed from it alone."""

import dataclasses
from typing import Any

import pytest

from seqgraft.errors import ConfigurationError, SpecError
from seqgraft.spec import (
    Adapter,
    Attention,
    Constant,
    FeedForward,
    Graft,
    Head,
    Layer,
    Narrow,
    Norm,
    Positions,
    Rotary,
    RotaryScaling,
    Stack,
    TokenDropout,
    Transform,
    graft,
    parameters,
)

NORM = Norm("layer", 1e-5)
OWN = Attention(4, 4, 8)
FORWARD = FeedForward(20, "gelu")
LAYER = Layer(OWN, FORWARD, NORM, "pre")
STACK = Stack(12, 30, (LAYER, LAYER), causal=True, head=Head(tied=True))

WRONG: list[tuple[Any, dict[str, Any], str]] = [
    (STACK, {"layer_drop": 1.5}, "Stack.layer_drop must be a probability from 0 to 1, but is 1.5."),
    (STACK, {"embed_norm_first": True}, "Stack.embed_norm_first needs an embedding norm, but there is none."),
    (STACK, {"padding": 30}, "Stack.padding must be a token of the vocabulary (0 to 29), but is 30."),
    (NORM, {"kind": "batch"}, "Norm.kind must be one of layer, rms, but is 'batch'."),
    (NORM, {"eps": -1.0}, "Norm.eps must be a number of at least 0, but is -1.0."),
    (NORM, {"kind": "rms"}, "Norm.bias must be False for the kind 'rms', but is True."),
    (Rotary(10.0), {"theta": 0.5}, "Rotary.theta must be a number of at least 1, but is 0.5."),
    (OWN, {"heads": 0}, "Attention.heads must be a number of at least 1, but is 0."),
    (OWN, {"heads": True}, "Attention.heads must be a number of at least 1, but is True."),
    (OWN, {"key_value_heads": 0}, "Attention.key_value_heads must be a number of at least 1, but is 0."),
    (OWN, {"head_width": 0}, "Attention.head_width must be a number of at least 1, but is 0."),
    (
        OWN,
        {"key_value_heads": 3},
        "The number of key-value heads must divide the number of attention heads (4), but is 3.",
    ),
    (OWN, {"head_width": 7, "rotary": Rotary(10.0)}, "Rotary positions need an even head width, but it is 7."),
    (OWN, {"window": (-1, 0)}, "Attention.window must hold two numbers of at least 0, but is (-1, 0)."),
    (OWN, {"memory_width": 0}, "Attention.memory_width must be a number of at least 1, but is 0."),
    (
        OWN,
        {"memory_width": 8, "window": (1, 0)},
        "Cross-attention has no *positions and no window of its own.",
    ),
    (
        OWN,
        {"memory_width": 8, "rotary": Rotary(10.0)},
        "Cross-attention has no *positions and no window of its own.",
    ),
    (OWN, {"head_norm_spans": "some"}, "Attention.head_norm_spans must be one of *, but is 'some'."),
    (
        OWN,
        {"head_norm": NORM, "head_norm_spans": "each"},
        "Attention.head_norm must have a weight and no bias when each head has its own.",
    ),
    (NORM, {"weight": False}, "Norm.bias and Norm.offset need a weight, but there is none."),
    (Rotary(10.0), {"width": 3}, "Rotary.width must be an even number of at least 2, but is 3."),
    (OWN, {"rotary": Rotary(10.0, 10)}, "Rotary.width must be at most the head width (8), but is 10."),
    (RotaryScaling("linear", 2.0), {"kind": "none"}, "RotaryScaling.kind must be one of *, but is 'none'."),
    (RotaryScaling("linear", 2.0), {"factor": 0.5}, "RotaryScaling.factor must be a number of at least 1, but is 0.5."),
    (
        RotaryScaling("linear", 2.0),
        {"kind": "yarn"},
        "RotaryScaling.original must be a number of at least 1, but is 0.",
    ),
    (
        RotaryScaling("longrope", original=4, short=(1.0,), long=(2.0,)),
        {"long": ()},
        "RotaryScaling of the kind 'longrope' needs as many short as long factors, at least one.",
    ),
    (OWN, {"dropout": 1.5}, "Attention.dropout must be a probability from 0 to 1, but is 1.5."),
    (FORWARD, {"width": 0}, "FeedForward.width must be a number of at least 1, but is 0."),
    (
        FORWARD,
        {"activation": "swish"},
        "FeedForward.activation must be one of *, but is 'swish'.",
    ),
    (FORWARD, {"dropout": -0.1}, "FeedForward.dropout must be a probability from 0 to 1, but is -0.1."),
    (LAYER, {"order": "both"}, "Layer.order must be one of *, but is 'both'."),
    (LAYER, {"dropout": 2}, "Layer.dropout must be a probability from 0 to 1, but is 2."),
    (
        LAYER,
        {"self_attention": dataclasses.replace(OWN, memory_width=8)},
        "Self-attention attends to its own stack, so its memory_width must be None.",
    ),
    (
        LAYER,
        {"cross_attention": OWN},
        "Cross-attention must say the width of what it attends to, but its memory_width is None.",
    ),
    (Positions(9), {"rows": 0}, "Positions.rows must be a number of at least 1, but is 0."),
    (Positions(9), {"offset": -1}, "Positions.offset must be a number of at least 0, but is -1."),
    (Positions(9), {"offset": 9}, "Positions.offset must be below the number of rows (9), but is 9."),
    (Positions(9), {"counted": "some"}, "Positions.counted must be one of *, but is 'some'."),
    (
        Positions(9),
        {"counted": "real"},
        "Positions.offset must be at least 1 when only real tokens count, but is 0.",
    ),
    (
        Transform("gelu", NORM),
        {"activation": "none"},
        "Transform.activation must be one of *, but is 'none'.",
    ),
    (STACK, {"width": 0}, "Stack.width must be a number of at least 1, but is 0."),
    (STACK, {"vocabulary": 0}, "Stack.vocabulary must be a number of at least 1, but is 0."),
    (STACK, {"layers": ()}, "A stack must have at least one layer, but has none."),
    (STACK, {"token_types": -1}, "Stack.token_types must be a number of at least 0, but is -1."),
    (STACK, {"embed_dropout": 7}, "Stack.embed_dropout must be a probability from 0 to 1, but is 7."),
    (
        STACK,
        {"layers": (dataclasses.replace(LAYER, self_attention=dataclasses.replace(OWN, window=(2, 1))),)},
        "A causal stack sees no position ahead, so every window must be (back, 0).",
    ),
    (Adapter(4, "gelu"), {"width": 0}, "Adapter.width must be a number of at least 1, but is 0."),
    (Adapter(4, "gelu"), {"activation": "none"}, "Adapter.activation must be one of *, but is 'none'."),
    (Adapter(4, "gelu"), {"norm": "first"}, "Adapter.norm must be one of own, feed_forward, but is 'first'."),
    (
        LAYER,
        {"adapter": Adapter(4, "gelu"), "order": "sandwich"},
        "Layer.adapter needs the order 'pre' or 'post', but it is 'sandwich'.",
    ),
    (LAYER, {"feed_forward_dropout": 2}, "Layer.feed_forward_dropout must be a probability from 0 to 1, but is 2."),
    (TokenDropout(3, 0.1), {"token": -1}, "TokenDropout.token must be a number of at least 0, but is -1."),
    (TokenDropout(3, 0.1), {"rate": 1.1}, "TokenDropout.rate must be a probability from 0 to 1, but is 1.1."),
    (
        STACK,
        {"constants": (Constant("shape", 5, width=3),)},
        "Constants are joined to the embeddings before a map that widens them: Stack.narrow.",
    ),
    (
        STACK,
        {"constants": (Constant("shape", 5, width=3),), "narrow": Narrow(4)},
        "Constants are joined to the embeddings before a map that widens them: Stack.narrow.",
    ),
    (STACK, {"shared": (0,)}, "Stack.shared must name, for each of 2 layers, itself or one before it, but is (0,)."),
    (
        STACK,
        {"shared": (1, 1)},
        "Stack.shared must name, for each of 2 layers, itself or one before it, but is (1, 1).",
    ),
    (
        STACK,
        {"layers": (LAYER, dataclasses.replace(LAYER, order="post")), "shared": (0, 0)},
        "Layers that share parameters must be alike, and their owner must own its parameters.",
    ),
]


@pytest.mark.parametrize(("right", "change", "message"), WRONG, ids=[message[:48] for _, _, message in WRONG])
def test_what_is_impossible_is_refused(right: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        dataclasses.replace(right, **change)
    start, _, end = message.partition("*")  # what a list of choices holds grows with the families
    assert str(caught.value).startswith(start)
    assert str(caught.value).endswith(end)


def test_specs_are_values() -> None:
    assert dataclasses.replace(STACK) == STACK
    assert hash(dataclasses.replace(STACK)) == hash(STACK)
    with pytest.raises(dataclasses.FrozenInstanceError):
        STACK.width = 3  # type: ignore[misc]
    assert Positions(9, 2).longest == 7


def test_memory_width() -> None:
    assert not STACK.sees_memory
    assert STACK.memory_width is None
    sees = [
        dataclasses.replace(LAYER, cross_attention=dataclasses.replace(OWN, memory_width=width)) for width in (5, 6)
    ]
    one = dataclasses.replace(STACK, layers=(LAYER, sees[0]))
    assert one.sees_memory
    assert one.memory_width == 5
    two = dataclasses.replace(STACK, layers=tuple(sees))
    with pytest.raises(
        SpecError, match=r"All layers must read encoder states of one width, but they read \['5', '6'\]"
    ):
        _ = two.memory_width


def test_graft_adds_what_it_says() -> None:
    own = dataclasses.replace(
        OWN, key_value_heads=2, rotary=Rotary(100.0), window=(3, 0), scale=0.3, head_norm=Norm("rms", 1e-6, False)
    )
    layers = tuple(dataclasses.replace(LAYER, self_attention=own) for _ in range(5))
    plain = dataclasses.replace(STACK, layers=layers)
    grafted = graft(plain, 9, Graft(every=2))
    assert [layer.cross_attention is not None for layer in grafted.layers] == [False, True, False, True, False]
    cross = grafted.layers[1].cross_attention
    assert cross == dataclasses.replace(own, memory_width=9, rotary=None, window=None, gate="tanh")
    assert grafted.memory_width == 9
    assert grafted.layers[0] == plain.layers[0]
    assert dataclasses.replace(grafted.layers[1], cross_attention=None) == plain.layers[1]
    added = {name: shape for name, shape in parameters(grafted).items() if name not in parameters(plain)}
    at = "layers.1.cross_attention"
    assert {n: s for n, s in added.items() if n.startswith("layers.1.")} == {
        f"{at}.query.weight": (32, 12),
        f"{at}.key.weight": (16, 9),
        f"{at}.value.weight": (16, 9),
        f"{at}.output.weight": (12, 32),
        f"{at}.query_norm.weight": (8,),
        f"{at}.key_norm.weight": (8,),
        f"{at}.gate": (1,),
        f"{at}_norm.weight": (12,),
        f"{at}_norm.bias": (12,),
    }
    assert len(added) == 18
    ungated = parameters(graft(plain, 9, Graft(gate=None)))
    assert not any(name.endswith(".gate") for name in ungated)
    assert graft(plain, 9) == graft(plain, 9, Graft())


def test_what_a_graft_refuses() -> None:
    with pytest.raises(SpecError, match="needs a decoder without cross-attention"):
        graft(graft(STACK, 9), 9)
    with pytest.raises(SpecError, match=r"`every` of a graft must be at most the number of layers \(2\), but is 3"):
        graft(STACK, 9, Graft(every=3))
    with pytest.raises(SpecError, match=r"`layers` of a graft must be below 2, but the highest is 5"):
        graft(STACK, 9, Graft(layers=(0, 5)))
    with pytest.raises(SpecError, match=r"reads states of the decoder's own width \(\d+\), but they are 9 wide"):
        graft(STACK, 9, Graft(how="merged"))
    for fields, message in (
        ({"how": "beside"}, "`how` of a graft must be 'between', 'inserted' or 'merged', but is 'beside'."),
        ({"init": "zero"}, "`init` of a graft must be 'random' or 'self_attention', but is 'zero'."),
        ({"layers": [-1]}, "`layers` of a graft must hold the numbers of layers, but is [-1]."),
        ({"layers": [0], "every": 2}, "A graft must have `layers` or `every`, but has both (2)."),
        ({"every": 0}, "`every` of a graft must be a whole number of at least 1, but is 0."),
        ({"every": True}, "`every` of a graft must be a whole number of at least 1, but is True."),
        ({"gate": "sigmoid"}, "`gate` of a graft must be 'tanh' or None, but is 'sigmoid'."),
        ({"depth": 1}, "A graft must be described by how, every, layers, gate, init, but is described by depth."),
    ):
        with pytest.raises(ConfigurationError) as caught:
            Graft.read(fields)
        assert str(caught.value) == message
    assert Graft.read(None) == Graft()
    assert Graft.read({"every": 2}) == Graft(every=2)
    assert Graft.read(Graft(gate=None)) == Graft(gate=None)


def test_table() -> None:
    whole = Stack(
        6,
        11,
        (
            Layer(
                Attention(2, 1, 4, input_bias=True),
                FeedForward(10, "silu", gated=True, bias=False),
                Norm("rms", 1e-6, False),
                "pre",
            ),
        ),
        causal=True,
        positions=Positions(7),
        token_types=2,
        embed_norm=NORM,
        final_norm=Norm("rms", 1e-6, False),
        head=Head(tied=False, bias=True, transform=Transform("gelu", NORM)),
    )
    assert parameters(whole) == {
        "embed.weight": (11, 6),
        "positions.weight": (7, 6),
        "token_types.weight": (2, 6),
        "embed_norm.weight": (6,),
        "embed_norm.bias": (6,),
        "layers.0.self_attention.query.weight": (8, 6),
        "layers.0.self_attention.query.bias": (8,),
        "layers.0.self_attention.key.weight": (4, 6),
        "layers.0.self_attention.key.bias": (4,),
        "layers.0.self_attention.value.weight": (4, 6),
        "layers.0.self_attention.value.bias": (4,),
        "layers.0.self_attention.output.weight": (6, 8),
        "layers.0.self_attention_norm.weight": (6,),
        "layers.0.feed_forward.up.weight": (10, 6),
        "layers.0.feed_forward.gate.weight": (10, 6),
        "layers.0.feed_forward.down.weight": (6, 10),
        "layers.0.feed_forward_norm.weight": (6,),
        "final_norm.weight": (6,),
        "head.dense.weight": (6, 6),
        "head.dense.bias": (6,),
        "head.norm.weight": (6,),
        "head.norm.bias": (6,),
        "head.output.weight": (11, 6),
        "head.output.bias": (11,),
    }
    tied = dataclasses.replace(whole, head=Head(tied=True))
    assert [name for name in parameters(tied) if name.startswith("head.")] == []


def test_the_table_of_an_adapter_and_of_joined_constants() -> None:
    layer = dataclasses.replace(LAYER, adapter=Adapter(5, "gelu", norm="own"))
    table = parameters(dataclasses.replace(STACK, layers=(layer,)))
    assert {n: s for n, s in table.items() if "adapter" in n} == {
        "layers.0.adapter.up.weight": (5, 12),
        "layers.0.adapter.up.bias": (5,),
        "layers.0.adapter.down.weight": (12, 5),
        "layers.0.adapter.down.bias": (12,),
        "layers.0.adapter_norm.weight": (12,),
        "layers.0.adapter_norm.bias": (12,),
    }
    constants = (Constant("shape", 7, width=3), Constant("task", 2))
    table = parameters(dataclasses.replace(STACK, constants=constants, narrow=Narrow(4, sums="wide"), head=None))
    assert table["embed.weight"] == (30, 4)
    assert table["constants.shape.weight"] == (7, 3)
    assert table["constants.task.weight"] == (2, 12)
    assert table["widen.weight"] == (12, 7)


def test_shared_layers_have_one_set_of_parameters() -> None:
    table = parameters(dataclasses.replace(STACK, shared=(0, 0)))
    assert {name.split(".")[1] for name in table if name.startswith("layers.")} == {"0"}
