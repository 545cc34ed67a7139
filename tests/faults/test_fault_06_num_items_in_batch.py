"""Fault 6: with `num_items_in_batch` the parts of a batch add up to the loss and the gradients of the whole."""

import pytest
import torch
import transformers

import seqgraft

from . import tiny

SPLITS = [1, 2, 4, 8]


def _batch():
    """Eight examples of very unequal length: a mean of means is not the mean."""
    labels = torch.randint(7, tiny.VOCAB, (8, 7), generator=torch.Generator().manual_seed(5))
    for row, length in enumerate([7, 1, 2, 7, 3, 1, 5, 6]):
        labels[row, length:] = -100
    return tiny.source(8), labels


def _accumulated(model, splits, count):
    """The summed loss of the parts, and the gradients that they leave."""
    ids, labels = _batch()
    model.zero_grad()
    total = 0.0
    for i, part in zip(ids.chunk(splits), labels.chunk(splits), strict=True):
        loss = model(input_ids=i, labels=part, num_items_in_batch=count).loss
        loss.backward()
        total += loss.item()
    return total, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("decoder", ["bert", "gpt2", "bart", "llama"])
@pytest.mark.parametrize("kind", [int, torch.tensor], ids=["int", "tensor"])
def test_parts_add_up_to_the_whole(decoder, kind):
    model = tiny.pair("bert", decoder)
    ids, labels = _batch()
    count = int((labels != -100).sum())
    whole = model(input_ids=ids, labels=labels)
    whole.loss.backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters()}
    for splits in SPLITS:
        loss, found = _accumulated(model, splits, kind(count))
        assert loss == pytest.approx(whole.loss.item(), rel=1e-5)
        for name, gradient in gradients.items():
            torch.testing.assert_close(found[name], gradient, atol=2e-5, rtol=1e-4, msg=name)


def test_without_it_the_mean():
    model = tiny.pair()
    ids, labels = _batch()
    logits = model(input_ids=ids, labels=labels).logits
    expected = torch.nn.functional.cross_entropy(logits.reshape(-1, tiny.VOCAB), labels.reshape(-1))
    torch.testing.assert_close(model(input_ids=ids, labels=labels).loss, expected)


def test_a_decoder_alone_too():
    model = seqgraft.GPT2LMHeadModel(tiny.config("gpt2"))
    ids, labels = _batch()[1].clamp(min=0), _batch()[1]
    count = int((labels[:, 1:] != -100).sum())
    whole = model(ids, labels=labels).loss
    parts = [
        model(i, labels=part, num_items_in_batch=count).loss
        for i, part in zip(ids.chunk(4), labels.chunk(4), strict=True)
    ]
    torch.testing.assert_close(torch.stack(parts).sum(), whole)


def test_the_reference_grows_with_the_number_of_steps(tmp_path):
    tiny.pair().save_pretrained(tmp_path)
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path)
    count = int((_batch()[1] != -100).sum())
    one, four = (_accumulated(theirs, splits, count)[0] for splits in (1, 4))
    assert four > 3 * one


def test_a_label_that_counts_nothing_gives_a_finite_gradient():
    """A part may hold nothing to learn from."""
    model = tiny.pair()
    loss = model(input_ids=tiny.source(), labels=torch.full((2, 4), -100), num_items_in_batch=9).loss
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
