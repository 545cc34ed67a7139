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
    found = {name: p.grad for name, p in made.model.named_parameters() if p.grad is not None}
    assert set(found) == set(wanted)
    length = torch.stack([value.norm() for value in wanted.values()]).norm()
    for name, value in wanted.items():  # float32 is 1e-5 away from float64 here, whichever way it is computed
        assert float((found[name] - value).norm() / length) < 1e-6, name


def test_equals_the_reference(make, pairs, tmp_path):
    made = make()
    settle_special_ids(made.model, made.tokenizer)
    made.model.save_pretrained(tmp_path)
    reference = transformers.EncoderDecoderModel.from_pretrained(tmp_path).eval()
    data = TokenizedPairs.make(pairs, made.model, made.tokenizer)
    total, count = token_loss(made.model, data[range(len(pairs))])
    torch.testing.assert_close(total / count, reference(**data[range(len(pairs))]).loss, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fused", [True, False])
def test_smoothing_is_torchs_and_z_loss_is_the_papers(make, pairs, fused):
    made = make()
    settle_special_ids(made.model, made.tokenizer)
    batch = TokenizedPairs.make(pairs, made.model, made.tokenizer)[range(len(pairs))]
    logits = made.model(**batch).logits
    wanted = torch.nn.CrossEntropyLoss(label_smoothing=0.1)(logits.flatten(0, 1), batch["labels"].flatten())
    total, count = token_loss(made.model, batch, smoothing=0.1, fused=fused)
    torch.testing.assert_close(total / count, wanted)
    # PaLM (Chowdhery et al. 2022), section 5: an auxiliary loss of z_loss * log(Z) ** 2
    normalizers = logits[batch["labels"] != -100].exp().sum(-1)
    more, _ = token_loss(made.model, batch, smoothing=0.1, z_loss=0.01, fused=fused)
    torch.testing.assert_close(more - total, 0.01 * normalizers.log().square().sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("encoder", "decoder"), [("bert", "bert"), ("bert", "gpt2"), ("bart", "bart")])
def test_chunks_change_nothing(make, pairs, encoder, decoder):
    """Tied and untied heads, with a bias, a transform, and none."""
    made = make(encoder, decoder)
    settle_special_ids(made.model, made.tokenizer)
    batch = TokenizedPairs.make(pairs, made.model, made.tokenizer)[range(len(pairs))]
    gradients = []
    for fused in (False, True):
        made.model.zero_grad()
        token_loss(made.model, batch, smoothing=0.1, z_loss=1e-3, fused=fused)[0].backward()
        gradients.append({name: p.grad.clone() for name, p in made.model.named_parameters() if p.grad is not None})
    assert set(gradients[0]) == set(gradients[1])
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, rtol=1e-4, atol=1e-5)


def test_an_output_map_that_is_hooked_computes_itself(make, pairs):
    made = make()
    settle_special_ids(made.model, made.tokenizer)
    batch = TokenizedPairs.make(pairs, made.model, made.tokenizer)[range(len(pairs))]
    plain, _ = token_loss(made.model, batch)
    handle = made.model.decoder.head.output.register_forward_hook(lambda _, __, out: 2 * out)
    hooked, _ = token_loss(made.model, batch)
    handle.remove()
    assert float(hooked.detach()) != float(plain.detach())
    assert float(token_loss(made.model, batch)[0].detach()) == float(plain.detach())


def test_mean_over_tokens_whatever_the_batches(make, pairs):
    made = make()
    settle_special_ids(made.model, made.tokenizer)
    data = TokenizedPairs.make(pairs, made.model, made.tokenizer)
    whole = float(made.model(**data[range(len(pairs))]).loss)
    assert mean_loss(made.model, data, tokens_per_batch=20) == pytest.approx(whole, rel=1e-5)
