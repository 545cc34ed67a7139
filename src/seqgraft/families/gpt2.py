"""GPT-2 (Radford et al. 2019), as decoder and, seen both ways, as encoder."""

from dataclasses import replace
from typing import ClassVar

from seqgraft.families.activations import activation
from seqgraft.families.causal import heads_divide
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, Rule, rename, stacked, turned
from seqgraft.spec import Attention, FeedForward, Head, Layer, Norm, Positions, Stack


class GPT2Config(PretrainedConfig):
    """GPT-2's configuration; the defaults are those of `gpt2`."""

    model_type = "gpt2"
    also = ("gpt-sw3",)
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
    activation_function: str = "gelu_new"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    reorder_and_upcast_attn: bool = False
    use_cache: bool = True
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256

    def _check(self) -> None:
        heads_divide(self)


def encoder(config: GPT2Config) -> Stack:
    """The body. `is_causal=False` lets every position see all others; `reorder_and_upcast_attn` changes no value."""
    norm = Norm("layer", config.layer_norm_epsilon)
    width = config.n_embd // config.n_head

    def layer(index: int) -> Layer:
        scale = width**-0.5 if config.scale_attn_weights else 1.0
        own = Attention(
            config.n_head,
            config.n_head,
            width,
            input_bias=True,
            output_bias=True,
            scale=scale / (index + 1) if config.scale_attn_by_inverse_layer_idx else scale,
            dropout=config.attn_pdrop,
        )
        memory = config.cross_attention_hidden_size or config.n_embd
        return Layer(
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
        layers=tuple(layer(i) for i in range(config.n_layer)),
        causal=config.is_causal is not False,
        positions=Positions(config.n_positions),
        embed_dropout=config.embd_pdrop,
        final_norm=norm,
        deviation=config.initializer_range,
        output_deviation=config.initializer_range / (2 * config.n_layer) ** 0.5,
    )


def decoder(config: GPT2Config) -> Stack:
    """The causal body with a head that reads the input table."""
    return replace(encoder(config), causal=True, head=Head(config.tie_word_embeddings))


def _rules() -> tuple[Rule, ...]:
    at, ours = "h.{i}", "layers.{i}"
    own, cross = f"{ours}.self_attention", f"{ours}.cross_attention"
    return (
        rename("wte", "embed"),
        rename("wpe", "positions"),
        rename(f"{at}.ln_1", f"{own}_norm"),
        stacked(f"{at}.attn.c_attn", f"{own}.query", f"{own}.key", f"{own}.value", turned=True),
        turned(f"{at}.attn.c_proj", f"{own}.output"),
        rename(f"{at}.ln_cross_attn", f"{cross}_norm"),
        turned(f"{at}.crossattention.q_attn", f"{cross}.query"),
        stacked(f"{at}.crossattention.c_attn", f"{cross}.key", f"{cross}.value", turned=True),
        turned(f"{at}.crossattention.c_proj", f"{cross}.output"),
        rename(f"{at}.ln_2", f"{ours}.feed_forward_norm"),
        turned(f"{at}.mlp.c_fc", f"{ours}.feed_forward.up"),
        turned(f"{at}.mlp.c_proj", f"{ours}.feed_forward.down"),
        rename("ln_f", "final_norm"),
    )


_BUFFERS = (r"\.(attn|crossattention)\.(bias|masked_bias)$",)


def encoder_names(config: GPT2Config) -> Names:
    """The bare body."""
    return Names(_rules(), prefix="transformer.", dropped=(*_BUFFERS, r"^lm_head\."))


def decoder_names(config: GPT2Config) -> Names:
    """The body and its head."""
    head = rename("lm_head", "head.output", outside=True)
    ties = (("lm_head.weight", "transformer.wte.weight"),) if config.tie_word_embeddings else ()
    return Names((*_rules(), head), prefix="transformer.", dropped=_BUFFERS, ties=ties)


FAMILY = Family(GPT2Config, Half(encoder, encoder_names), Half(decoder, decoder_names), sees_back=True)
