"""Granite (IBM 2024), SmolLM3 (2025), Helium (2025) and Seed-OSS (2025): Llama with a few values of their own."""

from dataclasses import replace
from typing import ClassVar

from seqgraft.errors import ConfigurationError
from seqgraft.families.activations import activation
from seqgraft.families.decoder_only import (
    ENDS,
    GATED,
    NORMS,
    DecoderOnlyConfig,
    decoder_only,
    projections,
    windows,
)
from seqgraft.families.rope import rotary
from seqgraft.spec import Attention, FeedForward, Head, Layer, Norm, Stack


class _Config(DecoderOnlyConfig):
    """What all four publish with the same defaults."""

    num_key_value_heads: int | None = None
    hidden_act: str = "silu"
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    use_cache: bool = True
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    attention_dropout: float = 0.0
    mlp_bias: bool = False


class GraniteConfig(_Config):
    """Granite's configuration, with its four factors."""

    model_type = "granite"

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    max_position_embeddings: int = 2048
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    embedding_multiplier: float = 1.0
    logits_scaling: float = 1.0
    residual_multiplier: float = 1.0
    attention_multiplier: float = 1.0


class SmolLM3Config(_Config):
    """SmolLM3's configuration."""

    model_type = "smollm3"
    default_theta: ClassVar[float] = 2000000.0

    vocab_size: int = 128256
    hidden_size: int = 2048
    intermediate_size: int = 11008
    num_hidden_layers: int = 36
    num_attention_heads: int = 16
    num_key_value_heads: int | None = 4
    max_position_embeddings: int = 32768
    pad_token_id: int | None = 128004
    bos_token_id: int | None = 128000
    eos_token_id: int | list[int] | None = 128001
    use_sliding_window: bool = False
    sliding_window: int | None = None
    no_rope_layers: list[int] | None = None
    no_rope_layer_interval: int = 4
    layer_types: list[str] | None = None
    tie_word_embeddings: bool = True

    def _check(self) -> None:
        super()._check()
        count = self.num_hidden_layers
        if self.no_rope_layers is None:
            self.no_rope_layers = [int((i + 1) % self.no_rope_layer_interval != 0) for i in range(count)]
        if len(self.no_rope_layers) != count:
            raise ConfigurationError(
                f"`no_rope_layers` must have a number for each of the {count} layers (1 turns, 0 does not), "
                f"but is {self.no_rope_layers}."
            )
        if self.layer_types is None:
            local = self.use_sliding_window and self.sliding_window is not None
            self.layer_types = [
                "sliding_attention" if local and not turns else "full_attention" for turns in self.no_rope_layers
            ]
        self._check_layer_types(self.layer_types)


class HeliumConfig(_Config):
    """Helium's configuration."""

    model_type = "helium"
    default_theta: ClassVar[float] = 100000.0

    vocab_size: int = 48000
    hidden_size: int = 2560
    intermediate_size: int = 7040
    num_hidden_layers: int = 24
    num_attention_heads: int = 20
    num_key_value_heads: int | None = 20
    head_dim: int = 128
    max_position_embeddings: int = 4096
    rms_norm_eps: float = 1e-8
    pad_token_id: int | None = 3
    eos_token_id: int | list[int] | None = 2
    bos_token_id: int | None = 1


class SeedOssConfig(_Config):
    """Seed-OSS's configuration."""

    model_type = "seed_oss"

    vocab_size: int = 155136
    hidden_size: int = 4096
    intermediate_size: int = 27648
    num_hidden_layers: int = 64
    num_attention_heads: int = 80
    num_key_value_heads: int | None = 8
    head_dim: int | None = 128
    max_position_embeddings: int = 524288
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    attention_bias: bool = True
    attention_out_bias: bool = False
    attention_dropout: float = 0.1
    residual_dropout: float = 0.1

    def _check(self) -> None:
        if self.head_dim is None:
            self.head_dim = self.hidden_size // self.num_attention_heads
        super()._check()


def _attention(config: _Config) -> Attention:
    return Attention(
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads or config.num_attention_heads,
        head_width=config.head_width,
        input_bias=config.attention_bias,
        output_bias=config.attention_bias,
        rotary=rotary(config),
        dropout=config.attention_dropout,
    )


def _stack(config: _Config, blocks: list[Attention], dropout: float = 0.0, residual_scale: float = 1.0) -> Stack:
    norm = Norm("rms", config.rms_norm_eps, bias=False)
    width = FeedForward(config.intermediate_size, activation(config.hidden_act), gated=True, bias=config.mlp_bias)
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=tuple(
            Layer(block, width, norm, order="pre", dropout=dropout, residual_scale=residual_scale) for block in blocks
        ),
        causal=config.is_causal is not False,
        final_norm=norm,
        deviation=config.initializer_range,
    )


def granite(config: GraniteConfig) -> Stack:
    """The body."""
    own = replace(_attention(config), scale=config.attention_multiplier)
    stack = _stack(config, [own] * config.num_hidden_layers, residual_scale=config.residual_multiplier)
    return replace(stack, embed_scale=config.embedding_multiplier, scales_given=True)


def _granite_head(config: GraniteConfig) -> Head:
    return Head(config.tie_word_embeddings, scale=1.0 / config.logits_scaling)


def smollm3(config: SmolLM3Config) -> Stack:
    """The body: some layers do not turn, and those may see a window."""
    own, types = _attention(config), config.layer_types or []
    views = windows(config, types, config.sliding_window if config.use_sliding_window else None)
    turns = [own.rotary if turns else None for turns in config.no_rope_layers or []]
    return _stack(config, [replace(own, rotary=turn, window=view) for turn, view in zip(turns, views, strict=True)])


def helium(config: HeliumConfig) -> Stack:
    """The body: neighbours turn."""
    if config.head_width * config.num_attention_heads != config.hidden_size:
        raise ConfigurationError(
            f"`head_dim` must be `hidden_size` / `num_attention_heads` "
            f"({config.hidden_size / config.num_attention_heads:g}), but is {config.head_width}."
        )
    own = replace(_attention(config), output_bias=False, rotary=rotary(config, layout="pairs"))
    return _stack(config, [own] * config.num_hidden_layers)


def seed_oss(config: SeedOssConfig) -> Stack:
    """The body."""
    own = replace(_attention(config), output_bias=config.attention_out_bias)
    return _stack(config, [own] * config.num_hidden_layers, dropout=config.residual_dropout)


_RULES = (*projections(), *NORMS, *GATED, *ENDS)

FAMILIES = (
    decoder_only(GraniteConfig, granite, _RULES, _granite_head),
    decoder_only(SmolLM3Config, smollm3, _RULES),
    decoder_only(HeliumConfig, helium, _RULES),
    decoder_only(SeedOssConfig, seed_oss, _RULES),
)
