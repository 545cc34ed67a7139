"""What encoders of the rows in `rows_encoders.py` have been published as, and what they refuse."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.models.deberta_v2.modeling_deberta_v2 import build_relative_position

from seqgraft import AutoConfig
from seqgraft.config import encoder_spec
from seqgraft.errors import ConfigurationError
from seqgraft.spec import Distances
from seqgraft.torch.disentangled import rows_of_distance
from seqgraft.torch.halves import EncoderModel

from .rows import BY_NAME, batch, distance, reference_config, reference_model

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("modernbert", {"layer_types": ["full_attention"]}, "`layer_types` must name"),
    ("modernbert", {"num_attention_heads": 5}, "`num_attention_heads` must divide"),
    ("gte", {"num_attention_heads": 5}, "`num_attention_heads` must divide"),
    ("nomic_bert", {"prenorm": True}, "`prenorm` must be False.*but is True"),
    ("nomic_bert", {"rotary_scaling_factor": 2.0}, "`rotary_scaling_factor` must be None"),
    ("longformer", {"attention_window": 5}, "`attention_window` must hold even numbers"),
    ("longformer", {"attention_window": [4, 4, 4]}, "`attention_window` must have a number for each of 12 layers"),
    ("big_bird", {"attention_type": "dense"}, "`attention_type` must be 'block_sparse' or 'original_full'"),
    ("deberta", {"pos_att_type": "c2p|p2p"}, "`pos_att_type` must name some of c2p, p2c"),
    ("deberta", {"relative_attention": True}, "`pos_att_type` must name 'c2p' or 'p2c'"),
    ("deberta", {"talking_head": True}, "`talking_head` must be False"),
    ("deberta-v2", {"embedding_size": 12}, "`embedding_size` must be 1536"),
]


@pytest.mark.parametrize(("model_type", "fields", "message"), REFUSED)
def test_what_is_not_supported_is_refused(model_type: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        AutoConfig.for_model(model_type, **fields)


def test_modernbert_of_version_4() -> None:
    """The published files give two bases, and every how many layers one sees all."""
    old = {
        "global_rope_theta": 500.0,
        "local_rope_theta": 20.0,
        "global_attn_every_n_layers": 2,
        "num_hidden_layers": 4,
    }
    spec = encoder_spec(AutoConfig.for_model("modernbert", **old))
    own = [layer.self_attention for layer in spec.layers]
    assert [a.window for a in own] == [None, (64, 64)] * 2
    assert [a.rotary.theta for a in own if a.rotary] == [500.0, 20.0] * 2
    theirs = transformers.ModernBertConfig(**old)
    assert theirs.layer_types == ["full_attention", "sliding_attention"] * 2
    assert [theirs.rope_parameters[kind]["rope_theta"] for kind in theirs.layer_types] == [500.0, 20.0] * 2


def test_nomic_in_the_words_of_gpt2() -> None:
    """The published configuration, as far as it says what is computed."""
    published = {
        "n_embd": 32,
        "n_head": 4,
        "n_inner": 44,
        "n_layer": 2,
        "n_positions": 76,
        "activation_function": "swiglu",
        "layer_norm_epsilon": 1e-12,
        "rotary_emb_base": 1000,
        "rotary_emb_fraction": 1.0,
        "rotary_scaling_factor": None,
        "prenorm": False,
        "qkv_proj_bias": False,
        "attn_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "vocab_size": 61,
    }
    config = AutoConfig.for_model("nomic_bert", **published)
    assert config.unknown_fields == ()
    assert encoder_spec(config) == encoder_spec(AutoConfig.for_model("nomic_bert", **BY_NAME["nomic_bert"].config))


@pytest.mark.parametrize("name", ["gte", "nomic_bert", "jina_embeddings_v3"])
@torch.no_grad()
def test_names_of_modules_are_read_too(tmp_path: Path, name: str) -> None:
    """A file with the reference's own module names, which its `save_pretrained` changes into the published ones."""
    row = BY_NAME[name]
    theirs = reference_model(row, "encoder")
    reference_config(row, "encoder").save_pretrained(tmp_path)
    save_file({n: t.contiguous() for n, t in theirs.state_dict().items()}, tmp_path / "model.safetensors")
    ours = EncoderModel.from_pretrained(tmp_path)
    assert distance(ours(**batch())[0], theirs(**batch())[0]) < 1e-5


@torch.no_grad()
def test_gte_as_first_published(tmp_path: Path) -> None:
    """Under the prefix `new.`, with a head of another task."""
    row = BY_NAME["gte"]
    theirs = reference_model(row, "encoder")
    theirs.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    first = {f"new.{name}": value for name, value in stored.items()} | {"classifier.weight": torch.zeros(2, 32)}
    save_file(first, tmp_path / "model.safetensors", {"format": "pt"})
    assert distance(EncoderModel.from_pretrained(tmp_path)(**batch())[0], theirs(**batch())[0]) < 1e-5


def test_a_table_of_positions_that_nothing_reads_is_kept(tmp_path: Path) -> None:
    """Published DeBERTas hold one although their embeddings have no positions."""
    row = BY_NAME["deberta-v3"]
    reference_model(row, "encoder").save_pretrained(tmp_path / "source")
    stored = load_file(tmp_path / "source/model.safetensors")
    stored["embeddings.position_embeddings.weight"] = torch.randn(76, 32)
    save_file(stored, tmp_path / "source/model.safetensors", {"format": "pt"})
    EncoderModel.from_pretrained(tmp_path / "source").save_pretrained(tmp_path / "target")
    written = load_file(tmp_path / "target/model.safetensors")
    assert written.keys() == stored.keys()
    assert all(torch.equal(written[name], stored[name]) for name in stored)


@pytest.mark.parametrize(("buckets", "longest"), [(256, 512), (8, 76), (32, 128), (-1, 512)])
def test_rows_of_distances(buckets: int, longest: int) -> None:
    """Of texts longer than the longest distance too, as in the published sizes."""
    time = 700
    spec = Distances(buckets, longest) if buckets > 0 else Distances(longest)
    place = torch.arange(time)
    sized = torch.empty(1, time, 1)
    theirs = build_relative_position(sized, sized, buckets, longest)[0]
    theirs = (theirs + spec.span).clamp(0, 2 * spec.span - 1)
    assert torch.equal(rows_of_distance(spec, place[None, :] - place[:, None]), theirs)
