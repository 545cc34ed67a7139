"""Phi 3 and 4 (Abdin et al. 2024), and GLM 4 (2025): maps stored stacked, and a part of each head turns."""

from typing import Any, ClassVar

from seqgraft.errors import ConfigurationError
from seqgraft.families.activations import activation
from seqgraft.families.decoder_only import (
    ENDS,
    FORWARD,
    LAYER,
    NORMS,
    OWN,
    DecoderOnlyConfig,
    decoder_only,
    projections,
    window,
)
from seqgraft.families.naming import rename, stacked
from seqgraft.families.rope import rotary
from seqgraft.spec import Attention, FeedForward, Layer, Norm, Stack


class Phi3Config(DecoderOnlyConfig):
    """Phi 3's configuration; the defaults are those of Phi 3 mini."""

    model_type = "phi3"
    turned: ClassVar[float | None] = 1.0

    vocab_size: int = 32064
    hidden_size: int = 3072
    intermediate_size: int = 8192
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    resid_pdrop: float = 0.0
    embd_pdrop: float = 0.0
    attention_dropout: float = 0.0
    hidden_act: str = "silu"
    max_position_embeddings: int = 4096
    original_max_position_embeddings: int = 4096
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-5
    use_cache: bool = True
    tie_word_embeddings: bool = False
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 32000
    pad_token_id: int | None = 32000
    sliding_window: int | None = None

    def _modernise(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The first files call longrope `su` or `yarn`."""
        fields = super()._modernise(fields)
        rope = fields.get("rope_parameters")
        if rope and rope.get("rope_type", rope.get("type")) in ("su", "yarn"):
            fields["rope_parameters"] = {**rope, "rope_type": "longrope"}
        return fields

    def _check(self) -> None:
        super()._check()
        kind = (self.rope_parameters or {})["rope_type"]
        if kind not in ("default", "longrope"):
            raise ConfigurationError(
                f"`rope_parameters['rope_type']` must be 'default' or 'longrope', but is {kind!r}."
            )


class Glm4Config(DecoderOnlyConfig):
    """GLM 4's configuration."""

    model_type = "glm4"
    turned: ClassVar[float | None] = 0.5

    vocab_size: int = 151552
    hidden_size: int = 4096
    intermediate_size: int = 13696
    num_hidden_layers: int = 40
    num_attention_heads: int = 32
    num_key_value_heads: int | None = 2
    head_dim: int = 128
    hidden_act: str = "silu"
    attention_dropout: float = 0.0
    max_position_embeddings: int = 131072
    initializer_range: float = 0.02
    rms_norm_eps: float = 1.5625e-7
    use_cache: bool = True
    tie_word_embeddings: bool = False
    pad_token_id: int | None = 151329
    eos_token_id: int | list[int] | None = None
    bos_token_id: int | None = None
    attention_bias: bool = True

    def _check(self) -> None:
        if self.eos_token_id is None:
            self.eos_token_id = [151329, 151336, 151338]
        super()._check()


def phi3(config: Phi3Config) -> Stack:
    """The body. `embd_pdrop` is published and not used."""
    norm = Norm("rms", config.rms_norm_eps, bias=False)
    own = Attention(
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads or config.num_attention_heads,
        head_width=config.head_width,
        rotary=rotary(config),
        window=window(config, config.sliding_window),
        dropout=config.attention_dropout,
    )
    width = FeedForward(config.intermediate_size, activation(config.hidden_act), gated=True, bias=False)
    return _stack(config, Layer(own, width, norm, order="pre", dropout=config.resid_pdrop))


def glm4(config: Glm4Config) -> Stack:
    """The body: norms on both sides of a block, and neighbours turn."""
    norm = Norm("rms", config.rms_norm_eps, bias=False)
    own = Attention(
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads or config.num_attention_heads,
        head_width=config.head_width,
        input_bias=config.attention_bias,
        rotary=rotary(config, layout="pairs"),
        dropout=config.attention_dropout,
    )
    width = FeedForward(config.intermediate_size, activation(config.hidden_act), gated=True, bias=False)
    return _stack(config, Layer(own, width, norm, order="sandwich"))


def _stack(config: Phi3Config | Glm4Config, layer: Layer) -> Stack:
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=(layer,) * config.num_hidden_layers,
        causal=config.is_causal is not False,
        final_norm=layer.norm,
        deviation=config.initializer_range,
    )


_FORWARD = (
    stacked(f"{LAYER}.mlp.gate_up_proj", f"{FORWARD}.gate", f"{FORWARD}.up"),
    rename(f"{LAYER}.mlp.down_proj", f"{FORWARD}.down"),
)
_PHI3 = (
    stacked(f"{LAYER}.self_attn.qkv_proj", f"{OWN}.query", f"{OWN}.key", f"{OWN}.value"),
    rename(f"{LAYER}.self_attn.o_proj", f"{OWN}.output"),
)
_AROUND = (
    rename(f"{LAYER}.input_layernorm", f"{OWN}_norm"),
    rename(f"{LAYER}.post_self_attn_layernorm", f"{OWN}_post_norm"),
    rename(f"{LAYER}.post_attention_layernorm", f"{FORWARD}_norm"),
    rename(f"{LAYER}.post_mlp_layernorm", f"{FORWARD}_post_norm"),
)

FAMILIES = (
    decoder_only(Phi3Config, phi3, (*_PHI3, *NORMS, *_FORWARD, *ENDS)),
    decoder_only(Glm4Config, glm4, (*projections(), *_AROUND, *_FORWARD, *ENDS)),
)
