"""GPT-BigCode (Ben Allal et al. 2023): GPT-2 with all queries on one key and value head."""

from dataclasses import replace
from typing import ClassVar

from seqgraft.families.activations import activation
from seqgraft.families.causal import causal_family, heads_divide
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.naming import Rule, rename, stacked
from seqgraft.spec import Attention, FeedForward, Layer, Norm, Positions, Stack


class GPTBigCodeConfig(PretrainedConfig):
    """GPT-BigCode's configuration; the defaults are those of `gpt_bigcode-santacoder`."""

    model_type = "gpt_bigcode"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    activation_function: str = "gelu_pytorch_tanh"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    scale_attn_weights: bool = True
    use_cache: bool = True
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256
    attention_softmax_in_fp32: bool = True
    scale_attention_softmax_in_fp32: bool = True
    multi_query: bool = True
    num_key_value_heads: int | None = None

    def _check(self) -> None:
        heads_divide(self)
        self.num_key_value_heads = 1 if self.multi_query else self.n_head


def encoder(config: GPTBigCodeConfig) -> Stack:
    """The body. `is_causal=False` lets every position see all others."""
    norm = Norm("layer", config.layer_norm_epsilon)
    own = Attention(
        config.n_head,
        config.num_key_value_heads or 1,
        config.n_embd // config.n_head,
        input_bias=True,
        output_bias=True,
        scale=None if config.scale_attn_weights else 1.0,
        dropout=config.attn_pdrop,
    )
    memory = config.cross_attention_hidden_size or config.n_embd
    layer = Layer(
        own,
        FeedForward(config.n_inner or 4 * config.n_embd, activation(config.activation_function)),
        norm,
        order="pre",
        cross_attention=replace(own, memory_width=memory) if config.add_cross_attention else None,
        dropout=config.resid_pdrop,
    )
    return Stack(
        width=config.n_embd,
        vocabulary=config.vocab_size,
        layers=(layer,) * config.n_layer,
        causal=config.is_causal is not False,
        positions=Positions(config.n_positions),
        embed_dropout=config.embd_pdrop,
        final_norm=norm,
        deviation=config.initializer_range,
        output_deviation=config.initializer_range / (2 * config.n_layer) ** 0.5,
    )


def _rules(config: GPTBigCodeConfig) -> tuple[Rule, ...]:
    """Heads of their own stand with their keys and values; in cross-attention all keys stand before all values."""
    at, ours = "h.{i}", "layers.{i}"
    own, cross = f"{ours}.self_attention", f"{ours}.cross_attention"
    blocks = 1 if config.multi_query else config.n_head
    return (
        rename("wte", "embed"),
        rename("wpe", "positions"),
        rename(f"{at}.ln_1", f"{own}_norm"),
        stacked(f"{at}.attn.c_attn", f"{own}.query", f"{own}.key", f"{own}.value", blocks=blocks),
        rename(f"{at}.attn.c_proj", f"{own}.output"),
        rename(f"{at}.ln_cross_attn", f"{cross}_norm"),
        rename(f"{at}.crossattention.q_attn", f"{cross}.query"),
        stacked(f"{at}.crossattention.c_attn", f"{cross}.key", f"{cross}.value"),
        rename(f"{at}.crossattention.c_proj", f"{cross}.output"),
        rename(f"{at}.ln_2", f"{ours}.feed_forward_norm"),
        rename(f"{at}.mlp.c_fc", f"{ours}.feed_forward.up"),
        rename(f"{at}.mlp.c_proj", f"{ours}.feed_forward.down"),
        rename("ln_f", "final_norm"),
    )


FAMILY = causal_family(
    GPTBigCodeConfig,
    encoder,
    _rules,
    prefix="transformer.",
    table="wte",
    dropped=(r"\.attn\.(bias|masked_bias)$", r"^bias$"),
    grafted=False,
)
