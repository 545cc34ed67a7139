"""StarCoder 2 (Lozhkov et al. 2024) and StableLM (Bellagente et al. 2024): layer norms, with biases, and rotation."""

from dataclasses import replace
from typing import ClassVar

from seqgraft.families.activations import activation
from seqgraft.families.decoder_only import (
    ENDS,
    FORWARD,
    GATED,
    LAYER,
    NORMS,
    OWN,
    DecoderOnlyConfig,
    decoder_only,
    projections,
    window,
)
from seqgraft.families.naming import Rule, rename
from seqgraft.families.rope import rotary
from seqgraft.spec import Attention, FeedForward, Layer, Norm, Stack


class Starcoder2Config(DecoderOnlyConfig):
    """StarCoder 2's configuration; the defaults are those of StarCoder 2 3B."""

    model_type = "starcoder2"

    vocab_size: int = 49152
    hidden_size: int = 3072
    intermediate_size: int = 12288
    num_hidden_layers: int = 30
    num_attention_heads: int = 24
    num_key_value_heads: int | None = 2
    hidden_act: str = "gelu_pytorch_tanh"
    max_position_embeddings: int = 4096
    initializer_range: float = 0.018042
    norm_epsilon: float = 1e-5
    use_cache: bool = True
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256
    sliding_window: int | None = None
    attention_dropout: float = 0.0
    residual_dropout: float = 0.0
    embedding_dropout: float = 0.0
    use_bias: bool = True
    tie_word_embeddings: bool = True


class StableLmConfig(DecoderOnlyConfig):
    """StableLM's configuration; the defaults are those of StableLM 3B."""

    model_type = "stablelm"
    turned: ClassVar[float | None] = 0.25

    vocab_size: int = 50304
    intermediate_size: int = 6912
    hidden_size: int = 2560
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = 32
    hidden_act: str = "silu"
    max_position_embeddings: int = 4096
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    use_cache: bool = True
    tie_word_embeddings: bool = False
    use_qkv_bias: bool = False
    qk_layernorm: bool = False
    use_parallel_residual: bool = False
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 0


def starcoder2(config: Starcoder2Config) -> Stack:
    """The body."""
    norm = Norm("layer", config.norm_epsilon)
    own = Attention(
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads or config.num_attention_heads,
        head_width=config.head_width,
        input_bias=config.use_bias,
        output_bias=config.use_bias,
        rotary=rotary(config),
        window=window(config, config.sliding_window),
        dropout=config.attention_dropout,
    )
    width = FeedForward(config.intermediate_size, activation(config.hidden_act), bias=config.use_bias)
    layer = Layer(own, width, norm, order="pre", dropout=config.residual_dropout)
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=(layer,) * config.num_hidden_layers,
        causal=config.is_causal is not False,
        embed_dropout=config.embedding_dropout,
        final_norm=norm,
        deviation=config.initializer_range,
    )


def stablelm(config: StableLmConfig) -> Stack:
    """The body: one block after the other, or side by side."""
    norm = Norm("layer", config.layer_norm_eps)
    own = Attention(
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads or config.num_attention_heads,
        head_width=config.head_width,
        input_bias=config.use_qkv_bias,
        rotary=rotary(config),
        head_norm=replace(norm, bias=False) if config.qk_layernorm else None,
        head_norm_spans="apart",
        dropout=config.attention_dropout,
    )
    width = FeedForward(config.intermediate_size, activation(config.hidden_act), gated=True, bias=False)
    layer = Layer(
        own,
        width,
        norm,
        order="parallel" if config.use_parallel_residual else "pre",
        one_norm=config.use_parallel_residual,
        feed_forward_dropout=config.hidden_dropout,
    )
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=(layer,) * config.num_hidden_layers,
        causal=config.is_causal is not False,
        final_norm=norm,
        deviation=config.initializer_range,
    )


_STARCODER2 = (
    *projections(),
    *NORMS,
    rename(f"{LAYER}.mlp.c_fc", f"{FORWARD}.up"),
    rename(f"{LAYER}.mlp.c_proj", f"{FORWARD}.down"),
    *ENDS,
)


def _stablelm_rules(config: StableLmConfig) -> tuple[Rule, ...]:
    """The usual names, and those of a norm for each head."""
    groups = config.num_key_value_heads or config.num_attention_heads
    apart = (("q", "query", config.num_attention_heads), ("k", "key", groups))
    norms = (
        rename(f"{LAYER}.self_attn.{short}_layernorm.norms.{head}", f"{OWN}.{name}_norm.{head}")
        for short, name, heads in apart
        for head in range(heads)
        if config.qk_layernorm
    )
    return (*projections(), *norms, *NORMS, *GATED, *ENDS)


FAMILIES = (
    decoder_only(Starcoder2Config, starcoder2, _STARCODER2),
    decoder_only(StableLmConfig, stablelm, _stablelm_rules),
)
