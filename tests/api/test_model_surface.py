"""The methods and properties of `EncoderDecoderModel`, and `model.config.encoder is model.encoder.config`."""

import copy
import pickle

import pytest
import torch
from torch import nn

import seqgraft
from seqgraft import EncoderDecoderModel

from ..faults import tiny


def _ways(written, folder):
    """Every way of making a pair."""
    tiny.pair().save_pretrained(folder)
    make = EncoderDecoderModel.from_encoder_decoder_pretrained
    encoder = seqgraft.BertModel(tiny.config("bert"))
    decoder = seqgraft.BertLMHeadModel(tiny.config("bert", is_decoder=True, add_cross_attention=True))
    config = tiny.pair_config()
    yield "config", EncoderDecoderModel(config)
    yield "from_config", EncoderDecoderModel.from_config(config)
    yield "halves", EncoderDecoderModel(encoder=encoder, decoder=decoder)
    yield "config and halves", EncoderDecoderModel(config, encoder, decoder)
    yield "config and one half", EncoderDecoderModel(config, decoder=decoder)
    yield "paths", make(written["bert"], written["gpt2"])
    yield "models", make(encoder_model=encoder, decoder_model=decoder)
    yield "path and model", make(written["bert"], decoder_model=decoder)
    yield "with configurations", make(written["bert"], written["bert"], encoder_config=config.encoder, config=config)
    yield "tied", make(written["bert"], written["bert"], tie_encoder_decoder=True)
    yield "loaded", EncoderDecoderModel.from_pretrained(folder)
    yield "loaded with config", EncoderDecoderModel.from_pretrained(folder, config=config)
    for auto in ("AutoModel", "AutoModelForCausalLM", "AutoModelForSeq2SeqLM"):
        yield auto, getattr(seqgraft, auto).from_pretrained(folder)
    yield "copied", copy.deepcopy(EncoderDecoderModel(config))
    yield "pickled", pickle.loads(pickle.dumps(EncoderDecoderModel(config)))
    replaced = EncoderDecoderModel(config)
    replaced.config = tiny.pair_config()
    yield "replaced", replaced


def test_one_configuration(written, tmp_path):
    for way, model in _ways(written, tmp_path):
        assert model.config.encoder is model.encoder.config, way
        assert model.config.decoder is model.decoder.config, way
        assert isinstance(model, nn.Module)
        assert not model.training
        model.config.decoder_start_token_id, model.config.pad_token_id = 5, 0
        assert model(input_ids=tiny.source(), labels=tiny.target()).loss.isfinite(), way


def test_properties():
    model = tiny.pair("bert", "gpt2", encoder__hidden_size=24)
    assert model.device == torch.device("cpu")
    assert model.dtype == torch.float32
    assert model.main_input_name == "input_ids"
    assert model.get_encoder() is model.encoder
    assert model.get_decoder() is model.decoder
    assert isinstance(model.enc_to_dec_proj, nn.Linear)
    assert tiny.pair().enc_to_dec_proj is None
    assert model.get_input_embeddings() is model.encoder.get_input_embeddings()
    assert isinstance(model.get_input_embeddings(), nn.Embedding)
    assert model.get_output_embeddings() is model.decoder.get_output_embeddings()
    assert model.get_output_embeddings().weight is model.decoder.get_input_embeddings().weight
    parameters = sum(p.numel() for p in model.parameters())
    assert model.num_parameters() == parameters
    embeddings = sum(p.numel() for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters())
    assert model.num_parameters(exclude_embeddings=True) == parameters - embeddings
    assert model.half().dtype == torch.float16
    with torch.device("meta"):
        assert tiny.pair().device.type == "meta"


def test_freezing():
    model = tiny.pair()
    model.freeze_encoder()
    assert not any(p.requires_grad for p in model.encoder.parameters())
    assert all(p.requires_grad for p in model.decoder.parameters())
    assert model.num_parameters(only_trainable=True) == model.decoder.num_parameters()
    model(input_ids=tiny.source(), labels=tiny.target()).loss.backward()
    assert all(p.grad is None for p in model.encoder.parameters())


