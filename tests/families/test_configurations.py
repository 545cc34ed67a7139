"""Configurations: published defaults, old layouts, what is kept, what is refused."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import seqgraft
from seqgraft import AutoConfig, EncoderDecoderConfig
from seqgraft.config import config_class, decoder_spec, encoder_spec
from seqgraft.errors import ConfigurationError, SpecError
from seqgraft.families import ALIASES, ENTRIES, family
from seqgraft.spec import Rotary, RotaryScaling

from .row import says
from .rows import ROWS, Row, reference_config

TYPES = sorted(ENTRIES)
ALL = [pytest.param(row, id=row.name) for row in ROWS]


@pytest.mark.parametrize("model_type", TYPES)
def test_published_defaults(model_type: str) -> None:
    theirs, ours = transformers.AutoConfig.for_model(model_type), AutoConfig.for_model(model_type)
    assert type(ours).__name__ == type(theirs).__name__
    assert getattr(seqgraft, type(theirs).__name__) is type(ours)
    published = theirs.to_dict()
    held = {n: (v, getattr(ours, n)) for n, v in published.items() if hasattr(ours, n)}
    differ = {n: both for n, both in held.items() if not says(*both)}
    assert not differ
    absent = {name for name in published if not hasattr(ours, name) and name not in ("is_decoder",)}
    idle = {
        "transformers_version",
        "chunk_size_feed_forward",
        "id2label",
        "label2id",
        "problem_type",
        "pretraining_tp",
        "_name_or_path",
    }
    assert {name for name in absent if not name.startswith(("summary_", "_"))} <= idle  # nothing computed here


@pytest.mark.parametrize("model_type", TYPES)
def test_aliases(model_type: str) -> None:
    theirs = transformers.AutoConfig.for_model(model_type)
    ours = AutoConfig.for_model(model_type)
    if not hasattr(theirs, "hidden_size"):
        pytest.skip("its halves have them")
    for name in ("hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size", "max_position_embeddings"):
        must = getattr(theirs, name, None)
        assert getattr(ours, name, None) == (None if must == -1 else must)  # XLNet's word for no limit
    groups = {"num_key_value_heads": 32} if "num_key_value_heads" in ours.fields else {}
    other = AutoConfig.for_model(model_type, hidden_size=192, num_attention_heads=32, **groups)
    assert other.hidden_size == 192
    other.hidden_size = 96
    own = type(other).attribute_map.get("hidden_size", "hidden_size")
    assert getattr(other, own) == 96
    assert other.to_dict()[own] == 96
    assert ("hidden_size" in other.to_dict()) == (own == "hidden_size")
    assert not other.unknown_fields
    with pytest.raises(AttributeError, match="has no field 'depth'"):
        _ = other.depth


@pytest.mark.parametrize("row", ALL)
def test_round_trips(tmp_path: Path, row: Row) -> None:
    kind = config_class(row.model_type)
    config = kind(**row.config, architectures=["X"], dtype="bfloat16")
    assert kind.from_dict(config.to_dict()) == config
    assert kind(**config.to_diff_dict()) == config
    assert json.loads(config.to_json_string(use_diff=False)) == json.loads(json.dumps(config.to_dict()))
    config.save_pretrained(tmp_path)
    for again in (kind.from_pretrained(tmp_path), AutoConfig.from_pretrained(tmp_path)):
        assert type(again) is kind
        assert again == config
        assert again.name_or_path == str(tmp_path)
    changed = kind.from_pretrained(tmp_path, vocab_size=77)
    assert changed.vocab_size == 77
    assert changed != config
    theirs = transformers.AutoConfig.from_pretrained(tmp_path)
    assert all(says(getattr(theirs, name), value) for name, value in row.config.items())


@pytest.mark.parametrize("row", ALL)
def test_the_references_file_means_the_same_stack(tmp_path: Path, row: Row) -> None:
    reference_config(row, row.sides[-1]).save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = AutoConfig.from_pretrained(tmp_path)
    made = config_class(row.model_type)(**{**row.config, **row.decoder})
    if row.body:
        assert encoder_spec(opened) == encoder_spec(made)
    if row.causal:
        assert decoder_spec(opened) == decoder_spec(made)


@pytest.mark.parametrize("model_type", TYPES)
def test_unknown_fields_are_kept_and_named_once(tmp_path: Path, model_type: str) -> None:
    kind = config_class(model_type)
    values = {**kind().to_dict(), "secret_sauce": {"a": [1]}, "zest": 2}
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.warns(UserWarning, match="does not know the fields secret_sauce, zest: they are kept") as told:
        config = kind.from_pretrained(tmp_path)
    assert len(told) == 1
    assert config.secret_sauce == {"a": [1]}
    config.save_pretrained(tmp_path / "again")
    written = json.loads((tmp_path / "again" / "config.json").read_text())
    assert written["secret_sauce"] == {"a": [1]}
    assert written["zest"] == 2


def test_fields_of_version_4() -> None:
    old = {"model_type": "llama", "rope_theta": 5000.0, "rope_scaling": None, "torch_dtype": "float16", "vocab_size": 9}
    config = AutoConfig.for_model("llama").from_dict(old)
    assert config.rope_parameters == {"rope_theta": 5000.0, "rope_type": "default"}
    assert (config.dtype, config.torch_dtype) == ("float16", "float16")
    assert encoder_spec(config).layers[0].self_attention.rotary == Rotary(5000.0)
    assert "rope_theta" not in config.to_dict()
    scaled = AutoConfig.for_model("llama").from_dict({**old, "rope_scaling": {"type": "linear", "factor": 2.0}})
    assert scaled.rope_parameters == {"rope_theta": 5000.0, "rope_type": "linear", "factor": 2.0}
    assert encoder_spec(scaled).layers[0].self_attention.rotary == Rotary(5000.0, scaling=RotaryScaling("linear", 2.0))
    heads = AutoConfig.for_model("mistral").from_dict({"model_type": "mistral", "head_dim": None, "hidden_size": 64})
    assert heads.head_dim == 2
    assert AutoConfig.for_model("bert", dtype=torch.bfloat16).dtype == "bfloat16"
    for theta in ({"rope_theta": 77.0}, {"rope_parameters": {"rope_theta": 77.0, "rope_type": "default"}}):
        config = AutoConfig.for_model("qwen3", **theta)
        config.update({"attention_dropout": 0.1})  # changes nothing else
        assert config.rope_parameters == {"rope_theta": 77.0, "rope_type": "default"}
    assert AutoConfig.for_model("llama").rope_parameters == {"rope_theta": 10000.0, "rope_type": "default"}


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("bert", {"position_embedding_type": "relative_key"}, "`position_embedding_type` must be 'absolute', but is 'rel"),
    ("roberta", {"position_embedding_type": "relative_key_query"}, "`position_embedding_type` must be 'absolute', but"),
    ("bert", {"num_attention_heads": 5}, "`num_attention_heads` must divide `hidden_size` (768), but is 5."),
    ("gpt2", {"n_head": 5}, "`n_head` must divide `n_embd` (768), but is 5."),
    ("bart", {"encoder_attention_heads": 5}, "`encoder_attention_heads` must divide `d_model` (1024), but is 5."),
    ("mvp", {"use_prompt": True, "prompt_length": 0}, "`prompt_length` must be at least 1, but is 0."),
    ("t5", {"feed_forward_proj": "gelu-gated"}, "`feed_forward_proj` must be an activation, or 'gated-' and an activ"),
    ("bart", {"normalize_before": True}, "`normalize_before` must be unset for BartConfig"),
    ("llama", {"num_key_value_heads": 5}, "`num_key_value_heads` must divide `num_attention_heads` (32), but is 5."),
    (
        "llama",
        {"rope_parameters": {"rope_type": "proportional", "rope_theta": 1e4}},
        "`rope_parameters['rope_type']` must be one of default, linear, dynamic, yarn, llama3, longrope, but is 'prop",
    ),
    (
        "llama",
        {"rope_parameters": {"rope_type": "llama3", "factor": 2.0}},
        "`rope_parameters['low_freq_factor']` must be given when the `rope_type` is 'llama3'.",
    ),
    (
        "phi3",
        {"rope_parameters": {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}},
        "`rope_parameters['short_factor']` must have one number for each of 48 pairs, but has 1.",
    ),
    (
        "phi3",
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0}},
        "`rope_parameters['rope_type']` must be 'default' or 'longrope', but is 'linear'.",
    ),
    (
        "gemma3_text",
        {"rope_parameters": {"full_attention": {"rope_type": "mrope"}}},
        "`rope_parameters['full_attention']['rope_type']` must be one of default, ",
    ),
    ("gemma", {"use_bidirectional_attention": True}, "`use_bidirectional_attention` must be unset, since it is not"),
    ("gemma2", {"layer_types": ["full_attention"]}, "`layer_types` must name 'full_attention' or 'sliding_attention'"),
    ("smollm3", {"no_rope_layers": [1]}, "`no_rope_layers` must have a number for each of the 36 layers (1 turns, 0"),
    (
        "exaone4",
        {"sliding_window_pattern": "LX", "layer_types": None},
        "`sliding_window_pattern` must be a number, or letters L (local) and G (global), but is 'LX'.",
    ),
    (
        "mistral",
        {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
        "`rope_parameters['partial_rotary_factor']` must be 1, but is 0.5.",
    ),
    ("qwen2", {"layer_types": ["full_attention"]}, "`layer_types` must name 'full_attention' or 'sliding_attention'"),
    ("qwen3", {"layer_types": ["chunked"] * 32}, "`layer_types` must name 'full_attention' or 'sliding_attention'"),
    ("bert", {"pruned_heads": {"0": [1]}}, "`pruned_heads` must be unset for BertConfig"),
    ("llama", {"quantization_config": {"bits": 4}}, "`quantization_config` must be unset for LlamaConfig"),
    ("ibert", {"quant_mode": True}, "`quant_mode` must be False: integer arithmetic is not supported, but is True."),
    ("mpnet", {"relative_attention_num_buckets": 16}, "`relative_attention_num_buckets` must be 32, which the publish"),
    ("distilbert", {"n_heads": 5}, "`n_heads` must divide `dim` (768), but is 5."),
    ("xlm", {"causal": True}, "`causal` must be False, but is True."),
    ("flaubert", {"is_encoder": False}, "`is_encoder` must be True, but is False."),
    ("xlm", {"n_heads": 5}, "`n_heads` must divide `emb_dim` (2048), but is 5."),
    ("xmod", {"default_language": "de_DE"}, "`default_language` must be one of en_XX, but is 'de_DE'."),
    ("esm", {"position_embedding_type": "relative_key"}, "`position_embedding_type` must be 'absolute' or 'rotary',"),
    ("esm", {"is_folding_model": True}, "`is_folding_model` must be False: structures are not supported, but is True"),
    ("esm", {"token_dropout": True}, "`mask_token_id` must be set where `token_dropout` is, but is None."),
]


@pytest.mark.parametrize(
    ("model_type", "fields", "message"), REFUSED, ids=[f"{t}-{next(iter(f))}" for t, f, _ in REFUSED]
)
def test_what_is_not_supported_is_named(model_type: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AutoConfig.for_model(model_type, **fields)
    assert str(caught.value).startswith(message)
    with pytest.raises(ConfigurationError):
        AutoConfig.for_model(model_type).update(fields)


@pytest.mark.parametrize("row", ALL)
def test_activations(row: Row) -> None:
    published = config_class(row.model_type).published
    names = ("hidden_act", "activation_function", "hidden_activation", "activation")
    name = next((one for one in names if one in published), None)
    if name is None:
        pytest.skip("its activation is fixed")
    config = AutoConfig.for_model(row.model_type, **{**row.config, name: "mish"})
    with pytest.raises(ConfigurationError, match=r"The activation must be one of .*, but is 'mish'"):
        (encoder_spec if row.body else decoder_spec)(config)


def test_families_that_are_not_there() -> None:
    with pytest.raises(ConfigurationError, match=r"model_type must be one of albert, .*, xmod, but is 'fnet'"):
        AutoConfig.for_model("fnet")
    with pytest.raises(ConfigurationError, match="BertConfig reads model_type 'bert', but this is 'gpt2'"):
        config_class("bert").from_dict({"model_type": "gpt2"})
    with pytest.raises(TypeError, match="AutoConfig is not made"):
        AutoConfig()


def test_a_pair_is_always_a_pair(tmp_path: Path) -> None:
    bert, gpt2 = config_class("bert")(hidden_size=24, num_attention_heads=2), config_class("gpt2")()
    config = EncoderDecoderConfig(encoder=bert, decoder=gpt2, decoder_start_token_id=5)
    assert config.decoder.is_decoder
    assert config.decoder.add_cross_attention
    assert not config.encoder.is_decoder
    assert not bert.is_decoder
    assert not gpt2.add_cross_attention  # both are copied
    assert config.is_encoder_decoder
    assert config.bridge == (768, 24)
    assert EncoderDecoderConfig(encoder=bert, decoder=bert).bridge is None
    assert decoder_spec(config.decoder).causal
    assert decoder_spec(config.decoder).sees_memory
    seen_back = EncoderDecoderConfig(encoder=gpt2, decoder=bert)
    assert seen_back.encoder.is_causal is False
    assert not encoder_spec(seen_back.encoder).causal
    config.save_pretrained(tmp_path)
    for again in (AutoConfig.from_pretrained(tmp_path), EncoderDecoderConfig.from_pretrained(tmp_path)):
        assert again.to_dict() == config.to_dict()
    assert EncoderDecoderConfig.from_encoder_decoder_configs(bert, gpt2, decoder_start_token_id=5) == config
    dictionaries = EncoderDecoderConfig(encoder=bert.to_dict(), decoder=gpt2.to_dict(), decoder_start_token_id=5)
    assert dictionaries == config
    theirs = transformers.EncoderDecoderConfig.from_pretrained(tmp_path)
    assert theirs.decoder.add_cross_attention
    assert theirs.decoder_start_token_id == 5
    from_theirs = EncoderDecoderConfig(encoder=theirs.encoder, decoder=theirs.decoder)
    assert from_theirs.bridge == (768, 24)


def test_what_a_pair_refuses() -> None:
    bert = config_class("bert")()
    for wrong, message in (
        ({"decoder": bert}, "A pair must have the configurations of both halves, but has no `encoder`."),
        ({"encoder": bert}, "A pair must have the configurations of both halves, but has no `decoder`."),
        ({"encoder": 3, "decoder": bert}, "`encoder` must be a configuration or a dictionary, but is a int."),
        ({"encoder": {}, "decoder": bert}, "`encoder` must state its model_type (one of albert, "),
        (
            {"encoder": bert, "decoder": config_class("bert")(cross_attention_hidden_size=5)},
            "`decoder.cross_attention_hidden_size` must be the encoder's width (768), but is 5.",
        ),
    ):
        with pytest.raises(ConfigurationError) as caught:
            EncoderDecoderConfig(**wrong)
        assert str(caught.value).startswith(message)


def test_a_language_of_several_must_be_said() -> None:
    config = config_class("xmod")(languages=["en_XX", "de_DE"])
    with pytest.raises(ConfigurationError, match="`default_language` must be one of en_XX, de_DE, since each has"):
        encoder_spec(config)
    assert encoder_spec(config_class("xmod")()).layers[0].adapter is not None  # one language is meant


@pytest.mark.parametrize(("alias", "named"), ALIASES.items())
def test_another_name_of_a_family(tmp_path: Path, alias: str, named: str) -> None:
    """It is read as the reference reads it, and written as the family."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": alias, "n_layer": 3}))
    theirs = transformers.AutoConfig.from_pretrained(tmp_path)
    ours = AutoConfig.from_pretrained(tmp_path)
    assert type(ours).__name__ == type(theirs).__name__
    assert ours.to_dict()["model_type"] == theirs.to_dict()["model_type"] == named
    assert (ours.n_layer, type(ours).from_pretrained(tmp_path).n_layer) == (3, 3)
    assert type(AutoConfig.for_model(alias)) is family(named).config
    pair = EncoderDecoderConfig(encoder={"model_type": "bert"}, decoder={"model_type": alias})
    assert pair.decoder.model_type == named


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"num_hidden_layers": 10**9}, "`num_hidden_layers` must be a whole number of at most 10,000, but is 10000000"),
        ({"num_hidden_layers": "two"}, "`num_hidden_layers` must be a whole number of at most 10,000, but is 'two'"),
        ({"num_attention_heads": 0}, r"`num_attention_heads` must divide `hidden_size` \(768\), but is 0"),
        ({"intermediate_size": "4"}, r"must be a number of at least 1, but is '4'"),
    ],
)
def test_values_of_the_wrong_kind(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", **fields}))
    with pytest.raises((ConfigurationError, SpecError), match=said):
        family("bert").half("encoder").spec(seqgraft.AutoConfig.from_pretrained(tmp_path))


def test_a_list_that_is_a_number() -> None:
    with pytest.raises(ConfigurationError, match=r"of a 'qwen3' must describe a model, .* wrong kind: .*int"):
        seqgraft.Qwen3Config(layer_types=7)
    config = seqgraft.BertConfig()
    config.hidden_size = "wide"
    with pytest.raises(ConfigurationError, match=r"of a 'bert' must describe a model, .* wrong kind: "):
        family("bert").half("encoder").spec(config)


def test_a_model_type_that_is_no_name() -> None:
    with pytest.raises(ConfigurationError, match=r"model_type must be one of albert, .*, but is \['bert'\]"):
        family(["bert"])  # type: ignore[arg-type]
