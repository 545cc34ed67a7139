"""Fault 7: where the start id is the padding id, the first position is never hidden: training and inference agree."""

import pytest
import torch
import transformers

from . import tiny

DECODERS = ["bert", "roberta", "gpt2", "bart", "llama"]
ATTENTIONS = ["eager", "sdpa"]


def _pair(decoder, attention):
    model = tiny.pair(
        "bert",
        decoder,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=None,
        decoder__pad_token_id=0,
        decoder__eos_token_id=None,
        decoder__forced_eos_token_id=None,
    )
    model.set_attn_implementation(attention)
    return tiny.open_gates(model)


def _stepwise(model, ids, inputs):
    """The logits of each position, one token at a time."""
    with torch.no_grad():
        source = model.encoder(input_ids=ids)
        cache, logits = None, []
        for i in range(inputs.shape[1]):
            out = model(
                encoder_outputs=source, decoder_input_ids=inputs[:, i : i + 1], past_key_values=cache, use_cache=True
            )
            cache = out.past_key_values
            logits.append(out.logits)
    return torch.cat(logits, 1)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_training_is_inference(decoder, attention):
    model = _pair(decoder, attention)
    ids, labels = tiny.source(), tiny.target()
    trained = model(input_ids=ids, labels=labels).logits
    inputs = model.prepare_decoder_input_ids_from_labels(labels)
    assert inputs[:, 0].tolist() == [0, 0]
    torch.testing.assert_close(_stepwise(model, ids, inputs), trained, atol=2e-5, rtol=1e-4)
    made = model.generate(
        ids, max_new_tokens=1, return_dict_in_generate=True, output_logits=True, num_beams=1, do_sample=False
    )
    torch.testing.assert_close(made.logits[0], trained[:, 0], atol=2e-5, rtol=1e-4)
    beams = model.generate(ids, max_new_tokens=4, num_beams=2)
    assert beams[:, 0].tolist() == [0, 0]


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_generated_tokens_are_those_that_training_prefers(decoder, attention):
    """Greedy tokens, fed back as labels, are each position's best."""
    model = _pair(decoder, attention)
    ids = tiny.source()
    made = model.generate(ids, max_new_tokens=6, bad_words_ids=[[0]])
    logits = model(input_ids=ids, labels=made[:, 1:]).logits
    logits[..., 0] = -1e9
    assert torch.equal(logits.argmax(-1), made[:, 1:])


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_no_future_at_the_first_position(decoder, attention):
    model = _pair(decoder, attention)
    one = tiny.target()
    two = one.clone()
    two[:, 1:] = (one[:, 1:] - 7 + 11) % 33 + 7
    first, second = (model(input_ids=tiny.source(), labels=labels).logits[:, :2] for labels in (one, two))
    torch.testing.assert_close(first, second, atol=1e-6, rtol=0)


def test_both_attentions_agree():
    losses = []
    for attention in ATTENTIONS:
        torch.manual_seed(1)
        losses.append(_pair("bert", attention)(input_ids=tiny.source(), labels=tiny.target()).loss)
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_padded_labels_hide_padding_but_not_the_start(attention):
    model = _pair("bert", attention)
    labels = tiny.target()
    labels[1, 2:] = -100
    whole = model(input_ids=tiny.source(), labels=labels)
    short = model(input_ids=tiny.source()[1:], labels=labels[1:, :2])
    torch.testing.assert_close(whole.logits[1:, :2], short.logits, atol=1e-5, rtol=1e-4)
    inputs = model.prepare_decoder_input_ids_from_labels(labels)
    assert (inputs[1, 3:] == 0).all()


def test_the_reference_does_neither(tmp_path):
    """Eager looks ahead from the first position, and the two attentions have different losses."""
    _pair("bert", "eager").save_pretrained(tmp_path)
    losses = []
    for attention in ATTENTIONS:
        theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path, attn_implementation=attention)
        one = tiny.target()
        two = one.clone()
        two[:, 1:] = (one[:, 1:] - 7 + 11) % 33 + 7
        first, second = (theirs(input_ids=tiny.source(), labels=labels).logits[:, 0] for labels in (one, two))
        if attention == "eager":
            assert not torch.allclose(first, second, atol=1e-3)
        losses.append(theirs(input_ids=tiny.source(), labels=one).loss.item())
    assert abs(losses[0] - losses[1]) > 1e-3
