"""Gemma (2024), Gemma 2 (2024) and the text model of Gemma 3 (2025), which is EmbeddingGemma as well.

Norms store their weight minus one; the embeddings are multiplied by the root of the width.
"""

from dataclasses import replace
from typing import Any, ClassVar

from seqgraft.errors import ConfigurationError
from seqgraft.families.activations import activation
from seqgraft.families.decoder_only import (
    ENDS,
    FORWARD,
    GATED,
    HEAD_NORMS,
    LAYER,
    NORMS,
    OWN,
    DecoderOnlyConfig,
    Window,
    decoder_only,
    projections,
    windows,
)
from seqgraft.families.naming import rename
from seqgraft.families.rope import rotary
from seqgraft.spec import Attention, FeedForward, Head, Layer, Norm, Stack


class _Gemma(DecoderOnlyConfig):
    """What all three share."""

    vocab_size: int = 256000
    head_dim: int = 256
    max_position_embeddings: int = 8192
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    use_cache: bool = True
    pad_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 1
    bos_token_id: int | None = 2
    tie_word_embeddings: bool = True
    attention_bias: bool = False
    attention_dropout: float = 0.0
    use_bidirectional_attention: bool | None = None

    both_ways: ClassVar[bool] = False
    """Whether a configuration may say that the model sees both ways."""

    def _check(self) -> None:
        if self.use_bidirectional_attention and not self.both_ways:
            raise ConfigurationError(
                "`use_bidirectional_attention` must be unset, since it is not supported, but is "
                f"{self.use_bidirectional_attention}. As a pair's encoder the model sees both ways anyhow."
            )
        super()._check()


class GemmaConfig(_Gemma):
    """Gemma's configuration; the defaults are those of Gemma 7B."""

    model_type = "gemma"

    hidden_size: int = 3072
    intermediate_size: int = 24576
    num_hidden_layers: int = 28
    num_attention_heads: int = 16
    num_key_value_heads: int | None = 16
    hidden_act: str = "gelu_pytorch_tanh"

    def _check(self) -> None:
        if self.hidden_act == "gelu":  # the first published files say so and mean the approximation
            self.hidden_act = "gelu_pytorch_tanh"
        super()._check()

    def _knows(self, name: str) -> bool:
        return name == "hidden_activation" or super()._knows(name)  # in published files, and without effect


class Gemma2Config(_Gemma):
    """Gemma 2's configuration."""

    model_type = "gemma2"

    hidden_size: int = 2304
    intermediate_size: int = 9216
    num_hidden_layers: int = 26
    num_attention_heads: int = 8
    num_key_value_heads: int | None = 4
    hidden_activation: str = "gelu_pytorch_tanh"
    query_pre_attn_scalar: float = 256
    sliding_window: int | None = 4096
    layer_types: list[str] | None = None
    final_logit_softcapping: float | None = 30.0
    attn_logit_softcapping: float | None = 50.0

    def _check(self) -> None:
        if self.layer_types is None:
            self.layer_types = local_layers(self.num_hidden_layers, self._full_every())
        self._check_layer_types(self.layer_types)
        super()._check()

    def _full_every(self) -> int:
        return 2


