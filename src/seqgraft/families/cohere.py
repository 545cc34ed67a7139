"""Command R (Cohere 2024): both blocks of a layer read one norm, which has no bias, and neighbours turn."""

from typing import ClassVar

from seqgraft.families.activations import activation
from seqgraft.families.decoder_only import (
    ENDS,
    GATED,
    HEAD_NORMS,
    LAYER,
    OWN,
    DecoderOnlyConfig,
    decoder_only,
    projections,
)
from seqgraft.families.naming import rename
from seqgraft.families.rope import rotary
from seqgraft.spec import Attention, FeedForward, Head, Layer, Norm, Stack


class CohereConfig(DecoderOnlyConfig):
    """Cohere's configuration; the defaults are those of Command R."""

    model_type = "cohere"
    default_theta: ClassVar[float] = 500000.0

    vocab_size: int = 256000
    hidden_size: int = 8192
    intermediate_size: int = 22528
    logit_scale: float = 0.0625
    num_hidden_layers: int = 40
    num_attention_heads: int = 64
    num_key_value_heads: int | None = None
    hidden_act: str = "silu"
    max_position_embeddings: int = 8192
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 5
    eos_token_id: int | list[int] | None = 255001
    tie_word_embeddings: bool = True
    attention_bias: bool = False
    attention_dropout: float = 0.0
    use_qk_norm: bool = False


def encoder(config: CohereConfig) -> Stack:
    """The body."""
    norm = Norm("layer", config.layer_norm_eps, bias=False)
    own = Attention(
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads or config.num_attention_heads,
        head_width=config.head_width,
        input_bias=config.attention_bias,
        output_bias=config.attention_bias,
        rotary=rotary(config, layout="pairs"),
        head_norm=norm if config.use_qk_norm else None,
        head_norm_spans="each",
        dropout=config.attention_dropout,
    )
    width = FeedForward(config.intermediate_size, activation(config.hidden_act), gated=True, bias=False)
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=(Layer(own, width, norm, order="parallel", one_norm=True),) * config.num_hidden_layers,
        causal=config.is_causal is not False,
        final_norm=norm,
        deviation=config.initializer_range,
    )


_RULES = (*projections(*HEAD_NORMS), rename(f"{LAYER}.input_layernorm", f"{OWN}_norm"), *GATED, *ENDS)

FAMILY = decoder_only(
    CohereConfig, encoder, _RULES, lambda config: Head(config.tie_word_embeddings, scale=config.logit_scale)
)