def test_gradient_checkpointing():
    inputs = {"input_ids": tiny.source(), "labels": tiny.target()}
    off = {f"{s}__{n}_prob": 0.0 for s in ("encoder", "decoder") for n in ("hidden_dropout", "attention_probs_dropout")}
    model = tiny.pair(**off).train()
    model(**inputs).loss.backward()
    plain = [p.grad.clone() for p in model.parameters()]
    for arguments in ({}, {"gradient_checkpointing_kwargs": {"use_reentrant": False}}):
        model.zero_grad()
        model.gradient_checkpointing_enable(**arguments)
        assert model.is_gradient_checkpointing
        model(**inputs).loss.backward()
        for parameter, gradient in zip(model.parameters(), plain, strict=True):
            torch.testing.assert_close(parameter.grad, gradient)
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing
    with pytest.raises(TypeError, match="may hold 'use_reentrant', but holds"):
        model.gradient_checkpointing_enable({"nonsense": 1})


def test_decoder_inputs_from_labels():
    model = tiny.pair()
    labels = torch.tensor([[7, 8, -100, 9], [10, -100, -100, -100]])
    made = model.prepare_decoder_input_ids_from_labels(labels)
    assert made.tolist() == [[5, 7, 8, 0], [5, 10, 0, 0]]
    assert torch.equal(model.prepare_decoder_input_ids_from_labels(labels=labels), made)
    assert labels[0, 2] == -100, "the caller's labels stay as they are"
    assert model.prepare_decoder_input_ids_from_labels(labels[:, :0]).shape[0] == 2


@pytest.mark.parametrize("side", ["encoder", "decoder"])
@pytest.mark.parametrize("decoder", ["bert", "gpt2", "bart"])
def test_resizing_a_half(side, decoder, tmp_path):
    model = tiny.pair("bert", decoder)
    half = getattr(model, side)
    before = half.get_input_embeddings().weight.clone()
    half.resize_token_embeddings(tiny.VOCAB + 5)
    assert torch.equal(half.get_input_embeddings().weight[: tiny.VOCAB], before)
    assert getattr(model.config, side).vocab_size == tiny.VOCAB + 5
    out = model(input_ids=tiny.source(), labels=tiny.target())
    assert out.logits.shape[-1] == (tiny.VOCAB + 5 if side == "decoder" else tiny.VOCAB)
    model.save_pretrained(tmp_path)
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    assert torch.equal(again(input_ids=tiny.source(), labels=tiny.target()).loss, out.loss)
    with pytest.raises(TypeError, match=r"two vocabularies: use model.encoder.resize_token_embeddings"):
        model.resize_token_embeddings(50)


def test_outputs_have_the_fields_order():
    model = tiny.pair()
    inputs = {"input_ids": tiny.source(), "labels": tiny.target()}
    out = model(**inputs, output_attentions=True, output_hidden_states=True, use_cache=True)
    assert list(out.keys()) == [
        "loss",
        "logits",
        "past_key_values",
        "decoder_hidden_states",
        "decoder_attentions",
        "cross_attentions",
        "encoder_last_hidden_state",
        "encoder_hidden_states",
        "encoder_attentions",
    ]
    assert out[0] is out.loss is out["loss"]
    assert list(model(**inputs).keys()) == ["loss", "logits", "encoder_last_hidden_state"]
    loss, logits, _ = model(**inputs, return_dict=False)
    assert torch.equal(loss, out.loss)
    assert logits.shape == (2, 5, tiny.VOCAB)
    model.config.return_dict = False
    assert isinstance(model(**inputs), tuple)


def test_device_and_dtype_move_everything():
    model = tiny.pair("bert", "gpt2", encoder__hidden_size=24)
    model.to(torch.float64)
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert model(input_ids=tiny.source(), labels=tiny.target()).loss.dtype in (torch.float32, torch.float64)


def test_a_forward_pass_remembers_nothing():
    """State is handed in and handed back."""
    model = tiny.pair()
    inputs = {"input_ids": tiny.source(), "decoder_input_ids": tiny.target(), "use_cache": True}
    before = set(vars(model)), set(vars(model.decoder))
    first, second = model(**inputs), model(**inputs)
    assert torch.equal(first.logits, second.logits)
    model.generate(tiny.source(), max_new_tokens=2)
    assert (set(vars(model)), set(vars(model.decoder))) == before
    assert torch.equal(model(**inputs).logits, first.logits)
