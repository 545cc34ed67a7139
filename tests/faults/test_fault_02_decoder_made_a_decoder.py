"""Fault 2: however a pair is made, its decoder sees the source and never the future, or the pair cannot be made."""

import json

import pytest
import torch
import transformers

import seqgraft
from seqgraft import AutoConfig, EncoderDecoderConfig, EncoderDecoderModel

from . import tiny

IDS = {"decoder_start_token_id": tiny.START, "pad_token_id": tiny.PAD}


def _right(model):
    model.config.update(dict(IDS))
    assert model.config.decoder.is_decoder
    assert model.config.decoder.add_cross_attention
    assert tiny.source_matters(model)
    assert not tiny.future_leaks(model)


@pytest.mark.filterwarnings("ignore")
def test_the_reference_is_silently_wrong():
    halves = {"encoder": tiny.config("bert", transformers), "decoder": tiny.config("bert", transformers)}
    model = transformers.EncoderDecoderModel(transformers.EncoderDecoderConfig(**halves, **IDS)).eval()
    assert not tiny.source_matters(model)
    assert tiny.future_leaks(model)


@pytest.mark.parametrize("decoder", ["bert", "roberta", "gpt2", "bart", "llama"])
def test_configurations(decoder):
    halves = {"encoder": tiny.config("bert"), "decoder": tiny.config(decoder)}
    _right(EncoderDecoderModel(EncoderDecoderConfig(**halves)))
    _right(EncoderDecoderModel(config=EncoderDecoderConfig.from_encoder_decoder_configs(*halves.values())))
    _right(EncoderDecoderModel(config=EncoderDecoderConfig(**{side: half.to_dict() for side, half in halves.items()})))
    _right(EncoderDecoderModel.from_config(EncoderDecoderConfig(**halves)))
    assert not halves["decoder"].is_decoder, "the user's own object stays as it was"


@pytest.mark.parametrize("decoder", ["bert", "roberta", "gpt2", "bart", "llama"])
def test_checkpoints(decoder, written):
    plain = tiny.config(decoder)
    _right(EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], written[decoder]))
    composed = EncoderDecoderModel.from_encoder_decoder_pretrained(
        written["bert"], written[decoder], decoder_config=plain, decoder_is_decoder=True
    )
    _right(composed)
    assert not plain.is_decoder


def test_files_that_say_otherwise(tmp_path):
    tiny.pair().save_pretrained(tmp_path)
    said = json.loads((tmp_path / "config.json").read_text())
    for name in ("is_decoder", "add_cross_attention"):
        del said["decoder"][name]
        said["encoder"][name] = True
    (tmp_path / "config.json").write_text(json.dumps(said))
    _right(EncoderDecoderModel.from_pretrained(tmp_path))
    for config in (EncoderDecoderConfig.from_pretrained(tmp_path), AutoConfig.from_pretrained(tmp_path)):
        _right(EncoderDecoderModel(config=config))
        _right(EncoderDecoderModel.from_pretrained(tmp_path, config=config))


def test_halves_from_the_reference():
    halves = (tiny.config("bert", transformers), tiny.config("gpt2", transformers))
    _right(EncoderDecoderModel(EncoderDecoderConfig.from_encoder_decoder_configs(*halves)))


def test_models():
    encoder = seqgraft.BertModel(tiny.config("bert"))
    decoder = seqgraft.BertLMHeadModel(tiny.config("bert", is_decoder=True, add_cross_attention=True))
    _right(EncoderDecoderModel(encoder=encoder, decoder=decoder))
    _right(EncoderDecoderModel(config=tiny.pair_config(), encoder=encoder, decoder=decoder))
    _right(EncoderDecoderModel(config=tiny.pair_config(), decoder=decoder))


@pytest.mark.parametrize(
    ("field", "message"),
    [("is_decoder", "must be causal, but sees the future"), ("add_cross_attention", "must have cross-attention")],
)
def test_a_configuration_spoilt_afterwards_is_an_error(field, message, tmp_path):
    config = tiny.pair_config()
    setattr(config.decoder, field, False)
    with pytest.raises(ValueError, match=message):
        EncoderDecoderModel(config=config)
    tiny.pair().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        EncoderDecoderModel.from_pretrained(tmp_path, config=config)
    config.decoder = tiny.config("bert")
    with pytest.raises(ValueError, match="`decoder` must"):
        EncoderDecoderModel(config=config)


def test_an_encoder_that_does_not_see_its_whole_source_is_an_error():
    decoder = seqgraft.BertLMHeadModel(tiny.config("bert", is_decoder=True, add_cross_attention=True))
    for fields, message in (
        ({"is_decoder": True}, "`encoder` must see its whole source"),
        ({"is_decoder": True, "add_cross_attention": True}, "`encoder` must have no cross-attention"),
    ):
        encoder = seqgraft.BertModel(tiny.config("bert", **fields))
        with pytest.raises(ValueError, match=message):
            EncoderDecoderModel(encoder=encoder, decoder=decoder)
        with pytest.raises(ValueError, match=message):
            EncoderDecoderModel.from_encoder_decoder_pretrained(encoder_model=encoder, decoder_model=decoder)


@pytest.mark.parametrize("encoder", ["gpt2", "llama"])
def test_a_causal_family_as_encoder_sees_both_ways_and_stays_so(encoder, written, tmp_path):
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(written[encoder], written["bert"])
    ids = tiny.source()
    other = ids.clone()
    other[:, -1] = (ids[:, -1] - 7 + 3) % 33 + 7
    states = [model.encoder(i).last_hidden_state[:, 0] for i in (ids, other)]
    assert not torch.allclose(*states)
    model.save_pretrained(tmp_path)
    assert torch.equal(EncoderDecoderModel.from_pretrained(tmp_path).encoder(ids).last_hidden_state[:, 0], states[0])
