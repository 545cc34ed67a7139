"""GPT-OSS (OpenAI 2025): experts with a clamped gate, and heads that may look at nothing.

The published files are quantized (MXFP4), which is refused: read one of those that were made from them in bfloat16.
"""

from dataclasses import replace
from typing import Any, ClassVar

from seqgraft.errors import ConfigurationError
from seqgraft.families.activations import activation
from seqgraft.families.causal import causal_family, only
from seqgraft.families.decoder_only import ENDS, LAYER, NORMS, OWN, DecoderOnlyConfig, projections, windows
from seqgraft.families.naming import Rule, experts, rename, tensor
from seqgraft.families.rope import rotary
from seqgraft.spec import Attention, Experts, FeedForward, Layer, Norm, Stack

_YARN = {
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}


class GptOssConfig(DecoderOnlyConfig):
    """GPT-OSS's configuration; the defaults are those of `gpt-oss-120b`."""

    model_type = "gpt_oss"
    default_theta: ClassVar[float] = 150000.0
    attribute_map: ClassVar[dict[str, str]] = {"num_experts": "num_local_experts"}

    num_hidden_layers: int = 36
    num_local_experts: int = 128
    vocab_size: int = 201088
    hidden_size: int = 2880
    intermediate_size: int = 2880
    head_dim: int | None = 64
    num_attention_heads: int = 64
    num_key_value_heads: int | None = 8
    sliding_window: int | None = 128
    tie_word_embeddings: bool = False
    hidden_act: str = "silu"
    initializer_range: float = 0.02
    max_position_embeddings: int = 131072
    rms_norm_eps: float = 1e-5
    rope_parameters: dict[str, Any] | None = None
    attention_dropout: float = 0.0
    num_experts_per_tok: int = 4
    swiglu_alpha: float = 1.702
    swiglu_limit: float = 7.0
    router_aux_loss_coef: float = 0.001
    output_router_logits: bool = False
    use_cache: bool = True
    layer_types: list[str] | None = None
    attention_bias: bool = True

    def _check(self) -> None:
        only(self, swiglu_alpha=1.702, output_router_logits=False)
        if self.head_dim is None:
            self.head_dim = self.hidden_size // self.num_attention_heads
        if self.layer_types is None:
            kinds = ("sliding_attention", "full_attention")
            self.layer_types = [kinds[i % 2] for i in range(self.num_hidden_layers)]
        self._check_layer_types(self.layer_types)
        if self.rope_parameters is None:
            self.rope_parameters = dict(_YARN)
        super()._check()


def encoder(config: GptOssConfig) -> Stack:
    """The body. `is_causal=False` lets every position see all others, or a window's length to either side."""
    if activation(config.hidden_act) != "silu":
        raise ConfigurationError(f"The activation must be one of silu, swish, but is {config.hidden_act!r}.")
    norm = Norm("rms", config.rms_norm_eps, bias=False)
    own = Attention(
        config.num_attention_heads,
        config.num_key_value_heads or config.num_attention_heads,
        config.head_width,
        input_bias=config.attention_bias,
        output_bias=config.attention_bias,
        rotary=rotary(config),
        sink=True,
        dropout=config.attention_dropout,
    )
    each = FeedForward(config.intermediate_size, "quick_gelu", gated=True, clamp=config.swiglu_limit)
    mixed = Experts(config.num_local_experts, config.num_experts_per_tok, each, router_bias=True)
    seen = windows(config, config.layer_types or [], config.sliding_window)
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=tuple(Layer(replace(own, window=window), mixed, norm, order="pre") for window in seen),
        causal=config.is_causal is not False,
        final_norm=norm,
        deviation=config.initializer_range,
    )


def _rules(config: GptOssConfig) -> tuple[Rule, ...]:
    """All experts stand in one tensor, (in, out), and the columns of gate and up take turns."""
    count, blocks, mixed = config.num_local_experts, config.intermediate_size, f"{LAYER}.feed_forward"
    theirs = f"{LAYER}.mlp.experts"
    gate, up, down = (f"{mixed}.experts.{{e}}.{part}" for part in ("gate", "up", "down"))
    return (
        *projections(),
        *NORMS,
        *ENDS,
        tensor(f"{LAYER}.self_attn.sinks", f"{OWN}.sink"),
        rename(f"{LAYER}.mlp.router", f"{mixed}.router"),
        experts(f"{theirs}.gate_up_proj", f"{gate}.weight", f"{up}.weight", count=count, turned=True, blocks=blocks),
        experts(f"{theirs}.gate_up_proj_bias", f"{gate}.bias", f"{up}.bias", count=count, blocks=blocks),
        experts(f"{theirs}.down_proj", f"{down}.weight", count=count, turned=True),
        experts(f"{theirs}.down_proj_bias", f"{down}.bias", count=count),
    )


FAMILY = causal_family(
    GptOssConfig, encoder, _rules, prefix="model.", table="embed_tokens", dropped=(r"rotary_emb\.inv_freq$",)
)
