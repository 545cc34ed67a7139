"""Encoders of BERT's kind with rotary positions: GTE (Zhang et al. 2024), Nomic (Nussbaum et al. 2024), Jina v3."""

from dataclasses import replace
from typing import Any, ClassVar

from seqgraft.families.activations import activation
from seqgraft.families.causal import heads_divide, only
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, Rule, rename, stacked
from seqgraft.families.rope import RotaryConfig, rotary
from seqgraft.spec import Attention, FeedForward, Layer, Norm, Stack


class _RotaryBertConfig(RotaryConfig):
    """The fields that they share."""

    vocab_size: int = 250048
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.0
    max_position_embeddings: int = 8192
    type_vocab_size: int = 1
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 1
    classifier_dropout: float | None = None

    def _check(self) -> None:
        if self.__dict__.get("head_dim") is None:
            heads_divide(self)
        super()._check()


class GteConfig(_RotaryBertConfig):
    """GTE's configuration; the defaults are those of `gte-multilingual-base`."""

    model_type = "gte"
    default_theta: ClassVar[float] = 160_000.0


class JinaEmbeddingsV3Config(_RotaryBertConfig):
    """The configuration of Jina's third embeddings (Sturua et al. 2024)."""

    model_type = "jina_embeddings_v3"
    default_theta: ClassVar[float] = 20_000.0

    vocab_size: int = 250002
    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    intermediate_size: int = 4096
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 8194
    layer_norm_eps: float = 1e-5
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2


class NomicBertConfig(_RotaryBertConfig):
    """Nomic BERT's configuration; the defaults are those of `nomic-embed-text-v1.5`."""

    model_type = "nomic_bert"
    default_theta: ClassVar[float] = 1000.0
    attribute_map: ClassVar[dict[str, str]] = {
        "n_embd": "hidden_size",
        "n_head": "num_attention_heads",
        "n_inner": "intermediate_size",
        "n_layer": "num_hidden_layers",
        "n_positions": "max_position_embeddings",
        "layer_norm_epsilon": "layer_norm_eps",
        "attn_pdrop": "attention_probs_dropout_prob",
        "resid_pdrop": "hidden_dropout_prob",
        "activation_function": "hidden_act",
        "rotary_emb_base": "rope_theta",
    }

    vocab_size: int = 30528
    hidden_act: str = "silu"
    hidden_dropout_prob: float = 0.0
    max_position_embeddings: int = 2048
    type_vocab_size: int = 2
    pad_token_id: int | None = 0
    head_dim: int | None = None

    def _modernise(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The published files speak of GPT-2: their names, and `swiglu` for a gate of SiLU."""
        fields = {self.attribute_map.get(name, name): value for name, value in fields.items()}
        if fields.get("hidden_act") == "swiglu":
            fields["hidden_act"] = "silu"
        return super()._modernise(fields)

    def _check(self) -> None:
        only(self, **{name: value for name, value in _PLAIN.items() if name in self.__dict__})
        super()._check()
        self.head_dim = self.head_width

    def _knows(self, name: str) -> bool:
        return name in _PLAIN or name in _OF_TRAINING or super()._knows(name)


_PLAIN: dict[str, Any] = {
    "causal": False,
    "prenorm": False,
    "parallel_block": False,
    "use_rms_norm": False,
    "qkv_proj_bias": False,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
}
"""What Nomic's published files say of their mathematics -> the one value that is supported."""

_OF_TRAINING = (
    "dense_seq_output",
    "embd_pdrop",
    "fused_bias_fc",
    "fused_dropout_add_ln",
    "max_trained_positions",
    "pad_vocab_size_multiple",
    "parallel_block_tied_norm",
    "reorder_and_upcast_attn",
    "use_flash_attn",
    "use_xentropy",
)
"""What else they say, which changes nothing here."""


def encoder(config: _RotaryBertConfig) -> Stack:
    """The body, post-norm. GTE and Nomic gate, Nomic without biases; GTE drops inside the gate too."""
    norm = Norm("layer", config.layer_norm_eps)
    heads, biased = config.num_attention_heads, not isinstance(config, NomicBertConfig)
    own = Attention(
        heads,
        heads,
        config.head_width,
        input_bias=biased,
        output_bias=biased,
        rotary=rotary(config),
        dropout=config.attention_probs_dropout_prob,
    )
    forward = FeedForward(config.intermediate_size, activation(config.hidden_act))
    if isinstance(config, NomicBertConfig):
        forward = replace(forward, gated=True, bias=False)
    elif isinstance(config, GteConfig):
        forward = replace(forward, gated=True, bias=False, down_bias=True, dropout=config.hidden_dropout_prob)
    layer = Layer(own, forward, norm, order="post", dropout=config.hidden_dropout_prob)
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=(layer,) * config.num_hidden_layers,
        causal=False,
        token_types=config.type_vocab_size,
        embed_norm=norm,
        embed_dropout=config.hidden_dropout_prob,
        deviation=config.initializer_range,
    )


