"""Decoder-only families since Llama."""

from typing import Any

from .row import LONGEST, VOCABULARY, Row

_TINY: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 44,
    "max_position_embeddings": LONGEST,
    "pad_token_id": 0,
}
_LOCAL = ["sliding_attention", "full_attention", "sliding_attention"]
_YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


def _row(name: str, model_type: str, classes: str, config: dict[str, Any] | None = None, **more: Any) -> Row:
    kind = {"cross": False, "sees_back": True, "dropouts": ("attention_dropout",), **more}
    body = "Gemma3TextModel" if classes == "Gemma3" else f"{classes}Model"
    return Row(name, model_type, {**_TINY, **(config or {})}, body, f"{classes}ForCausalLM", **kind)


ROWS_MODERN = (
    _row(
        "llama-linear",
        "llama",
        "Llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 100.0, "factor": 2.5}},
    ),
    _row("llama-llama3", "llama", "Llama", {"rope_parameters": _LLAMA3}),
    _row(
        "mistral-yarn",
        "mistral",
        "Mistral",
        {"sliding_window": None, "rope_parameters": {**_YARN, "beta_fast": 4.0, "truncate": False}},
    ),
    _row("qwen2-yarn", "qwen2", "Qwen2", {"rope_parameters": _YARN}),
    _row(
        "qwen3-dynamic",
        "qwen3",
        "Qwen3",
        {"head_dim": 12, "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 3.0}},
    ),
    _row("gemma", "gemma", "Gemma", {"head_dim": 12, "num_key_value_heads": 1}),
    _row(
        "gemma-biased",
        "gemma",
        "Gemma",
        {"head_dim": 8, "attention_bias": True, "tie_word_embeddings": False, "hidden_act": "silu"},
    ),
    _row(
        "gemma2",
        "gemma2",
        "Gemma2",
        {"head_dim": 12, "sliding_window": 4, "query_pre_attn_scalar": 20, "attn_logit_softcapping": 5.0},
    ),
    _row(
        "gemma2-uncapped",
        "gemma2",
        "Gemma2",
        {
            "head_dim": 8,
            "layer_types": ["full_attention"] * 3,
            "final_logit_softcapping": None,
            "attn_logit_softcapping": None,
        },
    ),
    _row("gemma3", "gemma3_text", "Gemma3", {"head_dim": 12, "sliding_window": 4, "layer_types": _LOCAL}),
    _row(
        "gemma3-scaled",
        "gemma3_text",
        "Gemma3",
        {
            "head_dim": 8,
            "sliding_window": 3,
            "layer_types": _LOCAL,
            "final_logit_softcapping": 4.0,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "rope_theta": 3000.0, "factor": 8.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
            },
        },
    ),
    Row(
        "gemma3-both-ways",
        "gemma3_text",
        {
            **_TINY,
            "head_dim": 12,
            "sliding_window": 2,
            "layer_types": _LOCAL,
            "use_bidirectional_attention": True,
        },
        "Gemma3TextModel",
        dropouts=("attention_dropout",),
    ),
    _row("phi", "phi", "Phi", dropouts=("attention_dropout", "resid_pdrop", "embd_pdrop"), grafts=False),
    _row(
        "phi-normed",
        "phi",
        "Phi",
        {
            "qk_layernorm": True,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.75},
        },
        grafts=False,
    ),
    _row("phi3", "phi3", "Phi3", {"sliding_window": 4}, dropouts=("attention_dropout", "resid_pdrop")),
    _row(
        "phi3-longrope",
        "phi3",
        "Phi3",
        {
            "hidden_size": 32,
            "max_position_embeddings": 2 * LONGEST,
            "original_max_position_embeddings": LONGEST,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "partial_rotary_factor": 0.5,
                "short_factor": [1.0, 1.5],
                "long_factor": [2.0, 7.5],
                "original_max_position_embeddings": LONGEST,
            },
        },
    ),
    _row("glm4", "glm4", "Glm4", {"head_dim": 16}),
    _row(
        "glm4-unbiased",
        "glm4",
        "Glm4",
        {
            "head_dim": 8,
            "attention_bias": False,
            "tie_word_embeddings": True,
            "rope_parameters": {**_YARN, "partial_rotary_factor": 1.0},
        },
    ),
    _row("olmo2", "olmo2", "Olmo2"),
    _row(
        "olmo2-biased",
        "olmo2",
        "Olmo2",
        {"attention_bias": True, "tie_word_embeddings": True, "num_key_value_heads": 4},
    ),
    _row(
        "olmo3",
        "olmo3",
        "Olmo3",
        {
            "sliding_window": 4,
            "layer_types": _LOCAL,
            "rope_parameters": {
                "full_attention": _YARN,
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            },
        },
    ),
    _row("exaone4", "exaone4", "Exaone4", {"sliding_window": 4, "sliding_window_pattern": 2}),
    _row(
        "exaone4-global",
        "exaone4",
        "Exaone4",
        {"sliding_window": None, "layer_types": ["full_attention"] * 3, "tie_word_embeddings": True},
    ),
    _row(
        "granite",
        "granite",
        "Granite",
        {
            "embedding_multiplier": 1.7,
            "logits_scaling": 4.0,
            "residual_multiplier": 0.8,
            "attention_multiplier": 0.2,
            "tie_word_embeddings": True,
        },
    ),
    _row("granite-biased", "granite", "Granite", {"attention_bias": True, "mlp_bias": True}),
    _row("smollm3", "smollm3", "SmolLM3", {"no_rope_layer_interval": 2}),
    _row(
        "smollm3-local",
        "smollm3",
        "SmolLM3",
        {
            "no_rope_layers": [1, 0, 0],
            "use_sliding_window": True,
            "sliding_window": 4,
            "tie_word_embeddings": False,
            "attention_bias": True,
            "mlp_bias": True,
        },
    ),
    _row("helium", "helium", "Helium", {"head_dim": 8}),
    _row(
        "seed_oss",
        "seed_oss",
        "SeedOss",
        {"head_dim": 12, "attention_dropout": 0.0, "residual_dropout": 0.0},
        dropouts=("attention_dropout", "residual_dropout"),
    ),
    _row(
        "seed_oss-biased",
        "seed_oss",
        "SeedOss",
        {
            "head_dim": 8,
            "attention_bias": False,
            "attention_out_bias": True,
            "mlp_bias": True,
            "tie_word_embeddings": True,
        },
    ),
    _row("nanochat", "nanochat", "NanoChat"),
    _row(
        "nanochat-biased",
        "nanochat",
        "NanoChat",
        {
            "attention_bias": True,
            "tie_word_embeddings": True,
            "final_logit_softcapping": None,
            "num_key_value_heads": 4,
        },
    ),
    _row("cohere", "cohere", "Cohere", grafts=False),
    _row(
        "cohere-normed",
        "cohere",
        "Cohere",
        {"use_qk_norm": True, "attention_bias": True, "tie_word_embeddings": False},
        grafts=False,
    ),
    _row(
        "starcoder2",
        "starcoder2",
        "Starcoder2",
        {"sliding_window": 4},
        dropouts=("attention_dropout", "residual_dropout", "embedding_dropout"),
    ),
    _row("starcoder2-unbiased", "starcoder2", "Starcoder2", {"use_bias": False, "tie_word_embeddings": False}),
    _row("stablelm", "stablelm", "StableLm", dropouts=("attention_dropout", "hidden_dropout")),
    _row(
        "stablelm-parallel",
        "stablelm",
        "StableLm",
        {
            "use_parallel_residual": True,
            "use_qkv_bias": True,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.5},
        },
        grafts=False,
    ),
    _row(
        "stablelm-normed", "stablelm", "StableLm", {"use_parallel_residual": True, "qk_layernorm": True}, grafts=False
    ),
    _row("stablelm-normed-pre", "stablelm", "StableLm", {"qk_layernorm": True}),
)
