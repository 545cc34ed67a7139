"""Encoders with attention of another kind than BERT's: rotary, local, disentangled."""

import re
from functools import partial
from typing import Any

import torch

from .row import LONGEST, VOCABULARY, Row

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 44,
    "max_position_embeddings": LONGEST + 4,
}
_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")
_EUROBERT = {**_SIZES, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_MODERN = {
    **_SIZES,
    "num_hidden_layers": 4,
    "local_attention": 6,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "cls_token_id": 1,
    "sep_token_id": 2,
}
_BIASED = {"attention_bias": True, "mlp_bias": True}
_LOCAL_FIRST = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]


def _as_published(renamed: dict[str, str], stacks: dict[str, tuple[str, ...]]) -> Any:
    """From the names of the reference's modules to those of its files, which it alone writes so."""

    def stored(tensors: dict[str, Any]) -> dict[str, Any]:
        for old, new in renamed.items():
            tensors = {re.sub(old, new, name): value for name, value in tensors.items()}
        for into, parts in stacks.items():
            for name in [name for name in tensors if f"{parts[0]}." in name]:
                several = [tensors.pop(name.replace(parts[0], part)) for part in parts]
                tensors[name.replace(parts[0], into)] = torch.cat(several)
        return tensors

    return stored


_PARTS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_GTE_NAMES = _as_published(
    {
        r"^layers": "encoder.layer",
        r"self_attn\.o_proj": "attention.o_proj",
        "post_attention_layernorm": "attn_ln",
        "post_mlp_layernorm": "mlp_ln",
    },
    {"attention.qkv_proj": _PARTS, "mlp.up_gate_proj": ("mlp.up_proj", "mlp.gate_proj")},
)
_TOWER = {
    r"^layers": "encoder.layers",
    r"embeddings\.LayerNorm": "emb_ln",
    "post_attention_layernorm": "norm1",
    "post_mlp_layernorm": "norm2",
}
_NOMIC_NAMES = _as_published(
    {**_TOWER, r"self_attn\.o_proj": "attn.out_proj", "up_proj": "fc11", "gate_proj": "fc12", "down_proj": "fc2"},
    {"attn.Wqkv": _PARTS},
)
_JINA_NAMES = _as_published({**_TOWER, r"self_attn\.o_proj": "mixer.out_proj"}, {"mixer.Wqkv": _PARTS})
_DEBERTA = {**_SIZES, "relative_attention": True, "position_biased_input": False, "pos_att_type": ["c2p", "p2c"]}
_DEBERTA_V3 = {**_DEBERTA, "position_buckets": 8, "share_att_key": True, "norm_rel_ebd": "layer_norm"}
_LONGFORMER = {**_SIZES, "type_vocab_size": 1}
_BIG_BIRD = {**_SIZES, "block_size": 8, "bos_token_id": None, "eos_token_id": None, "sep_token_id": None}
_BIG_BIRD_DECODER = {"is_decoder": True, "attention_type": "original_full"}


