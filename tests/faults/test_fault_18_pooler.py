"""Fault 18: no pooler that is never used: it is built on request only, and carried through the round trip."""

import pytest
import torch
import transformers
from safetensors.torch import load_file

import seqgraft
from seqgraft import EncoderDecoderModel

from . import tiny

POOLER = ["pooler.dense.bias", "pooler.dense.weight"]


@pytest.fixture(scope="module")
def pooled(tmp_path_factory):
    """A body with its pooler, as published ones are."""
    folder = tmp_path_factory.mktemp("pooled")
    torch.manual_seed(1)
    transformers.BertModel(tiny.config("bert", transformers)).save_pretrained(folder)
    return str(folder)


def _trained(model):
    model.train()
    model(input_ids=tiny.source(), labels=tiny.target()).loss.backward()
    return {n: p for n, p in model.named_parameters() if p.requires_grad}


def test_the_reference_has_one_that_never_learns(pooled):
    model = transformers.EncoderDecoderModel.from_encoder_decoder_pretrained(pooled, pooled)
    model.config.decoder_start_token_id = model.config.pad_token_id = 0
    idle = [name for name, parameter in _trained(model).items() if parameter.grad is None]
    assert sorted(idle) == [f"encoder.{name}" for name in POOLER]


@pytest.mark.parametrize("encoder", ["bert", "roberta", "gpt2", "bart", "llama"])
@pytest.mark.parametrize("decoder", ["bert", "gpt2", "bart", "llama"])
def test_every_parameter_gets_a_gradient(encoder, decoder, written, tmp_path):
    composed = EncoderDecoderModel.from_encoder_decoder_pretrained(
        written[encoder], written[decoder], decoder_start_token_id=tiny.START, pad_token_id=0
    )
    composed.save_pretrained(tmp_path)
    for model in (composed, EncoderDecoderModel.from_pretrained(tmp_path), tiny.pair(encoder, decoder)):
        assert [name for name, parameter in _trained(model).items() if parameter.grad is None] == []


def test_carried_bit_for_bit(pooled, tmp_path):
    stored = load_file(f"{pooled}/model.safetensors")
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(
        pooled, pooled, decoder_start_token_id=tiny.START, pad_token_id=0
    )
    assert not any("pooler" in name for name, _ in model.named_parameters())
    for number in range(2):
        model.save_pretrained(tmp_path / str(number))
        tensors = load_file(tmp_path / str(number) / "model.safetensors")
        for name in POOLER:
            assert torch.equal(tensors[f"encoder.{name}"], stored[name])
        model = EncoderDecoderModel.from_pretrained(tmp_path / str(number))
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path / "0")
    assert torch.equal(theirs.encoder.pooler.dense.weight, stored["pooler.dense.weight"])
    model.encoder.save_pretrained(tmp_path / "half")
    again = seqgraft.BertModel.from_pretrained(tmp_path / "half")
    reference = transformers.BertModel.from_pretrained(pooled)
    torch.testing.assert_close(again(tiny.source()).pooler_output, reference(tiny.source()).pooler_output)


def test_carried_by_a_tied_pair_too(pooled, tmp_path):
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(pooled, pooled, tie_encoder_decoder=True)
    model.save_pretrained(tmp_path)
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    assert again.num_parameters() == model.num_parameters()
    again.save_pretrained(tmp_path / "again")
    stored = load_file(f"{pooled}/model.safetensors")
    for name in POOLER:
        assert torch.equal(load_file(tmp_path / "again" / "model.safetensors")[f"encoder.{name}"], stored[name])


def test_on_request(pooled, tmp_path):
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(
        pooled, pooled, encoder_add_pooling_layer=True, decoder_start_token_id=tiny.START, pad_token_id=0
    )
    stored = load_file(f"{pooled}/model.safetensors")
    assert torch.equal(model.encoder.pooler["dense"].weight, stored["pooler.dense.weight"])
    assert model.encoder(tiny.source()).pooler_output.shape == (2, tiny.WIDTH)
    without = EncoderDecoderModel.from_encoder_decoder_pretrained(pooled, pooled)
    assert model.num_parameters() - without.num_parameters() == tiny.WIDTH * (tiny.WIDTH + 1)
    model.save_pretrained(tmp_path)
    assert torch.equal(
        load_file(tmp_path / "model.safetensors")["encoder.pooler.dense.weight"], stored["pooler.dense.weight"]
    )


def test_one_that_comes_with_an_encoder_is_no_trap(pooled):
    """The published class has a pooler; in a pair it has no part in training, and none in what must get a gradient."""
    encoder = seqgraft.BertModel.from_pretrained(pooled)
    assert encoder.pooler is not None
    decoder = seqgraft.BertLMHeadModel.from_pretrained(pooled, is_decoder=True, add_cross_attention=True)
    for model in (
        EncoderDecoderModel(encoder=encoder, decoder=decoder),
        EncoderDecoderModel.from_encoder_decoder_pretrained(encoder_model=encoder, decoder_model=decoder),
    ):
        model.config.decoder_start_token_id, model.config.pad_token_id = tiny.START, 0
        assert [name for name, parameter in _trained(model).items() if parameter.grad is None] == []


def test_a_family_without_one(written):
    with pytest.raises(ValueError, match="`add_pooling_layer` must be False: 'gpt2' has no pooler"):
        seqgraft.GPT2Model.from_pretrained(written["gpt2"], add_pooling_layer=True)
