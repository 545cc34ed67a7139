"""Falcon (Almazrouei et al. 2023), in its three layouts.

7B: side by side under one norm, one key and value head. 40B and later: side by side, heads in groups, one norm or
two. RW: one after the other, with scores that fall with distance.
"""

from typing import Any

from seqgraft.errors import ConfigurationError
from seqgraft.families.activations import activation
from seqgraft.families.causal import causal_family, heads_divide
from seqgraft.families.naming import Rule, rename, stacked
from seqgraft.families.rope import RotaryConfig, rotary
from seqgraft.spec import Attention, FeedForward, Layer, Norm, Stack


class FalconConfig(RotaryConfig):
    """Falcon's configuration; the defaults are those of `falcon-7b`."""

    model_type = "falcon"

    vocab_size: int = 65024
    hidden_size: int = 4544
    num_hidden_layers: int = 32
    num_attention_heads: int = 71
    num_ln_in_parallel_attn: int | None = None
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    use_cache: bool = True
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    num_kv_heads: int | None = None
    alibi: bool = False
    new_decoder_architecture: bool = False
    multi_query: bool = True
    parallel_attn: bool = True
    bias: bool = False
    max_position_embeddings: int = 2048
    bos_token_id: int | None = 11
    eos_token_id: int | list[int] | None = 11
    ffn_hidden_size: int | None = None
    activation: str = "gelu"

    def _modernise(self, fields: dict[str, Any]) -> dict[str, Any]:
        fields = super()._modernise(fields)
        width = fields.pop("n_embed", None)
        return fields if width is None else {**fields, "hidden_size": width}

    def _check(self) -> None:
        heads_divide(self)
        super()._check()
        if self.num_kv_heads is None:
            self.num_kv_heads = self.num_attention_heads
        if self.ffn_hidden_size is None:
            self.ffn_hidden_size = 4 * self.hidden_size
        if self.new_decoder_architecture and not self.parallel_attn:
            raise ConfigurationError("`parallel_attn` must be True with `new_decoder_architecture`, but is False.")
        if self.num_ln_in_parallel_attn == 2 and not self.new_decoder_architecture:
            raise ConfigurationError(
                "`num_ln_in_parallel_attn` must be 1 without `new_decoder_architecture`, but is 2."
            )
        if self.num_attention_heads % self.num_kv_heads:
            raise ConfigurationError(
                f"`num_kv_heads` must divide `num_attention_heads` ({self.num_attention_heads}), "
                f"but is {self.num_kv_heads}."
            )

    @property
    def groups(self) -> int:
        """How many key and value heads there are."""
        if self.new_decoder_architecture:
            return self.num_kv_heads or self.num_attention_heads
        return 1 if self.multi_query else self.num_attention_heads

    @property
    def two_norms(self) -> bool:
        """Whether blocks that stand side by side have a norm each."""
        return self.new_decoder_architecture and self.num_ln_in_parallel_attn in (None, 2)


def encoder(config: FalconConfig) -> Stack:
    """The body. `is_causal=False` lets every position see all others."""
    norm = Norm("layer", config.layer_norm_epsilon)
    own = Attention(
        config.num_attention_heads,
        config.groups,
        config.head_width,
        input_bias=config.bias,
        output_bias=config.bias,
        rotary=None if config.alibi else rotary(config),
        alibi=8.0 if config.alibi else None,
        alibi_scale=config.head_width**-0.5 if config.alibi else 1.0,
        dropout=config.attention_dropout,
    )
    forward = FeedForward(
        config.ffn_hidden_size or 4 * config.hidden_size, activation(config.activation), bias=config.bias
    )
    layer = Layer(
        own,
        forward,
        norm,
        order="parallel" if config.parallel_attn else "pre",
        one_norm=config.parallel_attn and not config.two_norms,
        dropout=config.hidden_dropout,
    )
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=(layer,) * config.num_hidden_layers,
        causal=config.is_causal is not False,
        final_norm=norm,
        deviation=config.initializer_range,
    )


def _rules(config: FalconConfig) -> tuple[Rule, ...]:
    at, ours = "h.{i}", "layers.{i}"
    own = f"{ours}.self_attention"
    first, second = ("ln_attn", "ln_mlp") if config.two_norms else ("input_layernorm", "post_attention_layernorm")
    parts = (f"{own}.query", f"{own}.key", f"{own}.value")
    return (
        rename("word_embeddings", "embed"),
        rename(f"{at}.{first}", f"{own}_norm"),
        stacked(f"{at}.self_attention.query_key_value", *parts, blocks=config.groups),
        rename(f"{at}.self_attention.dense", f"{own}.output"),
        rename(f"{at}.{second}", f"{ours}.feed_forward_norm"),
        rename(f"{at}.mlp.dense_h_to_4h", f"{ours}.feed_forward.up"),
        rename(f"{at}.mlp.dense_4h_to_h", f"{ours}.feed_forward.down"),
        rename("ln_f", "final_norm"),
    )


FAMILY = causal_family(
    FalconConfig,
    encoder,
    _rules,
    prefix="transformer.",
    table="word_embeddings",
    dropped=(r"rotary_emb\.inv_freq$",),
)
