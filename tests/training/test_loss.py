"""Logits at the positions that count alone give the loss, and the gradients, of the whole."""

import pytest
import torch
import transformers

from seqgraft.training.data import TokenizedPairs
from seqgraft.training.loss import token_loss
from seqgraft.training.metrics import mean_loss
from seqgraft.training.special import settle_special_ids


@pytest.mark.parametrize(("encoder", "decoder"), [("bert", "bert"), ("bert", "gpt2"), ("bart", "bart")])
def test_equals_the_models_loss(make, pairs, encoder, decoder):
    made = make(encoder, decoder)
    with torch.no_grad():  # far from the start, where the source hardly matters yet
        for parameter in made.model.parameters():
            parameter.mul_(6)
    settle_special_ids(made.model, made.tokenizer)
    batch = TokenizedPairs.make(pairs, made.model, made.tokenizer)[range(len(pairs))]
    whole = made.model(**batch).loss
    whole.backward()
    wanted = {name: p.grad.clone() for name, p in made.model.named_parameters() if p.grad is not None}
    made.model.zero_grad()
    total, count = token_loss(made.model, batch)
    assert count == int((batch["labels"] != -100).sum())
    torch.testing.assert_close(total / count, whole, rtol=1e-6, atol=0)
    (total / count).backward()
    assert wanted
    for name, parameter in made.model.named_parameters():
        if name in wanted:
            torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-4, atol=1e-6)


def test_equals_the_reference(make, pairs, tmp_path):
    made = make()
    settle_special_ids(made.model, made.tokenizer)
    made.model.save_pretrained(tmp_path)
    reference = transformers.EncoderDecoderModel.from_pretrained(tmp_path).eval()
    data = TokenizedPairs.make(pairs, made.model, made.tokenizer)
    total, count = token_loss(made.model, data[range(len(pairs))])
    torch.testing.assert_close(total / count, reference(**data[range(len(pairs))]).loss, rtol=1e-5, atol=1e-6)


def test_smoothing_is_torchs(make, pairs):
    made = make()
    settle_special_ids(made.model, made.tokenizer)
    batch = TokenizedPairs.make(pairs, made.model, made.tokenizer)[range(len(pairs))]
    logits = made.model(**batch).logits
    wanted = torch.nn.CrossEntropyLoss(label_smoothing=0.1)(logits.flatten(0, 1), batch["labels"].flatten())
    total, count = token_loss(made.model, batch, smoothing=0.1)
    torch.testing.assert_close(total / count, wanted)


def test_mean_over_tokens_whatever_the_batches(make, pairs):
    made = make()
    settle_special_ids(made.model, made.tokenizer)
    data = TokenizedPairs.make(pairs, made.model, made.tokenizer)
    whole = float(made.model(**data[range(len(pairs))]).loss)
    assert mean_loss(made.model, data, tokens_per_batch=20) == pytest.approx(whole, rel=1e-5)
