"""Fault 10: a model comes in eval mode, however it is made; training is asked for."""

import pytest
import torch
import transformers

import seqgraft
from seqgraft import EncoderDecoderModel

from . import tiny


def test_the_reference_is_in_training_mode(written):
    model = transformers.EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], written["bert"])
    assert model.training


@pytest.mark.parametrize("decoder", ["bert", "gpt2", "bart", "llama"])
def test_every_way_of_making(decoder, written, tmp_path):
    composed = EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], written[decoder])
    composed.train().save_pretrained(tmp_path)
    halves = {"encoder": seqgraft.BertModel(tiny.config("bert")).train(), "decoder": composed.decoder.train()}
    for model in (
        EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], written[decoder]),
        EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], decoder_model=halves["decoder"]),
        EncoderDecoderModel.from_pretrained(tmp_path),
        seqgraft.AutoModelForSeq2SeqLM.from_pretrained(tmp_path),
        tiny.pair("bert", decoder),
        EncoderDecoderModel(**halves),
        EncoderDecoderModel.from_config(tiny.pair_config("bert", decoder)),
        seqgraft.BertModel.from_pretrained(written["bert"]),
        tiny.causal_class(decoder).from_pretrained(written[decoder]),
    ):
        assert not any(module.training for module in model.modules())


def test_dropout_is_off_until_it_is_asked_for():
    model = tiny.pair()
    inputs = {"input_ids": tiny.source(), "labels": tiny.target()}
    assert torch.equal(model(**inputs).logits, model(**inputs).logits)
    model.train()
    assert not torch.equal(model(**inputs).logits, model(**inputs).logits)


def test_generate_leaves_the_mode_alone():
    model = tiny.pair().train()
    model.generate(tiny.source(), max_new_tokens=2)
    assert model.training
