"""NanoChat (Karpathy 2025): norms without weights, the first of them over the embeddings; positions turn backwards."""

from dataclasses import replace

from seqgraft.families.activations import activation
from seqgraft.families.decoder_only import FORWARD, LAYER, DecoderOnlyConfig, decoder_only, projections
from seqgraft.families.naming import rename
from seqgraft.families.rope import rotary
from seqgraft.spec import Attention, FeedForward, Head, Layer, Norm, Stack


class NanoChatConfig(DecoderOnlyConfig):
    """NanoChat's configuration."""

    model_type = "nanochat"

    vocab_size: int = 50304
    hidden_size: int = 768
    intermediate_size: int = 8192
    num_hidden_layers: int = 12
    num_attention_heads: int = 6
    num_key_value_heads: int | None = None
    max_position_embeddings: int = 2048
    hidden_act: str = "relu2"
    attention_dropout: float = 0.0
    rms_norm_eps: float = 1e-6
    initializer_range: float = 0.02
    use_cache: bool = True
    final_logit_softcapping: float | None = 15.0
    attention_bias: bool = False
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 1
    pad_token_id: int | None = 1
    tie_word_embeddings: bool = False


def encoder(config: NanoChatConfig) -> Stack:
    """The body. Queries and keys are published as normed after they turn: without weights that is the same."""
    norm = Norm("rms", config.rms_norm_eps, bias=False, weight=False)
    own = Attention(
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads or config.num_attention_heads,
        head_width=config.head_width,
        input_bias=config.attention_bias,
        output_bias=config.attention_bias,
        rotary=replace(rotary(config), backwards=True),
        head_norm=norm,
        dropout=config.attention_dropout,
    )
    width = FeedForward(config.intermediate_size, activation(config.hidden_act), bias=False)
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=(Layer(own, width, norm, order="pre"),) * config.num_hidden_layers,
        causal=config.is_causal is not False,
        embed_norm=norm,
        final_norm=norm,
        deviation=config.initializer_range,
    )


_RULES = (
    rename("embed_tokens", "embed"),
    *projections(),
    rename(f"{LAYER}.mlp.fc1", f"{FORWARD}.up"),
    rename(f"{LAYER}.mlp.fc2", f"{FORWARD}.down"),
)

FAMILY = decoder_only(
    NanoChatConfig,
    encoder,
    _RULES,
    lambda config: Head(config.tie_word_embeddings, softcap=config.final_logit_softcapping),
)
