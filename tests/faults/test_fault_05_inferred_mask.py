"""Fault 5: without `attention_mask` padding is recognised by its id, in forward and in generate alike."""

import pytest
import torch
import transformers

from seqgraft import EncoderDecoderModel

from . import tiny

PADDED = {
    "right": [[9, 10, 11, 12, 13, 14], [15, 16, 17, 0, 0, 0]],
    "left": [[9, 10, 11, 12, 13, 14], [0, 0, 0, 15, 16, 17]],
    "inside": [[9, 10, 11, 12, 13, 14], [15, 0, 16, 0, 0, 17]],
    "a row of nothing else": [[9, 10, 11, 12, 13, 14], [0, 0, 0, 0, 0, 0]],
}


def _pair(encoder="bert", decoder="bert", **changes):
    model = tiny.open_gates(tiny.pair(encoder, decoder, **changes))
    model.generation_config.max_new_tokens = 6
    return model


@pytest.mark.parametrize("where", PADDED)
@pytest.mark.parametrize(("encoder", "decoder"), [("bert", "bert"), ("roberta", "gpt2"), ("bart", "llama")])
def test_as_with_a_mask(encoder, decoder, where):
    model = _pair(encoder, decoder)
    pad = model.config.encoder.pad_token_id
    ids = torch.tensor(PADDED[where])
    ids = ids.masked_fill(ids == 0, pad)
    mask = (ids != pad).long()
    labels = tiny.target()
    told, inferred = (model(input_ids=ids, labels=labels, **m) for m in ({"attention_mask": mask}, {}))
    assert torch.equal(told.loss, inferred.loss)
    assert torch.equal(told.logits, inferred.logits)
    assert torch.equal(told.encoder_last_hidden_state, inferred.encoder_last_hidden_state)
    assert told.logits.isfinite().all()
    blind = model(input_ids=ids, labels=labels, attention_mask=torch.ones_like(mask))
    assert not torch.allclose(blind.logits, told.logits), "a mask that the caller gives is followed"
    for settings in ({}, {"num_beams": 3}):
        one, two = (
            model.generate(ids, return_dict_in_generate=True, output_logits=True, **settings, **m)
            for m in ({"attention_mask": mask}, {})
        )
        assert torch.equal(one.sequences, two.sequences)
        assert all(torch.equal(a, b) for a, b in zip(one.logits, two.logits, strict=True))


def test_padding_changes_nothing():
    model = _pair()
    short = torch.tensor([[15, 16, 17]])
    long = torch.tensor([[15, 16, 17, 0, 0]])
    labels = tiny.target(1)
    torch.testing.assert_close(model(short, labels=labels).logits, model(long, labels=labels).logits)
    assert torch.equal(model.generate(short), model.generate(long))


def test_the_reference_attends_to_padding(tmp_path):
    _pair().save_pretrained(tmp_path)
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path)
    labels = tiny.target(1)
    short, long = torch.tensor([[15, 16, 17]]), torch.tensor([[15, 16, 17, 0, 0]])
    assert not torch.allclose(theirs(short, labels=labels).logits, theirs(long, labels=labels).logits, atol=1e-3)


def test_each_side_has_its_own_padding():
    """The source is padded with the encoder's id; the pair's belongs to the target."""
    model = _pair("roberta", "gpt2", pad_token_id=30)
    assert model.config.encoder.pad_token_id == 1
    ids = torch.tensor([[9, 30, 11], [12, 1, 1]])
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    labels = tiny.target()
    assert torch.equal(model(ids, labels=labels).logits, model(ids, mask, labels=labels).logits)
    assert torch.equal(model.generate(ids), model.generate(ids, attention_mask=mask))


def test_the_pairs_padding_serves_an_encoder_without_one():
    model = _pair("gpt2", "bert", encoder__eos_token_id=None)
    assert model.config.encoder.pad_token_id is None
    ids = torch.tensor([[9, 10, 11], [12, 0, 0]])
    labels = tiny.target()
    mask = (ids != 0).long()
    assert torch.equal(model(ids, labels=labels).logits, model(ids, mask, labels=labels).logits)
    assert torch.equal(model.generate(ids), model.generate(ids, attention_mask=mask))


def test_a_padding_that_ends_too_says_nothing():
    """Where one id means both, it may be a real end: no mask can be known."""
    model = _pair("bert", "bert", encoder__eos_token_id=0)
    ids = torch.tensor([[9, 10, 0], [12, 0, 0]])
    labels = tiny.target()
    assert torch.equal(model(ids, labels=labels).logits, model(ids, torch.ones_like(ids), labels=labels).logits)


def test_cached_source_and_embeddings():
    model = _pair()
    ids, labels = torch.tensor(PADDED["right"]), tiny.target()
    whole = model(ids, labels=labels)
    again = model(ids, encoder_outputs=(whole.encoder_last_hidden_state,), labels=labels)
    assert torch.equal(again.logits, whole.logits)
    states = model.encoder.get_input_embeddings()(ids)
    embedded = model(inputs_embeds=states, attention_mask=(ids != 0).long(), labels=labels)
    torch.testing.assert_close(embedded.logits, whole.logits)


def test_target_padding_is_recognised_too():
    model = _pair()
    ids = tiny.source()
    target = torch.tensor([[5, 9, 10, 11], [0, 0, 5, 12]])
    told = model(ids, decoder_input_ids=target, decoder_attention_mask=(target != 0).long())
    assert torch.equal(model(ids, decoder_input_ids=target).logits, told.logits)


def test_after_loading(tmp_path):
    model = _pair()
    model.save_pretrained(tmp_path)
    ids = torch.tensor(PADDED["right"])
    again = EncoderDecoderModel.from_pretrained(tmp_path, dtype=torch.float32)
    assert torch.equal(again.generate(ids), model.generate(ids, attention_mask=(ids != 0).long()))
