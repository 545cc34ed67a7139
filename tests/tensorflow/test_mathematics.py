"""TensorFlow computes what the reference computes, for every family: eager, traced with unknown sizes, compiled."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
import torch.nn.functional as F

from seqgraft.functional.layout import canonical
from seqgraft.functional.pair import cross_entropy
from seqgraft.tensorflow.ops import TensorFlowOps

from ..families.rows import BY_NAME, VOCABULARY, Row, batch, distance, encoder_of, pad_of
from ..functional.cases import BOUND, DECODERS, ENCODERS, asked, given, run_half, run_spec, weights
from ..torch.test_family_mathematics import memory, real

OPS = TensorFlowOps()


def torched(x: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(x))


@pytest.mark.parametrize(("row", "both"), ENCODERS)
@torch.no_grad()
def test_encoder(made: Any, row: Row, both: bool) -> None:
    theirs = encoder_of(made.theirs(row, "encoder", both_ways=both))
    inputs, record = batch("right", pad=pad_of(row)), asked()
    mine = torched(run_half(OPS, made.ours(row, "encoder", both_ways=both), inputs, record))
    other = theirs(**inputs, output_hidden_states=True)
    mask = inputs["attention_mask"] if row.sees_back or not row.shows_padding else None
    assert distance(*real(mask, mine, other[0])) < BOUND
    for own, their in zip(record.states or (), other.hidden_states, strict=True):
        assert distance(*real(mask, torched(own), their)) < BOUND


@pytest.mark.parametrize(("row", "cross"), DECODERS)
@torch.no_grad()
def test_decoder(made: Any, row: Row, cross: bool) -> None:
    theirs, ours = made.theirs(row, "decoder", cross), made.ours(row, "decoder", cross)
    inputs = {**batch("left", pad=pad_of(row)), **(memory(row.source) if cross else {})}
    mine = torched(run_half(OPS, ours, inputs))
    assert distance(*real(inputs.get("attention_mask"), mine, theirs(**inputs, use_cache=False)[0])) < BOUND


def traced(ours: Any, told: dict[str, Any], compiled: bool) -> Any:
    """A half as one program that knows neither rows nor length, run."""
    spec, held = ours.spec, weights(OPS, ours)
    known = {n: [None, None, *x.shape[2:]] for n, x in told.items()}

    @tf.function(
        input_signature=[{name: tf.TensorSpec(known[name], x.dtype) for name, x in told.items()}],
        jit_compile=compiled,
        autograph=False,
    )
    def half(told: dict[str, Any]) -> Any:
        return run_spec(OPS, spec, held, told)

    return half(told)


@pytest.mark.parametrize(
    ("name", "compiled"), [("bert", True), ("xlnet", True), ("deberta-v2", False), ("t5", False), ("longformer", False)]
)
def test_encoder_of_unknown_sizes(made: Any, name: str, compiled: bool) -> None:
    ours, told = made.ours(BY_NAME[name], "encoder"), given(OPS, batch("right", pad=pad_of(BY_NAME[name])))
    eager = run_spec(OPS, ours.spec, weights(OPS, ours), told)
    mask = told["attention_mask"] != 0
    assert distance(*(torched(x[mask]) for x in (traced(ours, told, compiled), eager))) < BOUND


@pytest.mark.parametrize(
    ("name", "compiled"), [("gpt2", True), ("llama", True), ("roberta", False), ("bloom", False), ("prophetnet", False)]
)
def test_decoder_of_unknown_sizes(made: Any, name: str, compiled: bool) -> None:
    row = BY_NAME[name]
    ours = made.ours(row, "decoder", row.cross)
    told = given(OPS, {**batch("left", pad=pad_of(row)), **(memory(row.source) if row.cross else {})})
    eager = run_spec(OPS, ours.spec, weights(OPS, ours), told)
    mask = told["attention_mask"] != 0
    assert distance(*(torched(x[mask]) for x in (traced(ours, told, compiled), eager))) < BOUND


def test_blocks_need_a_known_length(made: Any) -> None:
    row = BY_NAME["big_bird"]
    with pytest.raises(ValueError, match="fixed length"):
        traced(made.ours(row, "encoder"), given(OPS, batch("right", pad=pad_of(row))), False)


@pytest.mark.parametrize("name", ["bert", "gpt2", "bart", "prophetnet", "mixtral", "gemma"])
def test_loss_and_gradients(made: Any, name: str) -> None:
    """Those of every parameter; one that is zero but for rounding (a key's bias) is measured by the largest."""
    row = BY_NAME[name]
    ours = made.ours(row, "decoder", row.cross)
    inputs = {**batch("none"), **(memory(row.source) if row.cross else {})}
    labels = torch.randint(4, VOCABULARY, inputs["input_ids"].shape, generator=torch.Generator().manual_seed(5))
    labels[0, 3:] = -100
    theirs = F.cross_entropy(ours(**inputs).logits.flatten(0, 1), labels.flatten())
    theirs.backward()
    held = weights(OPS, ours)
    with tf.GradientTape() as tape:
        for value in held.values():
            tape.watch(value)
        loss = cross_entropy(OPS, run_spec(OPS, ours.spec, held, given(OPS, inputs)), tf.constant(labels.int().numpy()))
    assert abs(float(loss) - theirs.item()) < BOUND * theirs.item()
    found = {n: np.array(tf.convert_to_tensor(g)) for n, g in tape.gradient(loss, held).items() if g is not None}
    mine = canonical(ours.spec, {n: found.get(n, np.zeros(x.shape, np.float32)) for n, x in held.items()}, np.transpose)
    wanted = {n: p.grad for n, p in ours.named_parameters(remove_duplicate=False) if p.grad is not None and n in mine}
    floor = max(float(g.abs().max()) for g in wanted.values())
    assert wanted
    for leaf, gradient in wanted.items():
        assert distance(torched(mine[leaf]), gradient, floor) < BOUND, leaf
