"""The output's prior."""

import torch

from seqgraft.training.data import TokenizedPairs
from seqgraft.training.initial import set_output_prior
from seqgraft.training.special import settle_special_ids


def test_prior_predicts_by_frequency(make, pairs):
    made = make()
    settle_special_ids(made.model, made.tokenizer)
    data = TokenizedPairs.make(pairs, made.model, made.tokenizer)
    assert set_output_prior(made.model, data)
    made.model.decoder.embed.weight.data.zero_()  # tied: the bias alone decides
    batch = data[range(len(pairs))]
    out = made.model(**batch)
    counts = torch.bincount(batch["labels"][batch["labels"] != -100], minlength=len(made.tokenizer)) + 0.1
    torch.testing.assert_close(out.logits[0, 0].softmax(0), counts / counts.sum())
    wide = make("bert", "gpt2")
    settle_special_ids(wide.model, wide.tokenizer)
    assert not set_output_prior(wide.model, TokenizedPairs.make(pairs, wide.model, wide.tokenizer))