class Gemma3TextConfig(Gemma2Config):
    """The configuration of Gemma 3's text model."""

    model_type = "gemma3_text"
    by_layer_type: ClassVar[bool] = True
    both_ways: ClassVar[bool] = True

    vocab_size: int = 262208
    max_position_embeddings: int = 131072
    final_logit_softcapping: float | None = None
    attn_logit_softcapping: float | None = None
    use_bidirectional_attention: bool | None = False

    def _modernise(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Version 4 scaled the full layers alone, and gave the local ones a base of their own."""
        theta, local = fields.pop("rope_theta", None), fields.pop("rope_local_base_freq", None)
        scaling = fields.pop("rope_scaling", None)
        fields = super()._modernise(fields)
        if any(old is not None for old in (theta, local, scaling)):
            rope = {kind: dict(said or {}) for kind, said in (fields.get("rope_parameters") or {}).items()}
            full, sliding = rope.setdefault("full_attention", {}), rope.setdefault("sliding_attention", {})
            full.update(scaling or {})
            if theta is not None:
                full.setdefault("rope_theta", theta)
            if local is not None:
                sliding.setdefault("rope_theta", local)
            fields["rope_parameters"] = rope
        return fields

    def _check(self) -> None:
        rope = self.rope_parameters or {}
        full = {"rope_theta": 1_000_000.0, **(rope.get("full_attention") or {})}
        self.rope_parameters = {"full_attention": full, "sliding_attention": rope.get("sliding_attention") or {}}
        super()._check()

    def _knows(self, name: str) -> bool:
        return name == "sliding_window_pattern" or super()._knows(name)

    def _full_every(self) -> int:
        every: int = self.__dict__.get("sliding_window_pattern", self.__dict__.get("_sliding_window_pattern", 6))
        return every


def local_layers(count: int, full_every: int) -> list[str]:
    """Every so manyth layer sees everything, the others a window."""
    return ["sliding_attention" if (i + 1) % full_every else "full_attention" for i in range(count)]


def _norm(config: _Gemma) -> Norm:
    return Norm("rms", config.rms_norm_eps, bias=False, offset=1.0)


def _attention(config: _Gemma) -> Attention:
    return Attention(
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads or config.num_attention_heads,
        head_width=config.head_width,
        input_bias=config.attention_bias,
        output_bias=config.attention_bias,
        dropout=config.attention_dropout,
    )


def _stack(config: _Gemma, layers: tuple[Layer, ...], causal: bool) -> Stack:
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=layers,
        causal=causal,
        embed_scale=config.hidden_size**0.5,
        final_norm=_norm(config),
        deviation=config.initializer_range,
    )


def _gemma(config: GemmaConfig) -> Stack:
    own = replace(_attention(config), rotary=rotary(config))
    width = FeedForward(config.intermediate_size, activation(config.hidden_act), gated=True, bias=False)
    layer = Layer(own, width, _norm(config), order="pre")
    return _stack(config, (layer,) * config.num_hidden_layers, config.is_causal is not False)


def _later(config: Gemma2Config) -> Stack:
    """Gemma 2 and 3: norms on both sides of a block, local layers; 3 norms queries and keys and has two rotations."""
    types = config.layer_types or []
    own = replace(_attention(config), scale=config.query_pre_attn_scalar**-0.5)
    width = FeedForward(config.intermediate_size, activation(config.hidden_activation), gated=True, bias=False)
    if isinstance(config, Gemma3TextConfig):
        blocks = [replace(own, head_norm=_norm(config), rotary=rotary(config, kind)) for kind in types]
    else:
        blocks = [replace(own, softcap=config.attn_logit_softcapping, rotary=rotary(config))] * len(types)
    seen: list[Window] = windows(config, types, config.sliding_window)
    both = bool(config.use_bidirectional_attention)
    if both and config.sliding_window is not None:  # published as the whole span of such a window
        half = config.sliding_window // 2
        seen = [(half, half) if kind == "sliding_attention" else None for kind in types]
    layers = tuple(
        Layer(replace(block, window=view), width, _norm(config), order="sandwich")
        for block, view in zip(blocks, seen, strict=True)
    )
    return _stack(config, layers, config.is_causal is not False and not both)


def _head(config: Gemma2Config) -> Head:
    if config.use_bidirectional_attention:
        raise ConfigurationError("`use_bidirectional_attention` must be False for a decoder, but is True.")
    return Head(config.tie_word_embeddings, softcap=config.final_logit_softcapping)


_AROUND = (
    rename(f"{LAYER}.input_layernorm", f"{OWN}_norm"),
    rename(f"{LAYER}.post_attention_layernorm", f"{OWN}_post_norm"),
    rename(f"{LAYER}.pre_feedforward_layernorm", f"{FORWARD}_norm"),
    rename(f"{LAYER}.post_feedforward_layernorm", f"{FORWARD}_post_norm"),
)

FAMILIES = (
    decoder_only(GemmaConfig, _gemma, (*projections(), *NORMS, *GATED, *ENDS)),
    *(
        decoder_only(config, _later, (*projections(*HEAD_NORMS), *_AROUND, *GATED, *ENDS), _head)
        for config in (Gemma2Config, Gemma3TextConfig)
    ),
)
