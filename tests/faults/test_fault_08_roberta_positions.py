"""Fault 8: RoBERTa's positions follow the mask, not the id: a start id that is the padding id changes nothing."""

import pytest
import torch
import transformers

from . import tiny

ENCODERS = ["bert", "roberta"]


def _pair(encoder="bert", start=1, **changes):
    return tiny.pair(encoder, "roberta", decoder_start_token_id=start, pad_token_id=1, eos_token_id=None, **changes)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("steps", [[1] * 5, [2, 3], [1, 4], [4, 1]])
def test_cached_equals_uncached(encoder, steps):
    model = _pair(encoder)
    ids, labels = tiny.source(), tiny.target()
    inputs = model.prepare_decoder_input_ids_from_labels(labels)
    whole = model(input_ids=ids, decoder_input_ids=inputs).logits
    torch.testing.assert_close(model(input_ids=ids, labels=labels).logits, whole)
    cache, logits = None, []
    with torch.no_grad():
        for part in inputs.split(steps, 1):
            out = model(input_ids=ids, decoder_input_ids=part, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            logits.append(out.logits)
    torch.testing.assert_close(torch.cat(logits, 1), whole, atol=2e-5, rtol=1e-4)


def test_generation_is_what_training_saw():
    model = _pair()
    made = model.generate(
        tiny.source(), max_new_tokens=6, bad_words_ids=[[1]], return_dict_in_generate=True, output_logits=True
    )
    taught = model(input_ids=tiny.source(), labels=made.sequences[:, 1:]).logits
    torch.testing.assert_close(torch.stack(made.logits, 1), taught, atol=2e-5, rtol=1e-4)


def test_a_generated_padding_id_is_a_token_like_any_other():
    """The search feeds back what it chose; its position is the next one."""
    model = _pair()
    ids = tiny.source(1)
    inputs = torch.tensor([[1, 9, 1, 1, 10]])
    whole = model(ids, decoder_input_ids=inputs, decoder_attention_mask=torch.ones_like(inputs)).logits
    made = model.generate(
        ids,
        decoder_input_ids=inputs,
        max_new_tokens=1,
        return_dict_in_generate=True,
        output_logits=True,
    )
    torch.testing.assert_close(made.logits[0], whole[:, -1], atol=2e-5, rtol=1e-4)
    cache, logits = None, []
    with torch.no_grad():
        for token in inputs.split(1, 1):
            out = model(ids, decoder_input_ids=token, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            logits.append(out.logits)
    torch.testing.assert_close(torch.cat(logits, 1), whole, atol=2e-5, rtol=1e-4)


def test_another_start_id_is_as_in_the_reference(tmp_path):
    model = _pair(start=0)
    model.save_pretrained(tmp_path)
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path)
    inputs = {"input_ids": tiny.source(), "labels": tiny.target()}
    torch.testing.assert_close(model(**inputs).logits, theirs(**inputs).logits, atol=1e-5, rtol=1e-4)
    long = {**inputs, "labels": torch.tensor([[9, 10, 11, -100, -100], [12, 13, 14, 15, 16]])}
    torch.testing.assert_close(model(**long).loss, theirs(**long).loss, atol=1e-5, rtol=1e-4)


def test_left_padding_counts_from_the_first_real_token():
    model = _pair("roberta")
    short, long = torch.tensor([[9, 10, 11]]), torch.tensor([[1, 1, 9, 10, 11]])
    states = [model.encode(i, (i != 1).long()).last_hidden_state[:, -3:] for i in (short, long)]
    torch.testing.assert_close(*states, atol=1e-5, rtol=1e-4)


def test_the_reference_differs_from_itself(tmp_path):
    """Its cached steps count the start id, its whole pass does not."""
    model = _pair()
    model.save_pretrained(tmp_path)
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path)
    inputs = model.prepare_decoder_input_ids_from_labels(tiny.target())
    with torch.no_grad():
        whole = theirs(input_ids=tiny.source(), decoder_input_ids=inputs).logits
        cache, logits = None, []
        for token in inputs.split(1, 1):
            out = theirs(input_ids=tiny.source(), decoder_input_ids=token, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            logits.append(out.logits)
    assert not torch.allclose(torch.cat(logits, 1), whole, atol=1e-2)
