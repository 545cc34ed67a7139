"""GPT-NeoX (Black et al. 2022) and Pythia: attention and feed-forward side by side, each with a norm of its own."""

from typing import Any, ClassVar

from seqgraft.families.activations import activation
from seqgraft.families.causal import causal_family, heads_divide
from seqgraft.families.naming import Rule, rename, stacked
from seqgraft.families.rope import RotaryConfig, rotary
from seqgraft.spec import Attention, FeedForward, Layer, Norm, Stack


class GPTNeoXConfig(RotaryConfig):
    """GPT-NeoX's configuration; the defaults are those of `gpt-neox-20b`."""

    model_type = "gpt_neox"
    turned: ClassVar[float | None] = 0.25

    vocab_size: int = 50432
    hidden_size: int = 6144
    num_hidden_layers: int = 44
    num_attention_heads: int = 64
    intermediate_size: int = 24576
    hidden_act: str = "gelu"
    attention_dropout: float = 0.0
    hidden_dropout: float = 0.0
    classifier_dropout: float = 0.1
    max_position_embeddings: int = 2048
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    use_cache: bool = True
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    tie_word_embeddings: bool = False
    use_parallel_residual: bool = True
    attention_bias: bool = True

    def _modernise(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Older files say `rotary_emb_base` and `rotary_pct`."""
        for old, new in (("rotary_emb_base", "rope_theta"), ("rotary_pct", "partial_rotary_factor")):
            said = fields.pop(old, None)
            if said is not None:
                fields.setdefault(new, said)
        return super()._modernise(fields)

    def _check(self) -> None:
        heads_divide(self)
        super()._check()


def encoder(config: GPTNeoXConfig) -> Stack:
    """The body. `is_causal=False` lets every position see all others."""
    norm = Norm("layer", config.layer_norm_eps)
    own = Attention(
        config.num_attention_heads,
        config.num_attention_heads,
        config.head_width,
        input_bias=config.attention_bias,
        output_bias=config.attention_bias,
        rotary=rotary(config),
        dropout=config.attention_dropout,
    )
    layer = Layer(
        own,
        FeedForward(config.intermediate_size, activation(config.hidden_act)),
        norm,
        order="parallel" if config.use_parallel_residual else "pre",
        dropout=config.hidden_dropout,
    )
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=(layer,) * config.num_hidden_layers,
        causal=config.is_causal is not False,
        embed_dropout=config.hidden_dropout,
        final_norm=norm,
        deviation=config.initializer_range,
    )


def _rules(config: GPTNeoXConfig) -> tuple[Rule, ...]:
    at, ours = "layers.{i}", "layers.{i}"
    own = f"{ours}.self_attention"
    parts = (f"{own}.query", f"{own}.key", f"{own}.value")
    return (
        rename("embed_in", "embed"),
        rename(f"{at}.input_layernorm", f"{own}_norm"),
        stacked(f"{at}.attention.query_key_value", *parts, blocks=config.num_attention_heads),
        rename(f"{at}.attention.dense", f"{own}.output"),
        rename(f"{at}.post_attention_layernorm", f"{ours}.feed_forward_norm"),
        rename(f"{at}.mlp.dense_h_to_4h", f"{ours}.feed_forward.up"),
        rename(f"{at}.mlp.dense_4h_to_h", f"{ours}.feed_forward.down"),
        rename("final_layer_norm", "final_norm"),
    )


FAMILY = causal_family(
    GPTNeoXConfig,
    encoder,
    _rules,
    prefix="gpt_neox.",
    table="embed_in",
    output="embed_out",
    also=("lm_head",),
    dropped=(r"\.attention\.(bias|masked_bias)$", r"rotary_emb\.inv_freq$"),
)
