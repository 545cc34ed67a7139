"""Fault 13: `output_attentions` under SDPA gives the attentions, those of the written-out attention."""

import pytest
import torch
import transformers

from seqgraft import EncoderDecoderModel

from . import tiny

PAIRS = [("bert", "bert"), ("roberta", "gpt2"), ("bart", "bart"), ("gpt2", "llama")]
HEADS = {"bert": 2, "roberta": 2, "gpt2": 2, "bart": 2, "llama": 4}


def _probabilities(seen, rows, heads, queries, keys):
    assert len(seen) == 2
    for layer in seen:
        assert layer.shape == (rows, heads, queries, keys)
        torch.testing.assert_close(layer.sum(-1), torch.ones(layer.shape[:-1]))


@pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
def test_forward(encoder, decoder):
    model = tiny.open_gates(tiny.pair(encoder, decoder))
    inputs = {"input_ids": tiny.source(), "labels": tiny.target()}
    assert not any(m.eager for m in model.modules() if hasattr(m, "eager")), "SDPA is the default"
    out = model(**inputs, output_attentions=True)
    _probabilities(out.encoder_attentions, 2, HEADS[encoder], 6, 6)
    _probabilities(out.decoder_attentions, 2, HEADS[decoder], 5, 5)
    _probabilities(out.cross_attentions, 2, HEADS[decoder], 5, 6)
    for layer in out.decoder_attentions:
        assert layer.triu(1).abs().max() == 0
    torch.testing.assert_close(out.logits, model(**inputs).logits, atol=1e-5, rtol=1e-4)
    model.set_attn_implementation("eager")
    eager = model(**inputs, output_attentions=True)
    for name in ("encoder_attentions", "decoder_attentions", "cross_attentions"):
        for one, two in zip(out[name], eager[name], strict=True):
            torch.testing.assert_close(one, two)


def test_padding_is_not_attended_to():
    ids = torch.tensor([[9, 10, 11, 0, 0], [9, 10, 11, 12, 13]])
    out = tiny.pair()(input_ids=ids, labels=tiny.target(), output_attentions=True)
    for layer in (*out.encoder_attentions, *out.cross_attentions):
        assert layer[0, ..., 3:].abs().max() == 0


@pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
@pytest.mark.parametrize("beams", [1, 3])
def test_generate(encoder, decoder, beams):
    model = tiny.pair(encoder, decoder, eos_token_id=None, decoder__eos_token_id=None)
    out = model.generate(
        tiny.source(), max_new_tokens=4, num_beams=beams, output_attentions=True, return_dict_in_generate=True
    )
    _probabilities(out.encoder_attentions, 2, HEADS[encoder], 6, 6)
    assert len(out.decoder_attentions) == len(out.cross_attentions) == 4
    for step, (own, cross) in enumerate(zip(out.decoder_attentions, out.cross_attentions, strict=True), start=1):
        _probabilities(own, 2 * beams, HEADS[decoder], 1, step)
        _probabilities(cross, 2 * beams, HEADS[decoder], 1, 6)


def test_asked_for_by_the_configuration(tmp_path):
    model = tiny.pair()
    model.config.output_attentions = model.config.output_hidden_states = True
    model.save_pretrained(tmp_path)
    inputs = {"input_ids": tiny.source(), "labels": tiny.target()}
    plain = tiny.pair()
    plain.save_pretrained(tmp_path / "plain")
    for asked in (
        model,
        EncoderDecoderModel.from_pretrained(tmp_path),
        EncoderDecoderModel.from_pretrained(tmp_path / "plain", output_attentions=True, output_hidden_states=True),
    ):
        out = asked(**inputs)
        _probabilities(out.encoder_attentions, 2, 2, 6, 6)
        _probabilities(out.cross_attentions, 2, 2, 5, 6)
        assert len(out.encoder_hidden_states) == len(out.decoder_hidden_states) == 3
        assert asked(**inputs, output_attentions=False).cross_attentions is None
    plain.config.decoder.output_attentions = True
    out = plain(**inputs)
    assert out.encoder_attentions is None
    assert len(out.cross_attentions) == 2


def test_as_in_the_reference_when_it_is_eager(tmp_path):
    model = tiny.pair()
    model.save_pretrained(tmp_path)
    inputs = {"input_ids": tiny.source(), "labels": tiny.target()}
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path, attn_implementation="eager")
    ours, other = model(**inputs, output_attentions=True), theirs(**inputs, output_attentions=True)
    for name in ("encoder_attentions", "decoder_attentions", "cross_attentions"):
        for one, two in zip(ours[name], other[name], strict=True):
            torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)
    silent = transformers.EncoderDecoderModel.from_pretrained(tmp_path, attn_implementation="sdpa")
    assert not any(silent(**inputs, output_attentions=True)[n] for n in ("encoder_attentions", "cross_attentions"))
