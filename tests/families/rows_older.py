"""Rows of the older causal families, and of those with experts.

The reference's faults that are mended here: GPT-Neo and GPT hold a causal mask that `is_causal` does not lift. Linear
biases by distance grow ahead of a query, instead of falling to either side. Falcon adds them twice. BioGPT counts
padding as positions, which it did not in version 4.
"""

from typing import Any

import torch
from transformers.models.falcon import modeling_falcon
from transformers.models.mpt import modeling_mpt

from .row import LONGEST, VOCABULARY, Row

_SMALL = {"vocab_size": VOCABULARY, "bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
_NEO = {
    **_SMALL,
    "hidden_size": 32,
    "num_layers": 3,
    "num_heads": 4,
    "intermediate_size": 44,
    "max_position_embeddings": LONGEST,
    "attention_types": [[["global", "local"], 1], [["local"], 1]],
    "window_size": 4,
}
_J = {**_SMALL, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_inner": 44, "n_positions": LONGEST, "rotary_dim": 4}
_NEOX = {
    **_SMALL,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 44,
    "max_position_embeddings": LONGEST,
}
_OPT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "ffn_dim": 44,
    "max_position_embeddings": LONGEST,
}
_BIO = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 44,
    "max_position_embeddings": LONGEST,
}
_XGLM = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "num_layers": 3,
    "attention_heads": 4,
    "ffn_dim": 44,
    "max_position_embeddings": LONGEST,
}
_GPT = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": LONGEST}
_CTRL = {**_GPT, "dff": 44}
_BIGCODE = {**_GPT, "n_inner": 44, "bos_token_id": None, "eos_token_id": None}
_BLOOM = {**_SMALL, "hidden_size": 32, "n_layer": 3, "n_head": 4}
_MPT = {"vocab_size": VOCABULARY, "pad_token_id": 0, "d_model": 32, "n_layers": 3, "n_heads": 4, "max_seq_len": LONGEST}
_FALCON = {
    **_SMALL,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": LONGEST,
}
_ETTIN = {
    "vocab_size": VOCABULARY,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "cls_token_id": 1,
    "sep_token_id": 2,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 44,
    "max_position_embeddings": LONGEST,
    "local_attention": 8,
}
_MIXED = {
    "vocab_size": VOCABULARY,
    "pad_token_id": 0,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 20,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "max_position_embeddings": LONGEST,
}
_PDROPS = ("embd_pdrop", "resid_pdrop", "attn_pdrop")


def _falling(heads: int, queries: int, keys: int) -> torch.Tensor:
    """[heads, queries, keys]: minus the distance, by the slopes of Press et al. 2022 for a power of two of heads."""
    slopes = torch.tensor([2.0 ** (-8.0 * (head + 1) / heads) for head in range(heads)])
    distance = torch.arange(keys)[None, :] - torch.arange(keys - queries, keys)[:, None]
    return -slopes[:, None, None] * distance.abs()


def _symmetric(mask: torch.Tensor, heads: int, dtype: torch.dtype) -> torch.Tensor:
    return _falling(heads, mask.shape[1], mask.shape[1]).repeat(mask.shape[0], 1, 1).to(dtype)


def _mend_neo(model: Any, both: bool) -> None:
    for block in model.h if both else ():
        own = block.attn.attention
        place = torch.arange(LONGEST)
        near = (place[None] - place[:, None]).abs() < _NEO["window_size"]
        own.bias = near[None, None] if own.attention_type == "local" else torch.ones_like(own.bias)


def _mend_gpt(model: Any, both: bool) -> None:
    for block in model.h if both else ():
        block.attn.bias = torch.ones_like(block.attn.bias)


