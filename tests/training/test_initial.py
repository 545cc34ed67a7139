"""Better starts: the output's prior and copied cross-attention."""

import pytest
import torch

import seqgraft
from seqgraft.errors import ConfigurationError
from seqgraft.training.data import TokenizedPairs
from seqgraft.training.initial import copy_cross_attention, set_output_prior
from seqgraft.training.special import settle_special_ids
from tests.training.conftest import half


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


def test_copied_cross_attention(make):
    made = make()
    copy_cross_attention(made.model)
    for layer in made.model.decoder.layers:
        assert torch.equal(layer.cross_attention.key.weight, layer.self_attention.key.weight)
        assert layer.cross_attention.key.weight is not layer.self_attention.key.weight
        assert torch.equal(layer.cross_attention_norm.weight, layer.self_attention_norm.weight)
    wide = seqgraft.BertConfig(vocab_size=21, hidden_size=64, num_attention_heads=2, num_hidden_layers=1)
    config = seqgraft.EncoderDecoderConfig(wide, half("gpt2", 50), cross_attention_hidden_size=64)
    config.decoder.cross_attention_hidden_size = 64
    with pytest.raises(ConfigurationError, match="same shapes"):
        copy_cross_attention(seqgraft.EncoderDecoderModel(config=config))
