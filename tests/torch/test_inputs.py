"""Inputs that one family has: what the reference makes of them, through a half, a pair and generation."""

from typing import Any

import pytest
import torch

from seqgraft import EncoderDecoderModel
from seqgraft.spec import waiting
from seqgraft.torch.halves import EncoderModel

from ..families.rows import BY_NAME, batch, distance, pad_of
from .test_family_mathematics import BOUND, compare_gradients, real


def draw(high: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(21))


CORNERS = draw(6, 3, 9, 2)
CASES = [
    ("ernie", {"task_type_ids": draw(3, 3, 9)}),
    ("layoutlm", {"bbox": torch.cat((CORNERS, CORNERS + draw(4, 3, 9, 2)), -1)}),
    ("roc_bert", {"input_shape_ids": draw(11, 3, 9), "input_pronunciation_ids": draw(9, 3, 9)}),
    ("roc_bert-sound", {"input_pronunciation_ids": draw(9, 3, 9)}),
    ("xlm", {"langs": draw(3, 3, 9)}),
    ("flaubert-languages", {"langs": draw(2, 3, 9)}),
]


@pytest.mark.parametrize("padding", ["none", "right"])
@pytest.mark.parametrize(("name", "further"), CASES, ids=[name for name, _ in CASES])
def test_states_and_gradients(made: Any, name: str, further: dict[str, torch.Tensor], padding: str) -> None:
    row = BY_NAME[name]
    inputs = batch(padding, pad=pad_of(row))
    ours, theirs = made.ours(row, "encoder"), made.theirs(row, "encoder")
    mask = inputs.get("attention_mask")
    mine, other = ours(**inputs, **further)[0], theirs(**inputs, **further)[0]
    assert distance(*real(mask, mine, other)) < BOUND
    assert distance(*real(mask, mine, ours(**inputs)[0])) > 1e-3
    assert set(ours.spec.inputs) == set(further)
    theirs.zero_grad()
    weights = torch.randn(3, 9, 32) * (1 if mask is None else mask[..., None])
    for states in (mine, other):
        (states * weights).sum().backward()
    compare_gradients(row, ours, theirs)


@torch.no_grad()
def attentive(pair: EncoderDecoderModel) -> EncoderDecoderModel:
    """The pair with cross-attention so large that another source gives another text."""
    for name, parameter in pair.decoder.named_parameters():
        if ".cross_attention." in name:
            parameter.normal_(0.0, 1.0, generator=torch.Generator().manual_seed(len(name)))
    return pair


@pytest.mark.parametrize(("name", "further"), CASES, ids=[name for name, _ in CASES])
@torch.no_grad()
def test_a_pair_hands_them_on(made: Any, name: str, further: dict[str, torch.Tensor]) -> None:
    """Forward, encode and generate say the same, sources of mixed lengths among them."""
    row = BY_NAME[name]
    decoder = BY_NAME["gpt2"]
    pair = EncoderDecoderModel.from_encoder_decoder_pretrained(
        str(made.folder(row, "encoder")), str(made.folder(decoder, "decoder"))
    )
    attentive(pair)
    inputs = batch("right", pad=pad_of(row))
    states = made.theirs(row, "encoder")(**inputs, **further)[0]
    mask = inputs["attention_mask"]
    assert distance(*real(mask, pair.encode(**inputs, **further)[0], states)) < BOUND
    start = torch.ones(3, 1, dtype=torch.long)
    out = pair(**inputs, **further, decoder_input_ids=start, use_cache=False)
    assert distance(*real(mask, out.encoder_last_hidden_state, states)) < BOUND
    settings = {"decoder_start_token_id": 1, "max_new_tokens": 5, "eos_token_id": None, "pad_token_id": 0}
    written = start
    for _ in range(5):
        logits = pair(encoder_outputs=(states,), attention_mask=mask, decoder_input_ids=written, use_cache=False).logits
        written = torch.cat((written, logits[:, -1:].argmax(-1)), 1)
    assert torch.equal(pair.generate(**inputs, **further, **settings), written)
    assert not torch.equal(pair.generate(**inputs, **settings), written)
    with pytest.raises(TypeError, match="`boxes` must be left out, since '"):
        pair(**inputs, boxes=start, decoder_input_ids=start)
    with pytest.raises(TypeError, match="`boxes` must be left out, since '"):
        pair(encoder_outputs=(states,), boxes=start, decoder_input_ids=start)
    with pytest.raises(TypeError, match="unexpected arguments: boxes"):
        pair.generate(**inputs, boxes=start)


@torch.no_grad()
def test_a_family_without_them(made: Any) -> None:
    ours = made.ours(BY_NAME["bert"], "encoder")
    with pytest.raises(TypeError, match=r"`bbox` must be left out, since 'bert' has no such input.*it has none"):
        ours(batch()["input_ids"], bbox=CASES[1][1]["bbox"])
    with pytest.raises(TypeError, match="'layoutlm' has no such input; of inputs of its own it has `bbox`"):
        made.ours(BY_NAME["layoutlm"], "encoder")(batch()["input_ids"], langs=draw(2, 3, 9))


def trained(model: EncoderModel, **inputs: torch.Tensor) -> set[str]:
    model.zero_grad(set_to_none=True)
    model(batch()["input_ids"], **inputs)[0].square().sum().backward()
    return {name for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("name", ["xlm", "xlnet", "roc_bert", "longformer", "bert", "ernie"])
def test_what_waits_for_an_input(made: Any, name: str) -> None:
    """It gets no gradient without its input, and one with it."""
    ours, ids = made.ours(BY_NAME[name], "encoder", add_pooling_layer=False), draw(2, 3, 9)
    waits = waiting(ours.spec)
    everything = {name for name, _ in ours.named_parameters()}
    assert everything - trained(ours) == set(waits)
    assert trained(ours, **dict.fromkeys(set(waits.values()), ids)) == everything