_OWN, _FORWARD = "layers.{i}.self_attention", "layers.{i}.feed_forward"
_PARTS = (f"{_OWN}.query", f"{_OWN}.key", f"{_OWN}.value")
_TABLES = (rename("embeddings.word_embeddings", "embed"), rename("embeddings.token_type_embeddings", "token_types"))


def _as_modules(table: str, gated: bool) -> tuple[Rule, ...]:
    """Names of the reference's modules, which no published file has: a state_dict does."""
    up = (
        (("gate_proj", "gate"), ("up_proj", "up"), ("down_proj", "down")) if gated else (("fc1", "up"), ("fc2", "down"))
    )
    parts = (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("o_proj", "output"))
    return (
        rename(table, "embed_norm"),
        *(rename(f"layers.{{i}}.self_attn.{theirs}", f"{_OWN}.{ours}") for theirs, ours in parts),
        *(rename(f"layers.{{i}}.mlp.{theirs}", f"{_FORWARD}.{ours}") for theirs, ours in up),
        rename("layers.{i}.post_attention_layernorm", f"{_OWN}_norm"),
        rename("layers.{i}.post_mlp_layernorm", f"{_FORWARD}_norm"),
    )


def _gte_names(config: GteConfig) -> Names:
    at = "encoder.layer.{i}"
    written = (
        *_TABLES,
        rename("embeddings.LayerNorm", "embed_norm"),
        stacked(f"{at}.attention.qkv_proj", *_PARTS),
        rename(f"{at}.attention.o_proj", f"{_OWN}.output"),
        rename(f"{at}.attn_ln", f"{_OWN}_norm"),
        stacked(f"{at}.mlp.up_gate_proj", f"{_FORWARD}.up", f"{_FORWARD}.gate"),
        rename(f"{at}.mlp.down_proj", f"{_FORWARD}.down"),
        rename(f"{at}.mlp_ln", f"{_FORWARD}_norm"),
    )
    older = tuple(replace(rule, theirs=f"new.{rule.theirs}") for rule in written)  # as first published
    rules = (*written, *older, *_as_modules("embeddings.LayerNorm", gated=True))
    dropped = (*_DROPPED, r"^new\.pooler\.")
    return Names(rules, prefix="gte.", dropped=dropped, carried=(r"^pooler\.",))


def _tower_names(config: _RotaryBertConfig) -> Names:
    """Nomic's and Jina's files, which are alike but for the name of their attention."""
    at, nomic = "encoder.layers.{i}", isinstance(config, NomicBertConfig)
    attention = f"{at}.attn" if nomic else f"{at}.mixer"
    forward = (("fc11", "up"), ("fc12", "gate"), ("fc2", "down")) if nomic else (("fc1", "up"), ("fc2", "down"))
    rules = (
        *_TABLES,
        rename("emb_ln", "embed_norm"),
        stacked(f"{attention}.Wqkv", *_PARTS),
        rename(f"{attention}.out_proj", f"{_OWN}.output"),
        rename(f"{at}.norm1", f"{_OWN}_norm"),
        *(rename(f"{at}.mlp.{theirs}", f"{_FORWARD}.{ours}") for theirs, ours in forward),
        rename(f"{at}.norm2", f"{_FORWARD}_norm"),
        *_as_modules("embeddings.LayerNorm", gated=nomic),
    )
    return Names(rules, prefix="nomic_bert." if nomic else "roberta.", dropped=_DROPPED, carried=(r"^pooler\.",))


_DROPPED = (r"position_ids$", r"inv_freq$", r"^lm_head\.", r"^cls\.", r"^classifier\.", r"^qa_outputs\.")

FAMILIES = (
    Family(GteConfig, Half(encoder, _gte_names), None),
    Family(NomicBertConfig, Half(encoder, _tower_names), None),
    Family(JinaEmbeddingsV3Config, Half(encoder, _tower_names), None, pooled=True),
)
