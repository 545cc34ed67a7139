"""Llama (Touvron et al. 2023), and Mistral, Qwen2 and Qwen3, which differ from it in a few values.

Published without cross-attention: as decoders they take it by a graft. As encoders they are seen both ways.
"""

from dataclasses import replace
from typing import Any

from seqgraft.errors import ConfigurationError
from seqgraft.families.activations import activation
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, Rule, rename
from seqgraft.spec import Attention, FeedForward, Graft, Head, Layer, Norm, Rotary, Stack, graft


class LlamaConfig(PretrainedConfig):
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
    rope_parameters: dict[str, Any] | None = None
    attention_bias: bool = False
    attention_dropout: float = 0.0
    mlp_bias: bool = False

    def _modernise(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Version 4 wrote `rope_theta` and `rope_scaling` where version 5 writes `rope_parameters`."""
        fields = super()._modernise(fields)
        theta, scaling = fields.pop("rope_theta", None), fields.pop("rope_scaling", None)
        if fields.get("rope_parameters") is None and not (theta is None and scaling is None):
            scaling = dict(scaling or {})
            kind = scaling.pop("rope_type", scaling.pop("type", "default"))
            fields["rope_parameters"] = {
                "rope_theta": 10000.0 if theta is None else theta,
                "rope_type": kind,
                **scaling,
            }
        return fields

    def _check(self) -> None:
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        if self.head_dim is None:
            self.head_dim = self.hidden_size // self.num_attention_heads
        if self.rope_parameters is None:
            self.rope_parameters = {"rope_theta": 10000.0, "rope_type": "default"}
        if self.num_attention_heads % self.num_key_value_heads:
            raise ConfigurationError(
                f"`num_key_value_heads` must divide `num_attention_heads` ({self.num_attention_heads}), "
                f"but is {self.num_key_value_heads}."
            )
        rope = self.rope_parameters or {}
        kind = rope.get("rope_type", "default")
        if kind != "default":
            raise ConfigurationError(f"`rope_parameters['rope_type']` must be 'default', but is {kind!r}.")
        if rope.get("partial_rotary_factor", 1.0) != 1.0:
            raise ConfigurationError(
                f"`rope_parameters['partial_rotary_factor']` must be 1, but is {rope['partial_rotary_factor']}."
            )


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
        wrong = sorted(set(self.layer_types) - {"full_attention", "sliding_attention"})
        if wrong or len(self.layer_types) != self.num_hidden_layers:
            raise ConfigurationError(
                f"`layer_types` must name 'full_attention' or 'sliding_attention' for each of the "
                f"{self.num_hidden_layers} layers, but is {self.layer_types}."
            )


class Qwen3Config(Qwen2Config):
    """Qwen3's configuration (Yang et al. 2025)."""

    model_type = "qwen3"

    head_dim: int | None = 128


def _windows(config: LlamaConfig) -> list[tuple[int, int] | None]:
    """What each layer's self-attention sees; a window of n positions includes the query's own."""
    size = getattr(config, "sliding_window", None)
    types = getattr(config, "layer_types", None)
    if size is None or (isinstance(config, Qwen2Config) and types is None):
        return [None] * config.num_hidden_layers
    window = (size - 1, 0) if config.is_causal is not False else (size, size)
    if types is None:
        return [window] * config.num_hidden_layers
    return [window if kind == "sliding_attention" else None for kind in types]


def encoder(config: LlamaConfig) -> Stack:
    """The body. `is_causal=False` lets every position see all others."""
    norm = Norm("rms", config.rms_norm_eps, bias=False)
    rope = config.rope_parameters or {}
    qwen2 = config.model_type == "qwen2"
    own = Attention(
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads or config.num_attention_heads,
        head_width=config.head_dim or config.hidden_size // config.num_attention_heads,
        input_bias=config.attention_bias or qwen2,
        output_bias=config.attention_bias and not qwen2,
        rotary=Rotary(float(rope.get("rope_theta", 10000.0))),
        head_norm=norm if config.model_type == "qwen3" else None,
        dropout=config.attention_dropout,
    )
    width = FeedForward(config.intermediate_size, activation(config.hidden_act), gated=True, bias=config.mlp_bias)
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=tuple(Layer(replace(own, window=window), width, norm, order="pre") for window in _windows(config)),
        causal=config.is_causal is not False,
        final_norm=norm,
        deviation=config.initializer_range,
    )


def decoder(config: LlamaConfig) -> Stack:
    """The causal body with its head, grafted when the configuration asks for cross-attention."""
    if config.is_causal is False:
        raise ConfigurationError("`is_causal` must be True for a decoder, but is False.")
    stack = replace(encoder(config), head=Head(config.tie_word_embeddings))
    if not config.add_cross_attention:
        return stack
    return graft(stack, config.cross_attention_hidden_size or config.hidden_size, Graft.read(config.graft))


def _rules() -> tuple[Rule, ...]:
    at, ours = "layers.{i}", "layers.{i}"
    own, forward = f"{ours}.self_attention", f"{ours}.feed_forward"
    projections = (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("o_proj", "output"))
    return (
        rename("embed_tokens", "embed"),
        rename(f"{at}.input_layernorm", f"{own}_norm"),
        *(rename(f"{at}.self_attn.{theirs}", f"{own}.{part}") for theirs, part in projections),
        rename(f"{at}.self_attn.q_norm", f"{own}.query_norm"),
        rename(f"{at}.self_attn.k_norm", f"{own}.key_norm"),
        rename(f"{at}.post_attention_layernorm", f"{forward}_norm"),
        rename(f"{at}.mlp.gate_proj", f"{forward}.gate"),
        rename(f"{at}.mlp.up_proj", f"{forward}.up"),
        rename(f"{at}.mlp.down_proj", f"{forward}.down"),
        rename("norm", "final_norm"),
    )


def encoder_names(config: LlamaConfig) -> Names:
    """The bare body."""
    return Names(_rules(), prefix="model.", dropped=(r"rotary_emb\.inv_freq$", r"^lm_head\."))


def decoder_names(config: LlamaConfig) -> Names:
    """The body and its head."""
    return Names(
        (*_rules(), rename("lm_head", "head.output", outside=True)),
        prefix="model.",
        dropped=(r"rotary_emb\.inv_freq$",),
        ties=(("lm_head.weight", "model.embed_tokens.weight"),) if config.tie_word_embeddings else (),
    )


_ENCODER, _DECODER = Half(encoder, encoder_names), Half(decoder, decoder_names)

FAMILIES = tuple(
    Family(config, _ENCODER, _DECODER, grafted=True, sees_back=True)
    for config in (LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config)
)