def _mend_bio(model: Any, both: bool) -> None:
    def counted(module: Any, given: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        mask = kwargs.get("attention_mask")
        if mask is not None and kwargs.get("position_ids") is None:
            kwargs = {**kwargs, "position_ids": mask.cumsum(-1) * mask - 1}
        return given, kwargs

    model.register_forward_pre_hook(counted, with_kwargs=True)


def _mend_bloom(model: Any, both: bool) -> None:
    def masked(module: Any, given: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        ids = kwargs.get("input_ids", given[0] if given else kwargs.get("inputs_embeds"))
        if kwargs.get("attention_mask") is None:
            kwargs = {**kwargs, "attention_mask": torch.ones(ids.shape[:2], dtype=torch.long)}
        return given, kwargs

    if both:
        model.register_forward_pre_hook(masked, with_kwargs=True)
        model.build_alibi_tensor = _symmetric


def _patched(body: Any, module: Any, name: str, put: Any) -> None:
    """While the body runs, `module` has `put` under the name."""
    plain = body.forward

    def forward(*given: Any, **kwargs: Any) -> Any:
        kept = getattr(module, name)
        setattr(module, name, put)
        try:
            return plain(*given, **kwargs)
        finally:
            setattr(module, name, kept)

    body.forward = forward


def _mend_mpt(model: Any, both: bool) -> None:
    """Where nothing is masked it fails, seen both ways."""
    masked = modeling_mpt.create_causal_mask

    def never_nothing(inputs_embeds: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        mask = masked(inputs_embeds=inputs_embeds, **kwargs)
        return inputs_embeds.new_zeros(1, 1, 1, inputs_embeds.shape[1]) if mask is None else mask

    if both:
        model.build_mpt_alibi_tensor = lambda heads, longest, *_, **__: _falling(heads, longest, longest)
        _patched(model, modeling_mpt, "create_causal_mask", never_nothing)


def _mend_falcon(model: Any, both: bool) -> None:
    """The mask holds the bias already, so that the block must not add it again."""
    body = getattr(model, "transformer", model)

    def nothing(module: Any, given: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        states = given[0]
        keys = kwargs["attention_mask"].shape[-1]
        return given, {**kwargs, "alibi": states.new_zeros(states.shape[0], module.num_heads, 1, keys)}

    for block in body.h:
        block.self_attention.register_forward_pre_hook(nothing, with_kwargs=True)
    if both:
        _patched(body, modeling_falcon, "build_alibi_tensor", _symmetric)


def _mend_ettin(model: Any, both: bool) -> None:
    """Where nothing is masked it fails, seen both ways."""

    def never_nothing(module: Any, given: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        mask = kwargs["attention_mask"]
        states = given[0]
        return given, {**kwargs, "attention_mask": states.new_zeros(1, 1, 1, states.shape[1]) if mask is None else mask}

    for layer in model.layers if both else ():
        layer.register_forward_pre_hook(never_nothing, with_kwargs=True)


def _stored_by_expert(held: dict[str, Any]) -> dict[str, Any]:
    """One tensor of all experts -> the published tensors of each."""
    stored = {}
    for name, value in held.items():
        at, _, leaf = name.replace(".mlp.", ".block_sparse_moe.").rpartition(".experts.")
        if not at:
            stored[name.replace(".mlp.", ".block_sparse_moe.")] = value
        for expert, own in enumerate(value) if at else ():
            parts = zip(("w1", "w3"), own.chunk(2), strict=True) if leaf == "gate_up_proj" else [("w2", own)]
            stored |= {f"{at}.experts.{expert}.{map}.weight": part for map, part in parts}
    return stored


def _row(name: str, model_type: str, config: dict[str, Any], body: str, causal: str, **more: Any) -> Row:
    return Row(name, model_type, config, body, causal, sees_back=True, **{"cross": False, **more})


ROWS_OLDER = (
    _row(
        "gpt_neo",
        "gpt_neo",
        _NEO,
        "GPTNeoModel",
        "GPTNeoForCausalLM",
        mend=_mend_neo,
        dropouts=("resid_dropout", "embed_dropout", "attention_dropout"),
    ),
    _row("ctrl", "ctrl", _CTRL, "CTRLModel", "CTRLLMHeadModel", dropouts=_PDROPS[:2]),
    _row(
        "ctrl-untied",
        "ctrl",
        {**_CTRL, "tie_word_embeddings": False, "layer_norm_epsilon": 1e-3},
        "CTRLModel",
        "CTRLLMHeadModel",
    ),
    _row("gptj", "gptj", _J, "GPTJModel", "GPTJForCausalLM", grafts=False, dropouts=_PDROPS),
    _row(
        "gptj-tied",
        "gptj",
        {**_J, "rotary_dim": 8, "n_inner": None, "tie_word_embeddings": True},
        "GPTJModel",
        "GPTJForCausalLM",
        grafts=False,
    ),
    _row(
        "gpt_neox",
        "gpt_neox",
        _NEOX,
        "GPTNeoXModel",
        "GPTNeoXForCausalLM",
        grafts=False,
        dropouts=("hidden_dropout", "attention_dropout"),
        stored=lambda held: {name.replace("lm_head", "embed_out"): value for name, value in held.items()},
    ),
    _row(
        "gpt_neox-sequential",
        "gpt_neox",
        {
            **_NEOX,
            "use_parallel_residual": False,
            "attention_bias": False,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "linear",
                "factor": 2.0,
                "rope_theta": 500.0,
                "partial_rotary_factor": 0.5,
            },
        },
        "GPTNeoXModel",
        "GPTNeoXForCausalLM",
    ),
    _row("opt", "opt", _OPT, "OPTModel", "OPTForCausalLM", dropouts=("dropout", "attention_dropout")),
    _row(
        "opt-350m",
        "opt",
        {**_OPT, "do_layer_norm_before": False, "word_embed_proj_dim": 24, "enable_bias": False},
        "OPTModel",
        "OPTForCausalLM",
        grafts=False,
    ),
    _row(
        "biogpt",
        "biogpt",
        _BIO,
        "BioGptModel",
        "BioGptForCausalLM",
        mend=_mend_bio,
        dropouts=("hidden_dropout_prob", "attention_probs_dropout_prob", "activation_dropout"),
    ),
    _row(
        "xglm",
        "xglm",
        _XGLM,
        "XGLMModel",
        "XGLMForCausalLM",
        cross=True,
        dropouts=("dropout", "attention_dropout", "activation_dropout"),
    ),
    _row(
        "openai-gpt",
        "openai-gpt",
        _GPT,
        "OpenAIGPTModel",
        "OpenAIGPTLMHeadModel",
        grafts=False,
        mend=_mend_gpt,
        dropouts=_PDROPS,
    ),
    _row(
        "gpt_bigcode",
        "gpt_bigcode",
        _BIGCODE,
        "GPTBigCodeModel",
        "GPTBigCodeForCausalLM",
        grafts=False,
        dropouts=_PDROPS,
    ),
    _row(
        "gpt_bigcode-heads",
        "gpt_bigcode",
        {**_BIGCODE, "multi_query": False, "scale_attn_weights": False, "n_inner": None},
        "GPTBigCodeModel",
        "GPTBigCodeForCausalLM",
        cross=True,
        cross_works=False,
    ),
    _row(
        "bloom",
        "bloom",
        _BLOOM,
        "BloomModel",
        "BloomForCausalLM",
        positions=False,
        mend=_mend_bloom,
        dropouts=("hidden_dropout", "attention_dropout"),
    ),
    _row("mpt", "mpt", _MPT, "MptModel", "MptForCausalLM", positions=False, mend=_mend_mpt),
    _row(
        "mpt-clipped",
        "mpt",
        {**_MPT, "attn_config": {"clip_qkv": 0.7, "softmax_scale": 0.5}, "tie_word_embeddings": False},
        "MptModel",
        "MptForCausalLM",
        positions=False,
        mend=_mend_mpt,
    ),
    _row("falcon", "falcon", _FALCON, "FalconModel", "FalconForCausalLM", grafts=False),
    _row(
        "falcon-two-norms",
        "falcon",
        {**_FALCON, "new_decoder_architecture": True, "num_kv_heads": 2, "bias": True, "ffn_hidden_size": 44},
        "FalconModel",
        "FalconForCausalLM",
        grafts=False,
    ),
    _row(
        "falcon-one-norm",
        "falcon",
        {
            **_FALCON,
            "new_decoder_architecture": True,
            "num_ln_in_parallel_attn": 1,
            "num_kv_heads": 2,
            "tie_word_embeddings": False,
        },
        "FalconModel",
        "FalconForCausalLM",
        grafts=False,
    ),
    _row(
        "falcon-rw",
        "falcon",
        {**_FALCON, "alibi": True, "multi_query": False, "parallel_attn": False, "bias": True},
        "FalconModel",
        "FalconForCausalLM",
        positions=False,
        mend=_mend_falcon,
    ),
    _row(
        "modernbert-decoder",
        "modernbert-decoder",
        _ETTIN,
        "ModernBertDecoderModel",
        "ModernBertDecoderForCausalLM",
        mend=_mend_ettin,
        dropouts=("attention_dropout", "embedding_dropout", "mlp_dropout"),
    ),
    _row(
        "modernbert-decoder-biased",
        "modernbert-decoder",
        {
            **_ETTIN,
            "norm_bias": True,
            "attention_bias": True,
            "mlp_bias": True,
            "decoder_bias": False,
            "classifier_bias": True,
            "tie_word_embeddings": False,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        },
        "ModernBertDecoderModel",
        "ModernBertDecoderForCausalLM",
        mend=_mend_ettin,
    ),
    _row(
        "mixtral",
        "mixtral",
        _MIXED,
        "MixtralModel",
        "MixtralForCausalLM",
        dropouts=("attention_dropout",),
        stored=_stored_by_expert,
    ),
    _row(
        "mixtral-windowed",
        "mixtral",
        {**_MIXED, "sliding_window": 4, "num_experts_per_tok": 3, "tie_word_embeddings": True, "head_dim": 10},
        "MixtralModel",
        "MixtralForCausalLM",
        stored=_stored_by_expert,
    ),
    _row(
        "gpt_oss",
        "gpt_oss",
        {**_MIXED, "head_dim": 12, "sliding_window": 4, "max_position_embeddings": 128},
        "GptOssModel",
        "GptOssForCausalLM",
        dropouts=("attention_dropout",),
    ),
)
