"""Fault 3: a `decoder_model=` without cross-attention is an error that says what to do, and doing so works."""

import pytest
import torch
import transformers

import seqgraft
from seqgraft import EncoderDecoderModel

from . import tiny

FAMILIES = ["bert", "roberta", "gpt2", "bart", "llama"]


@pytest.mark.filterwarnings("ignore")
def test_the_reference_ignores_the_encoder(written):
    decoder = transformers.BertLMHeadModel.from_pretrained(written["bert"])
    model = transformers.EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], decoder_model=decoder)
    model.config.decoder_start_token_id, model.config.pad_token_id = tiny.START, tiny.PAD
    assert not tiny.source_matters(model.eval())


@pytest.mark.parametrize("family", FAMILIES)
def test_without_cross_attention(family, written):
    decoder = tiny.causal_class(family).from_pretrained(written[family])
    encoder = seqgraft.BertModel.from_pretrained(written["bert"])
    for make in (
        lambda: EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], decoder_model=decoder),
        lambda: EncoderDecoderModel.from_encoder_decoder_pretrained(encoder_model=encoder, decoder_model=decoder),
        lambda: EncoderDecoderModel(encoder=encoder, decoder=decoder),
        lambda: EncoderDecoderModel(tiny.pair_config("bert", family), encoder, decoder),
    ):
        if family == "bart" and decoder.spec.sees_memory:  # BART's decoder is never without
            make()
            continue
        with pytest.raises(ValueError, match=r"`decoder` must have cross-attention, but.*`is_decoder=True`"):
            make()


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_message_says_works(family, written):
    decoder = tiny.causal_class(family).from_pretrained(written[family], is_decoder=True, add_cross_attention=True)
    before = {name: value.clone() for name, value in decoder.state_dict().items()}
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], decoder_model=decoder)
    model.config.decoder_start_token_id, model.config.pad_token_id = tiny.START, tiny.PAD
    assert model.decoder is decoder
    assert model.config.decoder is decoder.config
    assert all(torch.equal(value, before[name]) for name, value in decoder.state_dict().items())
    assert tiny.source_matters(model)
    assert not tiny.future_leaks(model)


def test_a_gate_lets_the_source_in_by_training(written):
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], written["llama"])
    model.config.decoder_start_token_id, model.config.pad_token_id = tiny.START, tiny.PAD
    model(input_ids=tiny.source(), labels=tiny.target()).loss.backward()
    gates = [p for n, p in model.decoder.named_parameters() if n.endswith("gate")]
    for gate in gates:
        assert gate.grad is not None
        assert gate.grad.abs().max() > 0
    assert tiny.source_matters(model)


@pytest.mark.parametrize(("encoder", "decoder"), [("bert", "bert"), ("bert", "gpt2")])
def test_another_width_is_bridged(encoder, decoder):
    source = seqgraft.AutoModel.from_config(tiny.config(encoder, hidden_size=24))
    target = seqgraft.AutoModelForCausalLM.from_config(tiny.config(decoder, is_decoder=True, add_cross_attention=True))
    model = EncoderDecoderModel(encoder=source, decoder=target)
    model.config.decoder_start_token_id, model.config.pad_token_id = tiny.START, tiny.PAD
    assert tuple(model.enc_to_dec_proj.weight.shape) == (tiny.WIDTH, 24)
    assert tiny.source_matters(model)


def test_arguments_for_a_half_that_is_a_model_already_are_errors(written):
    """They could change nothing, and silence would be a fault."""
    encoder = seqgraft.BertModel.from_pretrained(written["bert"])
    decoder = seqgraft.BertLMHeadModel(tiny.config("bert", is_decoder=True, add_cross_attention=True))
    make = EncoderDecoderModel.from_encoder_decoder_pretrained
    with pytest.raises(TypeError, match="encoder_hidden_dropout_prob"):
        make(encoder_model=encoder, decoder_model=decoder, encoder_hidden_dropout_prob=0.0)
    with pytest.raises(TypeError, match="decoder_config"):
        make(encoder_model=encoder, decoder_model=decoder, decoder_config=tiny.config("bert"))


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_a_model_of_another_kind_is_an_error(side):
    halves = {
        "encoder": seqgraft.BertModel(tiny.config("bert")),
        "decoder": seqgraft.BertLMHeadModel(tiny.config("bert", is_decoder=True, add_cross_attention=True)),
    }
    others = [halves["decoder" if side == "encoder" else "encoder"], "google-bert/bert-base-uncased"]
    if side == "decoder":  # in front, any module that gives states serves
        others.append(transformers.BertModel(tiny.config("bert", transformers)))
    for other in others:
        with pytest.raises((TypeError, ValueError), match=f"`{side}` must be .*, but is a {type(other).__name__}"):
            EncoderDecoderModel(**{**halves, side: other})