def _square(model: Any, both_ways: bool) -> None:
    """The reference's Longformer gives attentions by distance, and none of what was hidden from the start."""
    plain = model.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        out = plain(*args, **kwargs)
        if isinstance(out, tuple) or out.attentions is None:
            return out
        time = out.last_hidden_state.shape[1]
        seen = []
        for near in out.attentions:
            wide = near.new_zeros(*near.shape[:2], time, time + near.shape[-1])
            for query in range(time):
                wide[:, :, query, query : query + near.shape[-1]] = near[:, :, query]
            seen.append(wide[..., near.shape[-1] // 2 :][..., :time])
        out.attentions = tuple(seen)
        return out

    model.forward = forward


def _see_own(model: Any, both_ways: bool) -> None:
    """The reference's BigBird gives the encoder's states to the self-attention as well, and their mask to neither.

    When it finds a text short, it changes its attention for one whose attentions and dropout are out of reach.
    """
    body = getattr(model, "bert", model)
    body.set_attention_type("original_full")

    def own(*args: Any, plain: Any, encoder_hidden_states: Any = None, **kwargs: Any) -> Any:
        return plain(*args, **kwargs)

    def cross(*args: Any, plain: Any, attention_mask: Any = None, **kwargs: Any) -> Any:
        return plain(*args, encoder_attention_mask=attention_mask, **kwargs)

    for layer in body.encoder.layer:
        layer.attention.forward = partial(own, plain=layer.attention.forward)
        if hasattr(layer, "crossattention"):
            layer.crossattention.forward = partial(cross, plain=layer.crossattention.forward)


ROWS_ENCODERS = (
    Row("eurobert", "eurobert", _EUROBERT, "EuroBertModel", dropouts=("attention_dropout",)),
    Row(
        "eurobert-biased",
        "eurobert",
        {**_EUROBERT, **_BIASED, "head_dim": 10, "rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}},
        "EuroBertModel",
    ),
    Row(
        "modernbert",
        "modernbert",
        _MODERN,
        "ModernBertModel",
        dropouts=("attention_dropout", "mlp_dropout", "embedding_dropout"),
    ),
    Row(
        "modernbert-biased",
        "modernbert",
        {
            **_MODERN,
            **_BIASED,
            "norm_bias": True,
            "hidden_activation": "silu",
            "layer_types": _LOCAL_FIRST,
            "rope_parameters": {
                "full_attention": {"rope_theta": 500.0, "rope_type": "default"},
                "sliding_attention": {"rope_theta": 50.0, "rope_type": "linear", "factor": 2.0},
            },
        },
        "ModernBertModel",
    ),
    Row("gte", "gte", _SIZES, "GteModel", stored=_GTE_NAMES, dropouts=_DROPOUTS),
    Row(
        "gte-untyped", "gte", {**_SIZES, "type_vocab_size": 0, "hidden_act": "gelu_new"}, "GteModel", stored=_GTE_NAMES
    ),
    Row(
        "nomic_bert", "nomic_bert", _SIZES, "NomicBertModel", stored=_NOMIC_NAMES, dropouts=_DROPOUTS, token_types=True
    ),
    Row("nomic_bert-wide", "nomic_bert", {**_SIZES, "head_dim": 10}, "NomicBertModel", stored=_NOMIC_NAMES),
    Row(
        "jina_embeddings_v3",
        "jina_embeddings_v3",
        _SIZES,
        "JinaEmbeddingsV3Model",
        stored=_JINA_NAMES,
        dropouts=_DROPOUTS,
    ),
    Row(
        "longformer",
        "longformer",
        {**_LONGFORMER, "attention_window": 4},
        "LongformerModel",
        mend=_square,
        shows_padding=False,
    ),
    Row(
        "longformer-mixed",
        "longformer",
        {**_LONGFORMER, "attention_window": [8, 4], "type_vocab_size": 2},
        "LongformerModel",
        mend=_square,
        shows_padding=False,
        token_types=True,
    ),
    Row(
        "big_bird",
        "big_bird",
        _BIG_BIRD,
        "BigBirdModel",
        "BigBirdForCausalLM",
        _BIG_BIRD_DECODER,
        dropouts=_DROPOUTS,
        token_types=True,
        mend=_see_own,
    ),
    Row(
        "big_bird-scaled",
        "big_bird",
        {**_BIG_BIRD, "rescale_embeddings": True, "use_bias": False, "tie_word_embeddings": False},
        "BigBirdModel",
        "BigBirdForCausalLM",
        _BIG_BIRD_DECODER,
        dropouts=_DROPOUTS,
        token_types=True,
        mend=_see_own,
    ),
    Row(
        "deberta",
        "deberta",
        _DEBERTA,
        "DebertaModel",
        dropouts=_DROPOUTS,
        positions=False,
        shows_padding=False,
    ),
    Row(
        "deberta-near",
        "deberta",
        {
            **_DEBERTA,
            "max_relative_positions": 4,
            "pos_att_type": ["p2c"],
            "position_biased_input": True,
            "type_vocab_size": 2,
        },
        "DebertaModel",
        token_types=True,
        shows_padding=False,
    ),
    Row("deberta-plain", "deberta", {**_SIZES, "pos_att_type": ["c2p"]}, "DebertaModel", shows_padding=False),
    Row(
        "deberta-v3",
        "deberta-v2",
        _DEBERTA_V3,
        "DebertaV2Model",
        dropouts=_DROPOUTS,
        positions=False,
        shows_padding=False,
    ),
    Row(
        "deberta-v2",
        "deberta-v2",
        {**_DEBERTA, "max_relative_positions": 6, "position_biased_input": True},
        "DebertaV2Model",
        dropouts=_DROPOUTS,
        shows_padding=False,
    ),
    Row(
        "deberta-v2-c2p",
        "deberta-v2",
        {**_DEBERTA, "pos_att_type": ["c2p"], "position_buckets": 4, "max_relative_positions": 64},
        "DebertaV2Model",
        positions=False,
        shows_padding=False,
    ),
    Row(
        "deberta-v2-convolved",
        "deberta-v2",
        {**_DEBERTA_V3, "conv_kernel_size": 3, "conv_act": "gelu", "conv_groups": 2},
        "DebertaV2Model",
        dropouts=_DROPOUTS,
        positions=False,
        shows_padding=False,
    ),
)
