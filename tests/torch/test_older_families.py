"""What the one suite cannot ask of the older causal families and of those with experts: it has no reference for it."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import seqgraft
from seqgraft import AutoConfig, EncoderDecoderModel
from seqgraft.config import decoder_spec, encoder_spec
from seqgraft.errors import ConfigurationError
from seqgraft.spec import Rotary

from ..families.rows import BY_NAME, batch, distance
from .pairs import source, target
from .test_family_mathematics import BOUND, memory


def changed(folder: Path, to: Path, change: Any) -> Path:
    """The folder with its tensors changed."""
    to.mkdir()
    (to / "config.json").write_bytes((folder / "config.json").read_bytes())
    save_file(change(load_file(folder / "model.safetensors")), to / "model.safetensors", {"format": "pt"})
    return to


@torch.no_grad()
def test_cross_attention_of_gpt_bigcode_is_that_of_gpt2(made: Any) -> None:
    """The reference's fails; with heads of their own the family computes what GPT-2 does."""
    ours = made.ours(BY_NAME["gpt_bigcode-heads"], "decoder", True)
    like = AutoConfig.for_model(
        "gpt2",
        **{**BY_NAME["gpt2"].config, "n_layer": 3, "n_inner": None, "scale_attn_weights": False},
        add_cross_attention=True,
    )
    other = seqgraft.GPT2LMHeadModel(like)
    other.load_state_dict(ours.state_dict())
    inputs = {**batch("left"), **memory()}
    shown = inputs["attention_mask"].bool()
    assert distance(ours(**inputs).logits[shown], other(**inputs).logits[shown]) < BOUND
    assert distance(ours(**inputs).logits, ours(**batch("left")).logits) > 1e-3
    stored = load_file(made.folder(BY_NAME["gpt_bigcode-heads"], "decoder", True) / "model.safetensors")
    both = stored["transformer.h.0.crossattention.c_attn.weight"]
    cross = ours.layers[0].cross_attention
    assert torch.equal(both, torch.cat((cross.key.weight, cross.value.weight)))


@pytest.mark.parametrize("name", ["gpt_bigcode", "gpt_bigcode-heads", "xglm"])
@torch.no_grad()
def test_published_cross_attention_makes_a_pair(made: Any, tmp_path: Path, name: str) -> None:
    pair = EncoderDecoderModel.from_encoder_decoder_pretrained(
        made.folder(BY_NAME["bert"], "encoder"), made.folder(BY_NAME[name], "decoder")
    )
    inputs = {**source("bert"), **target("bert")}
    logits = pair(**inputs).logits
    moved = {**inputs, "input_ids": inputs["input_ids"].roll(1, 1)}
    assert distance(pair(**moved).logits, logits) > 1e-5
    pair.save_pretrained(tmp_path)
    assert torch.equal(EncoderDecoderModel.from_pretrained(tmp_path)(**inputs).logits, logits)
    names = {n.removeprefix("decoder.") for n in load_file(tmp_path / "model.safetensors")}
    published = ".encoder_attn.k_proj." if name == "xglm" else ".crossattention.c_attn."
    assert any(published in one for one in names)
    assert not any("graft." in one for one in names)


@pytest.mark.parametrize("name", ["mixtral", "mixtral-windowed"])
@torch.no_grad()
def test_experts_in_one_tensor_are_read_too(made: Any, tmp_path: Path, name: str) -> None:
    """What transformers 5 writes with `save_original_format=False`; the published names are written back."""
    row = BY_NAME[name]
    made.theirs(row, "decoder").save_pretrained(tmp_path / "own", save_original_format=False)
    stored = load_file(tmp_path / "own" / "model.safetensors")
    assert any(n.endswith(".mlp.experts.gate_up_proj") for n in stored)
    model = getattr(seqgraft, row.causal).from_pretrained(tmp_path / "own")
    plain = made.ours(row, "decoder")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))
    model.save_pretrained(tmp_path / "again")
    held = load_file(tmp_path / "again" / "model.safetensors")
    assert held.keys() == load_file(made.folder(row, "decoder") / "model.safetensors").keys()


@torch.no_grad()
def test_names_that_files_have_beside_the_written_ones(made: Any, tmp_path: Path) -> None:
    row = BY_NAME["gpt_neox"]
    plain = made.ours(row, "decoder")
    other = changed(
        made.folder(row, "decoder"),
        tmp_path / "lm_head",
        lambda held: (
            {n.replace("embed_out", "lm_head"): t for n, t in held.items()}
            | {f"gpt_neox.layers.0.attention.{name}": torch.ones(1) for name in ("bias", "masked_bias")}
        ),
    )
    model = seqgraft.GPTNeoXForCausalLM.from_pretrained(other)
    assert torch.equal(model.head.output.weight, plain.head.output.weight)
    row = BY_NAME["bloom"]
    bare = changed(
        made.folder(row, "decoder"),
        tmp_path / "bare",
        lambda held: {n.removeprefix("transformer."): t for n, t in held.items()},
    )
    model = seqgraft.BloomForCausalLM.from_pretrained(bare)
    assert torch.equal(model(**batch()).logits, made.ours(row, "decoder")(**batch()).logits)


