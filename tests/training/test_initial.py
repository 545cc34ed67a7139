"""Starts without a checkpoint: a whole pair of random weights, the output's prior."""

import pytest
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


def test_an_untrained_pair_needs_no_weights(make, tmp_path):
    """All of it is new and random; what the folder says of the model and of generation holds."""
    from seqgraft.errors import FolderError
    from seqgraft.training.groups import is_new
    from seqgraft.training.initial import untrained

    made = make("bert", "gpt2")
    made.model.config.decoder_start_token_id = 7
    made.model.generation_config.num_beams = 3
    made.model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.manual_seed(1)
    found = untrained(tmp_path)
    assert {name: value.shape for name, value in found.named_parameters()} == {
        name: value.shape for name, value in made.model.named_parameters()
    }
    assert not torch.equal(found.encoder.embed.weight, made.model.encoder.embed.weight)
    assert is_new(found) == {name for name, _ in found.named_parameters()}
    assert (found.config.decoder_start_token_id, found.generation_config.num_beams) == (7, 3)
    with pytest.raises(FolderError):
        untrained(tmp_path / "nothing")
