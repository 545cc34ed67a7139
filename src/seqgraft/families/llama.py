"""Llama (Touvron et al. 2023), and Mistral, Qwen2 and Qwen3, which differ from it in a few values."""

from dataclasses import replace

from seqgraft.families.activations import activation
from seqgraft.families.decoder_only import (
    ENDS,
    GATED,
    HEAD_NORMS,
    NORMS,
    DecoderOnlyConfig,
    Window,
    decoder_only,
    projections,
    window,
    windows,
)
from seqgraft.families.rope import rotary
from seqgraft.spec import Attention, FeedForward, Layer, Norm, Stack


class LlamaConfig(DecoderOnlyConfig):
    """Llama's configuration; the defaults are those of Llama 7B."""

    model_type = "llama"

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    use_cache: bool = True
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    attention_dropout: float = 0.0
    mlp_bias: bool = False

    def _check(self) -> None:
        if self.head_dim is None:
            self.head_dim = self.hidden_size // self.num_attention_heads
        super()._check()


class MistralConfig(LlamaConfig):
    """Mistral's configuration (Jiang et al. 2023)."""

    model_type = "mistral"

    intermediate_size: int = 14336
    num_key_value_heads: int | None = 8
    max_position_embeddings: int = 131072
    sliding_window: int | None = 4096


class Qwen2Config(LlamaConfig):
    """Qwen2's configuration (Yang et al. 2024)."""

    model_type = "qwen2"

    vocab_size: int = 151936
    intermediate_size: int = 22016
    num_key_value_heads: int | None = 32
    max_position_embeddings: int = 32768
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    use_sliding_window: bool = False
    sliding_window: int | None = 4096
    max_window_layers: int = 28
    layer_types: list[str] | None = None

    def _check(self) -> None:
        super()._check()
        if not self.use_sliding_window:
            self.sliding_window = None
        if self.layer_types is None:
            sliding = [
                self.sliding_window is not None and i >= self.max_window_layers for i in range(self.num_hidden_layers)
            ]
            self.layer_types = ["sliding_attention" if s else "full_attention" for s in sliding]
        self._check_layer_types(self.layer_types)


class Qwen3Config(Qwen2Config):
    """Qwen3's configuration (Yang et al. 2025)."""

    model_type = "qwen3"

    head_dim: int | None = 128


def _windows(config: LlamaConfig) -> list[Window]:
    if isinstance(config, Qwen2Config):
        return windows(config, config.layer_types or [], config.sliding_window)
    size = config.sliding_window if isinstance(config, MistralConfig) else None
    return [window(config, size)] * config.num_hidden_layers


def encoder(config: LlamaConfig) -> Stack:
    """The body. `is_causal=False` lets every position see all others."""
    norm = Norm("rms", config.rms_norm_eps, bias=False)
    qwen2 = config.model_type == "qwen2"
    own = Attention(
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads or config.num_attention_heads,
        head_width=config.head_width,
        input_bias=config.attention_bias or qwen2,
        output_bias=config.attention_bias and not qwen2,
        rotary=rotary(config),
        head_norm=norm if config.model_type == "qwen3" else None,
        dropout=config.attention_dropout,
    )
    width = FeedForward(config.intermediate_size, activation(config.hidden_act), gated=True, bias=config.mlp_bias)
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=tuple(Layer(replace(own, window=seen), width, norm, order="pre") for seen in _windows(config)),
        causal=config.is_causal is not False,
        final_norm=norm,
        deviation=config.initializer_range,
    )


_RULES = (*projections(*HEAD_NORMS), *NORMS, *GATED, *ENDS)

FAMILIES = tuple(
    decoder_only(config, encoder, _RULES) for config in (LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config)
)
