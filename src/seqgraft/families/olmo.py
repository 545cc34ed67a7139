"""OLMo 2 (2024) and 3 (2025), and EXAONE 4 (2025): each block's norm comes after it, on what is added."""

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
    OWN,
    DecoderOnlyConfig,
    decoder_only,
    projections,
    windows,
)
from seqgraft.families.naming import rename
from seqgraft.families.rope import rotary
from seqgraft.spec import Attention, FeedForward, Layer, Norm, Stack


class Olmo2Config(DecoderOnlyConfig):
    """OLMo 2's configuration; the defaults are those of OLMo 2 7B."""

    model_type = "olmo2"

    vocab_size: int = 50304
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    initializer_range: float = 0.02
    use_cache: bool = True
    pad_token_id: int | None = 1
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = 50279
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    attention_dropout: float = 0.0
    rms_norm_eps: float = 1e-5


class Olmo3Config(Olmo2Config):
    """OLMo 3's configuration."""

    model_type = "olmo3"
    default_theta: ClassVar[float] = 500000.0
    by_layer_type: ClassVar[bool] = True

    sliding_window: int | None = 4096
    layer_types: list[str] | None = None

    def _modernise(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Version 4 scaled the full layers alone."""
        theta, scaling = fields.pop("rope_theta", None), fields.pop("rope_scaling", None)
        fields = super()._modernise(fields)
        if theta is not None or scaling is not None:
            rope = fields.get("rope_parameters") or {}
            base = {} if theta is None else {"rope_theta": theta}
            fields["rope_parameters"] = {
                "full_attention": {**base, **(rope.get("full_attention") or {}), **(scaling or {})},
                "sliding_attention": {**base, **(rope.get("sliding_attention") or {})},
            }
        return fields

    def _check(self) -> None:
        rope = self.rope_parameters or {}
        self.rope_parameters = {kind: rope.get(kind) or {} for kind in ("full_attention", "sliding_attention")}
        if self.layer_types is None:
            self.layer_types = pattern("LLLG", self.num_hidden_layers)
        self._check_layer_types(self.layer_types)
        super()._check()


class Exaone4Config(DecoderOnlyConfig):
    """EXAONE 4's configuration."""

    model_type = "exaone4"

    vocab_size: int = 102400
    hidden_size: int = 4096
    intermediate_size: int = 16384
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = 32
    hidden_act: str = "silu"
    max_position_embeddings: int = 2048
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-5
    use_cache: bool = True
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    tie_word_embeddings: bool = False
    attention_dropout: float = 0.0
    sliding_window: int | None = 4096
    sliding_window_pattern: str | int | None = 4
    layer_types: list[str] | None = None

    def _check(self) -> None:
        if self.sliding_window is None:
            self.sliding_window_pattern = 0
        if self.layer_types is None:
            every = self.sliding_window_pattern or "G"
            letters = "L" * (every - 1) + "G" if isinstance(every, int) else every
            if set(letters) - {"L", "G"}:
                raise ConfigurationError(
                    f"`sliding_window_pattern` must be a number, or letters L (local) and G (global), but is {every!r}."
                )
            self.layer_types = pattern(letters, self.num_hidden_layers)
        self._check_layer_types(self.layer_types)
        super()._check()


def pattern(letters: str, count: int) -> list[str]:
    """The kinds of `count` layers, letter by letter: L sees a window, G everything."""
    kinds = {"L": "sliding_attention", "G": "full_attention"}
    return [kinds[letters[i % len(letters)]] for i in range(count)]


def _stack(config: Olmo2Config | Exaone4Config, blocks: list[Attention]) -> Stack:
    norm = Norm("rms", config.rms_norm_eps, bias=False)
    width = FeedForward(config.intermediate_size, activation(config.hidden_act), gated=True, bias=False)
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=tuple(Layer(block, width, norm, order="after") for block in blocks),
        causal=config.is_causal is not False,
        final_norm=norm,
        deviation=config.initializer_range,
    )


def olmo(config: Olmo2Config) -> Stack:
    """The body: queries and keys are normed over all heads together."""
    own = Attention(
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads or config.num_attention_heads,
        head_width=config.head_width,
        input_bias=config.attention_bias,
        output_bias=config.attention_bias,
        head_norm=Norm("rms", config.rms_norm_eps, bias=False),
        head_norm_spans="all",
        dropout=config.attention_dropout,
    )
    if not isinstance(config, Olmo3Config):
        return _stack(config, [replace(own, rotary=rotary(config))] * config.num_hidden_layers)
    types = config.layer_types or []
    views = windows(config, types, config.sliding_window)
    return _stack(
        config,
        [replace(own, rotary=rotary(config, kind), window=view) for kind, view in zip(types, views, strict=True)],
    )


def exaone4(config: Exaone4Config) -> Stack:
    """The body: where there are local layers, they alone turn."""
    own = Attention(
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads or config.num_attention_heads,
        head_width=config.head_width,
        head_norm=Norm("rms", config.rms_norm_eps, bias=False),
        dropout=config.attention_dropout,
    )
    types = config.layer_types or []
    views = windows(config, types, config.sliding_window)
    turns = [rotary(config) if config.sliding_window is None or kind != "full_attention" else None for kind in types]
    return _stack(config, [replace(own, rotary=turn, window=view) for turn, view in zip(turns, views, strict=True)])


_RULES = (
    *projections(*HEAD_NORMS),
    rename(f"{LAYER}.post_attention_layernorm", f"{OWN}_norm"),
    rename(f"{LAYER}.post_feedforward_layernorm", f"{FORWARD}_norm"),
    *GATED,
    *ENDS,
)

FAMILIES = (
    decoder_only(Olmo2Config, olmo, _RULES),
    decoder_only(Olmo3Config, olmo, _RULES),
    decoder_only(Exaone4Config, exaone4, _RULES),
)
