"""BLOOM (BigScience 2022): scores fall linearly with distance, and a norm follows the embeddings."""

from typing import Any, ClassVar

from seqgraft.families.causal import causal_family, heads_divide, only
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.naming import Rule, rename, stacked
from seqgraft.spec import Attention, FeedForward, Layer, Norm, Stack


class BloomConfig(PretrainedConfig):
    """The configuration, with the tiny published defaults. `slow_but_exact` and `pretraining_tp` change no value."""

    model_type = "bloom"
    attribute_map: ClassVar[dict[str, str]] = {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}

    vocab_size: int = 250880
    hidden_size: int = 64
    n_layer: int = 2
    n_head: int = 8
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    use_cache: bool = True
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    apply_residual_connection_post_layernorm: bool = False
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    pretraining_tp: int = 1
    slow_but_exact: bool = False

    def _modernise(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The published files say `n_embed`."""
        fields = super()._modernise(fields)
        width = fields.pop("n_embed", None)
        return fields if width is None else {**fields, "hidden_size": width}

    def _check(self) -> None:
        heads_divide(self)
        only(self, apply_residual_connection_post_layernorm=False)


def encoder(config: BloomConfig) -> Stack:
    """The body. `is_causal=False` lets every position see all others, the far ones fainter to either side."""
    norm = Norm("layer", config.layer_norm_epsilon)
    own = Attention(
        config.n_head,
        config.n_head,
        config.hidden_size // config.n_head,
        input_bias=True,
        output_bias=True,
        alibi=8.0,
        dropout=config.attention_dropout,
    )
    layer = Layer(
        own, FeedForward(4 * config.hidden_size, "gelu_tanh"), norm, order="pre", dropout=config.hidden_dropout
    )
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=(layer,) * config.n_layer,
        causal=config.is_causal is not False,
        embed_norm=norm,
        final_norm=norm,
        deviation=config.initializer_range,
    )


def _rules(config: BloomConfig) -> tuple[Rule, ...]:
    at, ours = "h.{i}", "layers.{i}"
    own = f"{ours}.self_attention"
    parts = (f"{own}.query", f"{own}.key", f"{own}.value")
    return (
        rename("word_embeddings", "embed"),
        rename("word_embeddings_layernorm", "embed_norm"),
        rename(f"{at}.input_layernorm", f"{own}_norm"),
        stacked(f"{at}.self_attention.query_key_value", *parts, blocks=config.n_head),
        rename(f"{at}.self_attention.dense", f"{own}.output"),
        rename(f"{at}.post_attention_layernorm", f"{ours}.feed_forward_norm"),
        rename(f"{at}.mlp.dense_h_to_4h", f"{ours}.feed_forward.up"),
        rename(f"{at}.mlp.dense_4h_to_h", f"{ours}.feed_forward.down"),
        rename("ln_f", "final_norm"),
    )


FAMILY = causal_family(BloomConfig, encoder, _rules, prefix="transformer.", table="word_embeddings")
