"""Mixtral (Jiang et al. 2024): Mistral with eight feed-forwards a layer, of which each token meets two."""

from typing import ClassVar

from seqgraft.families.activations import activation
from seqgraft.families.causal import causal_family, only
from seqgraft.families.decoder_only import (
    ENDS,
    LAYER,
    NORMS,
    DecoderOnlyConfig,
    projections,
    window,
)
from seqgraft.families.naming import Rule, experts, rename
from seqgraft.families.rope import rotary
from seqgraft.spec import Attention, Experts, FeedForward, Layer, Norm, Stack


class MixtralConfig(DecoderOnlyConfig):
    """Mixtral's configuration; the defaults are those of `Mixtral-8x7B`."""

    model_type = "mixtral"
    default_theta: ClassVar[float] = 1e6
    attribute_map: ClassVar[dict[str, str]] = {"num_experts": "num_local_experts"}

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 14336
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = 8
    head_dim: int | None = None
    hidden_act: str = "silu"
    max_position_embeddings: int = 131072
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-5
    use_cache: bool = True
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    tie_word_embeddings: bool = False
    sliding_window: int | None = None
    attention_dropout: float = 0.0
    num_experts_per_tok: int = 2
    num_local_experts: int = 8
    output_router_logits: bool = False
    router_aux_loss_coef: float = 0.001
    router_jitter_noise: float = 0.0

    def _check(self) -> None:
        only(self, output_router_logits=False, router_jitter_noise=0.0)
        super()._check()


def encoder(config: MixtralConfig) -> Stack:
    """The body. `is_causal=False` lets every position see all others, or a window's length to either side."""
    norm = Norm("rms", config.rms_norm_eps, bias=False)
    own = Attention(
        config.num_attention_heads,
        config.num_key_value_heads or config.num_attention_heads,
        config.head_width,
        rotary=rotary(config),
        window=window(config, config.sliding_window),
        dropout=config.attention_dropout,
    )
    each = FeedForward(config.intermediate_size, activation(config.hidden_act), gated=True, bias=False)
    mixed = Experts(config.num_local_experts, config.num_experts_per_tok, each)
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=(Layer(own, mixed, norm, order="pre"),) * config.num_hidden_layers,
        causal=config.is_causal is not False,
        final_norm=norm,
        deviation=config.initializer_range,
    )


def _rules(config: MixtralConfig) -> tuple[Rule, ...]:
    """The published files hold each expert's maps; transformers 5 keeps, and may write, those of all in one."""
    count, mixed = config.num_local_experts, f"{LAYER}.feed_forward"
    maps = (("w1", "gate"), ("w3", "up"), ("w2", "down"))
    gate, up, down = (f"{mixed}.experts.{{e}}.{part}.weight" for part in ("gate", "up", "down"))
    return (
        *projections(),
        *NORMS,
        *ENDS,
        rename(f"{LAYER}.block_sparse_moe.gate", f"{mixed}.router"),
        *(
            rename(f"{LAYER}.block_sparse_moe.experts.{e}.{theirs}", f"{mixed}.experts.{e}.{ours}")
            for e in range(count)
            for theirs, ours in maps
        ),
        rename(f"{LAYER}.mlp.gate", f"{mixed}.router"),
        experts(f"{LAYER}.mlp.experts.gate_up_proj", gate, up, count=count),
        experts(f"{LAYER}.mlp.experts.down_proj", down, count=count),
    )


FAMILY = causal_family(
    MixtralConfig, encoder, _rules, prefix="model.", table="embed_tokens", dropped=(r"rotary_emb\.inv_freq$",)
)
