"""XGLM (Lin et al. 2022): positions are sines, and the published layer has a place for cross-attention."""

from dataclasses import replace
from typing import ClassVar

from seqgraft.families.activations import activation
from seqgraft.families.causal import causal_family, heads_divide
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.naming import Rule, rename
from seqgraft.spec import Attention, FeedForward, Layer, Norm, Positions, Stack


class XGLMConfig(PretrainedConfig):
    """XGLM's configuration; the defaults are those of `xglm-564M`."""

    model_type = "xglm"
    attribute_map: ClassVar[dict[str, str]] = {
        "num_attention_heads": "attention_heads",
        "hidden_size": "d_model",
        "num_hidden_layers": "num_layers",
    }

    vocab_size: int = 256008
    max_position_embeddings: int = 2048
    d_model: int = 1024
    ffn_dim: int = 4096
    num_layers: int = 24
    attention_heads: int = 16
    activation_function: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.0
    layerdrop: float = 0.0
    init_std: float = 0.02
    scale_embedding: bool = True
    use_cache: bool = True
    decoder_start_token_id: int | None = 2
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2

    def _check(self) -> None:
        heads_divide(self)


def encoder(config: XGLMConfig) -> Stack:
    """The body. `is_causal=False` lets every position see all others."""
    norm = Norm("layer", 1e-5)
    own = Attention(
        config.attention_heads,
        config.attention_heads,
        config.d_model // config.attention_heads,
        input_bias=True,
        output_bias=True,
        dropout=config.attention_dropout,
    )
    memory = config.cross_attention_hidden_size or config.d_model
    layer = Layer(
        own,
        FeedForward(config.ffn_dim, activation(config.activation_function), dropout=config.activation_dropout),
        norm,
        order="pre",
        cross_attention=replace(own, memory_width=memory) if config.add_cross_attention else None,
        dropout=config.dropout,
    )
    return Stack(
        width=config.d_model,
        vocabulary=config.vocab_size,
        layers=(layer,) * config.num_layers,
        causal=config.is_causal is not False,
        embed_scale=config.d_model**0.5 if config.scale_embedding else 1.0,
        positions=Positions(config.max_position_embeddings + 2, 2, kind="sines_tensor2tensor", given="places"),
        embed_dropout=config.dropout,
        layer_drop=config.layerdrop,
        final_norm=norm,
        deviation=config.init_std,
    )


def _rules(config: XGLMConfig) -> tuple[Rule, ...]:
    at, ours = "layers.{i}", "layers.{i}"
    parts = (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "output"))
    blocks = (("self_attn", "self_attention"), ("encoder_attn", "cross_attention"))
    return (
        rename("embed_tokens", "embed"),
        *(rename(f"{at}.{b}.{their}", f"{ours}.{block}.{our}") for b, block in blocks for their, our in parts),
        *(rename(f"{at}.{b}_layer_norm", f"{ours}.{block}_norm") for b, block in blocks),
        rename(f"{at}.fc1", f"{ours}.feed_forward.up"),
        rename(f"{at}.fc2", f"{ours}.feed_forward.down"),
        rename(f"{at}.final_layer_norm", f"{ours}.feed_forward_norm"),
        rename("layer_norm", "final_norm"),
    )


FAMILY = causal_family(
    XGLMConfig,
    encoder,
    _rules,
    prefix="model.",
    table="embed_tokens",
    dropped=(r"^embed_positions\.weights$",),
    grafted=False,
)
