"""Fault 11: a `cross_attention_hidden_size` that is the encoder's width builds keys and values of that width."""

import pytest
import torch
import transformers

import seqgraft
from seqgraft import EncoderDecoderModel

from . import tiny

WIDE = 24


def _config(decoder, reads=WIDE, **changes):
    return tiny.pair_config(
        "bert",
        decoder,
        encoder__hidden_size=WIDE,
        decoder__cross_attention_hidden_size=reads,
        decoder_start_token_id=tiny.START,
        pad_token_id=0,
        **changes,
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("decoder", ["bert", "gpt2", "bart"])
def test_the_reference_crashes(decoder):
    theirs = tiny.pair_config(
        "bert", decoder, transformers, encoder__hidden_size=WIDE, decoder__cross_attention_hidden_size=WIDE
    )
    model = transformers.EncoderDecoderModel(theirs)
    with pytest.raises(RuntimeError, match="shape"):
        model(input_ids=tiny.source(), decoder_input_ids=tiny.target())


@pytest.mark.parametrize("decoder", ["bert", "roberta", "gpt2", "bart", "llama"])
def test_keys_and_values_have_that_width(decoder, tmp_path):
    model = EncoderDecoderModel(config=_config(decoder))
    assert model.enc_to_dec_proj is None
    cross = model.decoder.layers[0].cross_attention
    assert cross.key.in_features == cross.value.in_features == WIDE
    assert cross.query.in_features == tiny.WIDTH
    assert tiny.source_matters(model)
    model.config.eos_token_id = None
    inputs = {"input_ids": tiny.source(), "labels": tiny.target()}
    loss = model(**inputs).loss
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    made = model.generate(tiny.source(), max_new_tokens=4, num_beams=2)
    model.save_pretrained(tmp_path)
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    assert torch.equal(again(**inputs).loss, loss)
    assert torch.equal(again.generate(tiny.source(), max_new_tokens=4, num_beams=2), made)


@pytest.mark.parametrize("decoder", ["bert", "gpt2"])
def test_without_it_the_states_are_bridged_as_in_the_reference(decoder, tmp_path):
    model = EncoderDecoderModel(config=_config(decoder, reads=None))
    assert tuple(model.enc_to_dec_proj.weight.shape) == (tiny.WIDTH, WIDE)
    assert model.enc_to_dec_proj.bias.abs().max() == 0
    model.save_pretrained(tmp_path)
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path)
    inputs = {"input_ids": tiny.source(), "labels": tiny.target()}
    ours, other = model(**inputs), theirs(**inputs)
    torch.testing.assert_close(ours.logits, other.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours.encoder_last_hidden_state, other.encoder_last_hidden_state, atol=1e-5, rtol=1e-4)
    assert ours.encoder_last_hidden_state.shape[-1] == WIDE


def test_asked_for_when_composing(tmp_path):
    tiny.write_reference("bert", tmp_path / "wide", hidden_size=WIDE)
    tiny.write_reference("gpt2", tmp_path / "gpt2")
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(
        tmp_path / "wide", tmp_path / "gpt2", decoder_cross_attention_hidden_size=WIDE
    )
    assert model.enc_to_dec_proj is None
    assert model.decoder.layers[0].cross_attention.key.in_features == WIDE


@pytest.mark.parametrize("decoder", ["bert", "gpt2", "bart", "llama"])
def test_any_other_width_is_an_error(decoder, tmp_path):
    message = rf"`decoder.cross_attention_hidden_size` must be the encoder's width \({WIDE}\), but is 20"
    with pytest.raises(ValueError, match=message):
        _config(decoder, reads=20)
    with pytest.raises(ValueError, match=message):
        EncoderDecoderModel(
            encoder=seqgraft.BertModel(tiny.config("bert", hidden_size=WIDE)),
            decoder=tiny.causal_class(decoder)(
                tiny.config(decoder, is_decoder=True, add_cross_attention=True, cross_attention_hidden_size=20)
            ),
        )
    config = _config(decoder)
    config.decoder.cross_attention_hidden_size = 20
    with pytest.raises(ValueError, match=message):
        EncoderDecoderModel(config=config)
