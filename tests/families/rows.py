"""The families under test. To test a new one, add a row to `ROWS`: every suite that runs over families takes it up."""

from functools import cache
from typing import Any

import torch
import transformers

from .row import LONGEST, VOCABULARY, Row
from .rows_bertlike import ROWS_BERTLIKE
from .rows_encoders import ROWS_ENCODERS
from .rows_modern import ROWS_MODERN
from .rows_older import ROWS_OLDER
from .rows_seq2seq import ROWS_SEQ2SEQ
from .rows_special import ROWS_SPECIAL, ROWS_XLNET

_BERT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 44,
    "max_position_embeddings": LONGEST + 4,
}
_BERT_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")
_GPT2 = {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_inner": 44,
    "n_positions": LONGEST,
    "bos_token_id": None,
    "eos_token_id": None,
}
_BART = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 44,
    "decoder_ffn_dim": 52,
    "max_position_embeddings": LONGEST,
}
_LLAMA = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 44,
    "max_position_embeddings": LONGEST,
    "pad_token_id": 0,
}
_MIXED = {
    "use_sliding_window": True,
    "sliding_window": 4,
    "max_window_layers": 1,
    "layer_types": ["full_attention", "sliding_attention", "full_attention"],
}


ROWS = (
    Row(
        "bert",
        "bert",
        _BERT,
        "BertModel",
        "BertLMHeadModel",
        {"is_decoder": True},
        dropouts=_BERT_DROPOUTS,
        token_types=True,
    ),
    Row(
        "bert-untied",
        "bert",
        {**_BERT, "tie_word_embeddings": False, "hidden_act": "gelu_new"},
        "BertModel",
        "BertLMHeadModel",
        {"is_decoder": True},
        dropouts=_BERT_DROPOUTS,
        token_types=True,
    ),
    Row(
        "roberta",
        "roberta",
        {**_BERT, "type_vocab_size": 1},
        "RobertaModel",
        "RobertaForCausalLM",
        {"is_decoder": True},
        dropouts=_BERT_DROPOUTS,
    ),
    Row(
        "xlm-roberta",
        "xlm-roberta",
        {**_BERT, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
        "XLMRobertaModel",
        "XLMRobertaForCausalLM",
        {"is_decoder": True},
        dropouts=_BERT_DROPOUTS,
    ),
    Row(
        "camembert",
        "camembert",
        {**_BERT, "type_vocab_size": 1, "tie_word_embeddings": False},
        "CamembertModel",
        "CamembertForCausalLM",
        {"is_decoder": True},
        dropouts=_BERT_DROPOUTS,
    ),
    Row(
        "gpt2",
        "gpt2",
        _GPT2,
        "GPT2Model",
        "GPT2LMHeadModel",
        dropouts=("embd_pdrop", "resid_pdrop", "attn_pdrop"),
        sees_back=True,
    ),
    Row(
        "gpt2-scaled",
        "gpt2",
        {**_GPT2, "scale_attn_by_inverse_layer_idx": True, "n_inner": None, "tie_word_embeddings": False},
        "GPT2Model",
        "GPT2LMHeadModel",
        dropouts=("attn_pdrop",),
        sees_back=True,
    ),
    Row(
        "bart",
        "bart",
        _BART,
        "BartModel",
        "BartForCausalLM",
        dropouts=("dropout", "attention_dropout", "activation_dropout"),
        positions=False,
        own_files=False,
        shifted=False,
    ),
    Row(
        "bart-scaled",
        "bart",
        {**_BART, "scale_embedding": True, "activation_function": "relu"},
        "BartModel",
        "BartForCausalLM",
        dropouts=("dropout",),
        positions=False,
        own_files=False,
        shifted=False,
    ),
    Row(
        "llama",
        "llama",
        _LLAMA,
        "LlamaModel",
        "LlamaForCausalLM",
        cross=False,
        dropouts=("attention_dropout",),
        sees_back=True,
    ),
    Row(
        "llama-biased",
        "llama",
        {
            **_LLAMA,
            "attention_bias": True,
            "mlp_bias": True,
            "tie_word_embeddings": True,
            "head_dim": 10,
            "num_key_value_heads": 1,
            "rope_parameters": {"rope_theta": 500.0, "rope_type": "default"},
        },
        "LlamaModel",
        "LlamaForCausalLM",
        cross=False,
        sees_back=True,
    ),
    Row(
        "mistral",
        "mistral",
        {**_LLAMA, "sliding_window": 4},
        "MistralModel",
        "MistralForCausalLM",
        cross=False,
        dropouts=("attention_dropout",),
        sees_back=True,
    ),
    Row(
        "qwen2",
        "qwen2",
        {**_LLAMA, **_MIXED},
        "Qwen2Model",
        "Qwen2ForCausalLM",
        cross=False,
        dropouts=("attention_dropout",),
        sees_back=True,
    ),
    Row(
        "qwen3",
        "qwen3",
        {**_LLAMA, **_MIXED, "head_dim": 12, "tie_word_embeddings": True},
        "Qwen3Model",
        "Qwen3ForCausalLM",
        cross=False,
        dropouts=("attention_dropout",),
        sees_back=True,
    ),
    *ROWS_BERTLIKE,
    *ROWS_ENCODERS,
    *ROWS_SEQ2SEQ,
    *ROWS_OLDER,
    *ROWS_MODERN,
    *ROWS_SPECIAL,
    *ROWS_XLNET,
)
BY_NAME = {row.name: row for row in ROWS}


def reference_config(row: Row, side: str, *, cross: bool = False, both_ways: bool = False, **changes: Any) -> Any:
    """The reference's configuration of one side; `both_ways` lifts the causal mask of a body that has one."""
    fields = {**row.config, **(row.decoder if side == "decoder" else {}), **changes}
    if cross:
        fields["add_cross_attention"] = True
    if both_ways:
        fields["is_causal"] = False
    kind = type(transformers.AutoConfig.for_model(row.model_type))
    config = kind(**fields)
    config._attn_implementation = "eager"
    return config


def reference_model(row: Row, side: str, *, seed: int = 0, **changes: Any) -> Any:
    """The reference's model of one side, in eval mode, with weights that make every parameter matter."""
    config = reference_config(row, side, **changes)
    model = getattr(transformers, row.causal)(config) if side == "decoder" else getattr(transformers, row.body)(config)
    if row.mend is not None:
        row.mend(model, changes.get("both_ways", False))
    return spread(model, seed)


@torch.no_grad()
def spread(model: torch.nn.Module, seed: int) -> Any:
    """Random weights of a size at which no bias, norm or position is lost in rounding."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:  # a table of sines
            continue
        drawn = torch.randn(parameter.shape, generator=generator) * (0.3 if "embed" in name else 0.15)
        leaf = name.lower()
        is_scale = parameter.dim() == 1 and leaf.endswith("weight")
        parameter.copy_(drawn + 1.0 if is_scale else drawn)
    return model.eval()


def encoder_of(model: Any) -> Any:
    """The part of the reference's body that encodes: all of it, or BART's encoder."""
    inner = getattr(model, "encoder", None)
    return inner if isinstance(inner, transformers.PreTrainedModel) and hasattr(model, "decoder") else model


@cache
def batch(padding: str = "none", time: int = 9, pad: int = 0, seed: int = 7) -> dict[str, torch.Tensor]:
    """Three sequences: ids without the padding's id, and with `padding` "right" or "left" a mask that hides some."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, VOCABULARY, (3, time), generator=generator)
    if padding == "none":
        return {"input_ids": ids}
    mask = torch.ones_like(ids)
    for row, hidden in ((1, 2), (2, 5)):
        if padding == "right":
            mask[row, time - hidden :] = 0
        else:
            mask[row, :hidden] = 0
    return {"input_ids": ids.masked_fill(mask == 0, pad), "attention_mask": mask}


def pad_of(row: Row) -> int:
    """The padding id that the reference's family counts on."""
    return getattr(reference_config(row, "encoder"), "pad_token_id", None) or 0


MEASURED: list[float] = []
"""Every distance that was asked for, for the page of families (`tests/torch/conftest.py`)."""


def distance(ours: torch.Tensor, theirs: torch.Tensor, floor: float = 0.0) -> float:
    """The largest difference, relative to the largest value."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    assert bool(ours.isfinite().all())
    scale = max(float(theirs.detach().abs().max()), floor)
    apart = float((ours.detach().double() - theirs.detach().double()).abs().max()) / (scale or 1.0)
    MEASURED.append(apart)
    return apart
