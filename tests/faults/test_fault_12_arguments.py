"""Fault 12: unprefixed arguments hold for both halves; what nobody knows raises."""

import pytest
import torch
import transformers

import seqgraft
from seqgraft import EncoderDecoderModel
from seqgraft.torch.attention import Attention

from . import tiny

make = EncoderDecoderModel.from_encoder_decoder_pretrained


def _dtypes(model):
    return {p.dtype for p in model.parameters()}


def _eager(model):
    return {m.eager for m in model.modules() if isinstance(m, Attention)}


def _halves(written):
    encoder = seqgraft.BertModel.from_pretrained(written["bert"])
    decoder = seqgraft.GPT2LMHeadModel.from_pretrained(written["gpt2"], is_decoder=True, add_cross_attention=True)
    return {"encoder_model": encoder, "decoder_model": decoder}


def test_the_reference_ignores_them(written):
    model = transformers.EncoderDecoderModel.from_encoder_decoder_pretrained(
        written["bert"], written["gpt2"], dtype=torch.bfloat16, attn_implementation="eager"
    )
    assert torch.bfloat16 not in _dtypes(model)
    assert model.encoder.config._attn_implementation != "eager"


@pytest.mark.parametrize("dtype", [torch.bfloat16, "bfloat16", torch.float16, "torch.float64"])
@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
def test_dtype(name, dtype, written, tmp_path):
    want = dtype if isinstance(dtype, torch.dtype) else getattr(torch, dtype.removeprefix("torch."))
    tiny.write_reference("bert", tmp_path / "wide", hidden_size=24)  # with a bridge
    for model in (
        make(written["bert"], written["gpt2"], **{name: dtype}),
        make(tmp_path / "wide", written["gpt2"], **{name: dtype}),
        make(**_halves(written), **{name: dtype}),
        make(written["bert"], decoder_model=_halves(written)["decoder_model"], **{name: dtype}),
    ):
        assert _dtypes(model) == {want}
        assert model.dtype == want
    model.save_pretrained(tmp_path / "pair")
    assert _dtypes(EncoderDecoderModel.from_pretrained(tmp_path / "pair")) == {want}
    assert _dtypes(EncoderDecoderModel.from_pretrained(tmp_path / "pair", **{name: "float32"})) == {torch.float32}


def test_a_prefix_says_more_than_none(written):
    model = make(written["bert"], written["gpt2"], dtype="float64", decoder_dtype="float32")
    assert (model.encoder.dtype, model.decoder.dtype) == (torch.float64, torch.float32)


@pytest.mark.parametrize("name", ["eager", "sdpa"])
def test_attention(name, written, tmp_path):
    for model in (
        make(written["bert"], written["gpt2"], attn_implementation=name),
        make(**_halves(written), attn_implementation=name),
    ):
        assert _eager(model) == {name == "eager"}
    model.save_pretrained(tmp_path)
    assert _eager(EncoderDecoderModel.from_pretrained(tmp_path, attn_implementation=name)) == {name == "eager"}
    mixed = make(written["bert"], written["gpt2"], encoder_attn_implementation="eager")
    assert _eager(mixed.encoder) == {True}
    assert _eager(mixed.decoder) == {False}


@pytest.mark.parametrize("where", ["auto", "cpu", torch.device("cpu"), {"": "cpu"}, -1])
def test_device(where, written, tmp_path):
    for model in (make(written["bert"], written["gpt2"], device_map=where), make(**_halves(written), device_map=where)):
        expected = "cuda" if where == "auto" and torch.cuda.is_available() else "cpu"
        assert {p.device.type for p in model.parameters()} == {expected}
    model.save_pretrained(tmp_path)
    assert EncoderDecoderModel.from_pretrained(tmp_path, device_map=where).device.type == expected


