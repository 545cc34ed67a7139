"""A stack that holds for short sequences alone says so, rather than computing something else."""

import dataclasses

import pytest
import torch

from seqgraft import AutoConfig
from seqgraft.errors import SpecError
from seqgraft.torch.halves import CausalModel, EncoderModel

TINY = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 44,
    "max_position_embeddings": 76,
    "block_size": 2,
}


@torch.no_grad()
def test_a_text_of_which_big_bird_would_see_random_blocks() -> None:
    config = AutoConfig.for_model("big_bird", **TINY)
    model = EncoderModel(config)
    assert model.spec.longest == 22  # (2 global + 3 near + 2 x 3 random) x 2
    assert model(torch.ones(1, 22, dtype=torch.long))[0].shape[1] == 22
    with pytest.raises(ValueError, match=r"A sequence must have at most 22 tokens, but has 23.*original_full"):
        model(torch.ones(1, 23, dtype=torch.long))
    full = EncoderModel(AutoConfig.for_model("big_bird", **TINY, attention_type="original_full"))
    assert full(torch.ones(1, 76, dtype=torch.long))[0].shape[1] == 76
    assert CausalModel(config).spec.longest is None


def test_the_bound_is_a_length() -> None:
    spec = EncoderModel(AutoConfig.for_model("big_bird", **TINY)).spec
    with pytest.raises(SpecError, match=r"Stack.longest must be a number of at least 1, but is 0"):
        dataclasses.replace(spec, longest=0)