def test_older_fields() -> None:
    neox = AutoConfig.for_model("gpt_neox", rotary_pct=0.5, rotary_emb_base=500, hidden_size=32, num_attention_heads=2)
    assert encoder_spec(neox).layers[0].self_attention.rotary == Rotary(500.0, 8)
    assert not neox.unknown_fields
    ettin = AutoConfig.for_model(
        "modernbert-decoder", global_rope_theta=7e4, local_rope_theta=300.0, global_attn_every_n_layers=2
    )
    thetas = [layer.self_attention.rotary.theta for layer in encoder_spec(ettin).layers]
    assert thetas == [7e4, 300.0] * 11
    assert encoder_spec(ettin).layers[1].self_attention.window == (63, 0)
    assert AutoConfig.for_model("bloom", n_embed=96, n_head=4).hidden_size == 96
    opt = AutoConfig.for_model("opt", _remove_final_layer_norm=True)
    assert encoder_spec(opt).final_norm is None
    assert AutoConfig.for_model("opt").from_dict(opt.to_dict()) == opt
    theirs = transformers.GPTNeoConfig(num_layers=3, attention_types=[[["global"], 1], [["local"], 2]])
    ours = AutoConfig.for_model("gpt_neo", num_layers=24).from_dict(theirs.to_dict())
    assert ours.attention_layers == theirs.attention_layers == ["global", "local", "local"]
    assert [layer.self_attention.window for layer in encoder_spec(ours).layers] == [None, (255, 0), (255, 0)]


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("gpt_neo", {"num_layers": 3}, "`attention_types` must name 'global' or 'local' for each of the 3 layers"),
    ("gptj", {"n_head": 5}, "`n_head` must divide `n_embd` (4096), but is 5."),
    ("opt", {"layer_norm_elementwise_affine": False}, "`layer_norm_elementwise_affine` must be True"),
    ("bloom", {"apply_residual_connection_post_layernorm": True}, "`apply_residual_connection_post_layernorm` must be"),
    ("mpt", {"attn_config": {"alibi": False}}, "`attn_config['alibi']` must be True, since nothing else is supported"),
    ("mpt", {"attn_config": {"qk_ln": True}}, "`attn_config['qk_ln']` must be False, since nothing else is supported"),
    ("mpt", {"logit_scale": 2.0}, "`logit_scale` must be None, since nothing else is supported, but is 2.0."),
    ("mpt", {"expansion_ratio": 3}, "`expansion_ratio` must be 4, since nothing else is supported, but is 3."),
    (
        "falcon",
        {"new_decoder_architecture": True, "parallel_attn": False},
        "`parallel_attn` must be True with `new_decoder_architecture`, but is False.",
    ),
    ("falcon", {"num_ln_in_parallel_attn": 2}, "`num_ln_in_parallel_attn` must be 1 without `new_decoder"),
    ("falcon", {"num_kv_heads": 3}, "`num_kv_heads` must divide `num_attention_heads` (71), but is 3."),
    (
        "mixtral",
        {"output_router_logits": True},
        "`output_router_logits` must be False, since nothing else is supported",
    ),
    ("mixtral", {"router_jitter_noise": 0.1}, "`router_jitter_noise` must be 0.0, since nothing else is supported"),
    ("gpt_oss", {"swiglu_alpha": 1.5}, "`swiglu_alpha` must be 1.702, since nothing else is supported, but is 1.5."),
    ("gpt_oss", {"quantization_config": {"quant_method": "mxfp4"}}, "`quantization_config` must be unset for GptOss"),
    ("modernbert-decoder", {"layer_types": ["full_attention"]}, "`layer_types` must name 'full_attention' or"),
]


@pytest.mark.parametrize(
    ("model_type", "fields", "message"), REFUSED, ids=[f"{t}-{'-'.join(f)}-{i}" for i, (t, f, _) in enumerate(REFUSED)]
)
def test_what_is_not_supported_is_named(model_type: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AutoConfig.for_model(model_type, **fields)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("model_type", ["gpt_neo", "falcon", "mixtral"])
def test_a_decoder_is_causal(model_type: str) -> None:
    with pytest.raises(ConfigurationError, match="`is_causal` must be True for a decoder, but is False"):
        decoder_spec(AutoConfig.for_model(model_type, is_causal=False))