def test_prefixed_fields_reach_their_half(written):
    model = make(
        written["bert"],
        written["gpt2"],
        encoder_hidden_dropout_prob=0.25,
        decoder_resid_pdrop=0.5,
        output_attentions=True,
        decoder_start_token_id=8,
        encoder_no_repeat_ngram_size=3,
    )
    assert model.config.encoder.hidden_dropout_prob == 0.25
    assert model.encoder.spec.layers[0].dropout == 0.25
    assert model.decoder.spec.layers[0].dropout == 0.5
    assert model.config.decoder_start_token_id == 8
    assert model.generation_config.encoder_no_repeat_ngram_size == 3
    assert not hasattr(model.config.encoder, "no_repeat_ngram_size")
    assert model(tiny.source(), decoder_input_ids=tiny.target()).cross_attentions is not None


@pytest.mark.parametrize(
    ("argument", "value"),
    [("foo", 1), ("encoder_foo", 1), ("decoder_foo", 1), ("attention_implementation", "eager"), ("dtyp", "float16")],
)
def test_unknown_when_composing(argument, value, written):
    with pytest.raises(TypeError, match=argument.removeprefix("encoder_").removeprefix("decoder_")):
        make(written["bert"], written["gpt2"], **{argument: value})
    with pytest.raises(TypeError, match=argument):
        make(**_halves(written), **{argument: value})


@pytest.mark.parametrize("argument", ["foo", "attention_implementation", "hidden_siz", "torch_dtyp"])
def test_unknown_when_loading(argument, written, tmp_path):
    tiny.pair().save_pretrained(tmp_path)
    for load, source in (
        (EncoderDecoderModel, tmp_path),
        (seqgraft.AutoModelForCausalLM, tmp_path),
        (seqgraft.BertModel, written["bert"]),
        (seqgraft.GPT2LMHeadModel, written["gpt2"]),
        (seqgraft.AutoModel, written["bert"]),
    ):
        with pytest.raises(TypeError, match=argument):
            load.from_pretrained(source, **{argument: 1})


@pytest.mark.parametrize("argument", ["foo", "mask", "decoder_head_mask", "cache_position"])
def test_unknown_in_forward_and_generate(argument):
    model = tiny.pair()
    value = torch.ones(2, 2)
    with pytest.raises(TypeError, match=argument):
        model(input_ids=tiny.source(), labels=tiny.target(), **{argument: value})
    with pytest.raises(TypeError, match=argument):
        model.generate(tiny.source(), **{argument: value})
    for half in (model.encoder, model.decoder):
        with pytest.raises(TypeError, match=argument):
            half(tiny.source(), **{argument: value})


def test_every_argument_of_forward_does_something():
    """None of the named ones is swallowed."""
    model = tiny.pair()
    ids, labels = tiny.source(), tiny.target()
    inputs = model.prepare_decoder_input_ids_from_labels(labels)
    plain = model(input_ids=ids, labels=labels)
    for changes in (
        {"attention_mask": torch.tensor([[1, 1, 1, 0, 0, 0]] * 2)},
        {"token_type_ids": torch.ones_like(ids)},
        {"position_ids": torch.arange(6).flip(0)[None].expand(2, 6)},
        {"decoder_input_ids": inputs.flip(1)},
        {"decoder_attention_mask": torch.tensor([[1, 0, 1, 1, 1]] * 2)},
        {"decoder_position_ids": torch.arange(5).flip(0)[None].expand(2, 5)},
        {"decoder_token_type_ids": torch.ones_like(labels)},
        {"encoder_outputs": (plain.encoder_last_hidden_state * 2,)},
    ):
        assert not torch.allclose(model(input_ids=ids, labels=labels, **changes).logits, plain.logits), changes
    embedded = model(
        inputs_embeds=model.encoder.get_input_embeddings()(ids),
        decoder_inputs_embeds=model.decoder.get_input_embeddings()(inputs),
        labels=labels,
    )
    torch.testing.assert_close(embedded.logits, plain.logits)
    assert model(input_ids=ids, labels=labels, num_items_in_batch=5).loss != plain.loss
    assert isinstance(model(input_ids=ids, labels=labels, return_dict=False), tuple)
    assert plain.past_key_values is None
    assert model(input_ids=ids, labels=labels, use_cache=True).past_key_values.get_seq_length() == 5
    assert model(input_ids=ids, labels=labels, output_hidden_states=True).encoder_hidden_states is not None
