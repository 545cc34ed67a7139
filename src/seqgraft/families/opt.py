"""OPT (Zhang et al. 2022). The 350m model alone has its norms after the residual and a narrower table of tokens."""

from typing import Any

from seqgraft.families.activations import activation
from seqgraft.families.causal import causal_family, heads_divide, only
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.naming import Rule, rename
from seqgraft.spec import Attention, FeedForward, Layer, Narrow, Norm, Positions, Stack


class OPTConfig(PretrainedConfig):
    """OPT's configuration; the defaults are those of `opt-125m`."""

    model_type = "opt"

    vocab_size: int = 50272
    hidden_size: int = 768
    num_hidden_layers: int = 12
    ffn_dim: int = 3072
    max_position_embeddings: int = 2048
    do_layer_norm_before: bool = True
    _remove_final_layer_norm: bool = False
    word_embed_proj_dim: int | None = None
    dropout: float = 0.1
    attention_dropout: float = 0.0
    num_attention_heads: int = 12
    activation_function: str = "relu"
    layerdrop: float = 0.0
    init_std: float = 0.02
    use_cache: bool = True
    pad_token_id: int | None = 1
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 2
    enable_bias: bool = True
    layer_norm_elementwise_affine: bool = True

    def _check(self) -> None:
        heads_divide(self)
        only(self, layer_norm_elementwise_affine=True)
        if self.word_embed_proj_dim is None:
            self.word_embed_proj_dim = self.hidden_size

    def to_dict(self) -> dict[str, Any]:
        """All fields; the one whose name looks private is published too."""
        return {**super().to_dict(), "_remove_final_layer_norm": self._remove_final_layer_norm}


def encoder(config: OPTConfig) -> Stack:
    """The body. `is_causal=False` lets every position see all others."""
    norm = Norm("layer", 1e-5)
    before = config.do_layer_norm_before
    own = Attention(
        config.num_attention_heads,
        config.num_attention_heads,
        config.hidden_size // config.num_attention_heads,
        input_bias=config.enable_bias,
        output_bias=config.enable_bias,
        dropout=config.attention_dropout,
    )
    forward = FeedForward(config.ffn_dim, activation(config.activation_function), bias=config.enable_bias)
    narrow = config.word_embed_proj_dim or config.hidden_size
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=(Layer(own, forward, norm, order="pre" if before else "post", dropout=config.dropout),)
        * config.num_hidden_layers,
        causal=config.is_causal is not False,
        narrow=Narrow(narrow, bias=False, sums="wide", back=True) if narrow != config.hidden_size else None,
        positions=Positions(config.max_position_embeddings + 2, 2, "real", given="places"),
        layer_drop=config.layerdrop,
        final_norm=norm if before and not config._remove_final_layer_norm else None,
        deviation=config.init_std,
    )


def _rules(config: OPTConfig) -> tuple[Rule, ...]:
    at, ours = "decoder.layers.{i}", "layers.{i}"
    parts = (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "output"))
    return (
        rename("decoder.embed_tokens", "embed"),
        rename("decoder.embed_positions", "positions"),
        rename("decoder.project_in", "widen"),
        *(rename(f"{at}.self_attn.{their}", f"{ours}.self_attention.{our}") for their, our in parts),
        rename(f"{at}.self_attn_layer_norm", f"{ours}.self_attention_norm"),
        rename(f"{at}.fc1", f"{ours}.feed_forward.up"),
        rename(f"{at}.fc2", f"{ours}.feed_forward.down"),
        rename(f"{at}.final_layer_norm", f"{ours}.feed_forward_norm"),
        rename("decoder.final_layer_norm", "final_norm"),
        rename("decoder.project_out", "narrow_again"),
    )


FAMILY = causal_family(
    OPTConfig, encoder, _rules, prefix="model.", table="decoder.embed_tokens", dropped=(r"^decoder\.version$",)
)
