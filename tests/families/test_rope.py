"""Rotary positions: every published way of saying them means the reference's fields, and the reference's angles."""

import copy
from typing import Any

import pytest
import torch
import transformers

from seqgraft import AutoConfig
from seqgraft.config import decoder_spec, encoder_spec
from seqgraft.errors import ConfigurationError
from seqgraft.torch.rotary import rotation

_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
_LONG = {"short_factor": [1.0, 1.5, 1.25, 2.0], "long_factor": [2.0, 7.5, 3.5, 4.0]}
_FIRST = {"original_max_position_embeddings": 16}
_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}

SAID: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"rope_theta": 500.0}),
    ("llama", {"rope_theta": 500.0, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
    ("llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}),
    ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}),
    ("llama", {"rope_parameters": {**_YARN, "mscale": 0.7, "mscale_all_dim": 1.2}}),
    ("llama", {"rope_parameters": {**_YARN, "attention_factor": 1.25, "beta_fast": 3, "beta_slow": 2}}),
    ("llama", {"rope_parameters": {**_YARN, "beta_slow": 0.05, "truncate": False}}),
    ("llama", {"rope_parameters": {**_YARN, "factor": 1.0}}),
    ("llama", {"rope_parameters": _LLAMA3}),
    ("llama", {"rope_parameters": {**_LONG, "rope_type": "longrope", "original_max_position_embeddings": 16}}),
    ("llama", {"rope_parameters": {**_LONG, "rope_type": "longrope", "factor": 3.0}}),
    ("llama", {"rope_parameters": {**_LONG, "rope_type": "longrope", "attention_factor": 1.5}}),
    ("qwen2", {"rope_theta": 1e6, "rope_scaling": _YARN}),
    ("smollm3", {}),
    ("cohere", {}),
    ("helium", {"head_dim": 8}),
    ("phi", {"partial_rotary_factor": 0.25}),
    ("phi", {"rope_theta": 7.0, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
    ("stablelm", {"rope_theta": 7.0}),
    ("stablelm", {"partial_rotary_factor": 0.75, "rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}),
    ("glm4", {"head_dim": 8, "partial_rotary_factor": 1.0}),
    ("phi3", {"rope_scaling": {**_LONG, "type": "su", **_FIRST}, **_FIRST}),
    ("phi3", {"rope_scaling": {**_LONG, "type": "longrope"}, "original_max_position_embeddings": 64}),
    ("phi3", {"rope_scaling": {**_LONG, "type": "longrope", **_FIRST}, "original_max_position_embeddings": 32}),
    ("gemma3_text", {"head_dim": 8}),
    ("gemma3_text", {"head_dim": 8, "rope_theta": 3e6, "rope_local_base_freq": 99.0}),
    ("gemma3_text", {"head_dim": 8, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}),
    ("olmo3", {"rope_scaling": _YARN}),
]
_TINY = {
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 64,
    "num_hidden_layers": 6,
    "vocab_size": 9,
    "intermediate_size": 8,
    "pad_token_id": 0,
}


@pytest.mark.parametrize(("model_type", "fields"), SAID, ids=[f"{i}-{t}" for i, (t, _) in enumerate(SAID)])
def test_what_is_said_means_what_the_reference_makes_of_it(model_type: str, fields: dict[str, Any]) -> None:
    theirs = transformers.AutoConfig.for_model(model_type, **_TINY, **copy.deepcopy(fields))  # it writes into them
    ours = AutoConfig.for_model(model_type, **_TINY, **fields)

    def plain(rope: dict[str, Any]) -> dict[str, Any]:
        return {n: plain(v) if isinstance(v, dict) else v for n, v in rope.items() if n != "type"}

    assert ours.rope_parameters == plain(theirs.rope_parameters)
    assert type(ours).from_dict(ours.to_dict()) == ours
    body = transformers.AutoModel.from_config(theirs)
    kinds = theirs.layer_types if isinstance(body.rotary_emb.rope_type, dict) else [None] * 6
    for time in (12, 40, 100, 7):  # below and beyond both lengths, and back again
        places = torch.arange(time)[None] + 2
        for layer, kind in zip(encoder_spec(ours).layers, kinds, strict=True):
            spec = layer.self_attention.rotary
            if spec is None:
                continue
            more = {} if kind is None else {"layer_type": kind}
            cosine, sine = rotation(spec, places, layer.self_attention.head_width, torch.float32)
            other = body.rotary_emb(torch.zeros(1), places, **more)
            if spec.layout == "pairs" and model_type != "cohere":  # which spread the halves where they rotate
                other = tuple(part[..., : part.shape[-1] // 2].repeat_interleave(2, -1) for part in other)
            for mine, part in zip((cosine[:, 0], sine[:, 0]), other, strict=True):
                assert mine.shape == part.shape
                assert float((mine - part).abs().max()) < 2e-5


def test_the_text_model_that_sees_both_ways() -> None:
    """EmbeddingGemma: a window of n positions is n // 2 to either side; it is no decoder."""
    fields = {**_TINY, "head_dim": 8, "sliding_window": 4, "use_bidirectional_attention": True}
    theirs = transformers.AutoConfig.for_model("gemma3_text", **fields)
    ours = AutoConfig.for_model("gemma3_text", **fields)
    assert ours.sliding_window == theirs.to_dict()["sliding_window"] == 4
    stack = encoder_spec(ours)
    assert not stack.causal
    assert [layer.self_attention.window for layer in stack.layers] == [(2, 2)] * 5 + [None]
    with pytest.raises(ConfigurationError, match="`use_bidirectional_attention` must be False for a decoder"):
        decoder_spec(ours)


def test_a_width_of_heads_that_a_family_does_not_publish_is_read() -> None:
    config = AutoConfig.for_model("exaone4", **_TINY, head_dim=12)
    assert not config.unknown_fields
    assert encoder_spec(config).layers[0].self_attention.head_width == 12
    assert config.to_dict()["head_dim"] == 12
    assert "head_dim" not in AutoConfig.for_model("exaone4", **_TINY).to_dict()


def test_one_base_for_every_layer_of_an_older_file() -> None:
    """The reference hands it to the full layers alone, and the published base is its default for the others."""
    config = AutoConfig.for_model("olmo3", **_TINY, rope_theta=5000.0, rope_scaling=_YARN)
    assert {own["rope_theta"] for own in (config.rope_parameters or {}).values()} == {5000.0}
    assert [own["rope_type"] for own in (config.rope_parameters or {}).values()] == ["yarn", "default"]
