"""XLM (Lample & Conneau 2019) and FlauBERT (Le et al. 2020), as encoders; `langs` of a call are tokens' languages."""

from typing import ClassVar

from seqgraft.errors import ConfigurationError
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, rename
from seqgraft.spec import Attention, Constant, FeedForward, Layer, Norm, Positions, Stack


class XLMConfig(PretrainedConfig):
    """XLM's configuration. Its sines, where it has them, stand in the file as any table of positions."""

    model_type = "xlm"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "emb_dim",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
        "n_words": "vocab_size",
        "bos_index": "bos_token_id",
        "eos_index": "eos_token_id",
        "pad_index": "pad_token_id",
        "initializer_range": "init_std",
    }

    vocab_size: int = 30145
    emb_dim: int = 2048
    n_layers: int = 12
    n_heads: int = 16
    dropout: float = 0.1
    attention_dropout: float = 0.1
    gelu_activation: bool = True
    sinusoidal_embeddings: bool = False
    causal: bool = False
    asm: bool = False
    n_langs: int = 1
    use_lang_emb: bool = True
    max_position_embeddings: int = 512
    embed_init_std: float = 2048**-0.5
    layer_norm_eps: float = 1e-12
    init_std: float = 0.02
    unk_index: int = 3
    mask_index: int = 5
    is_encoder: bool = True
    summary_type: str = "first"
    summary_use_proj: bool = True
    summary_activation: str | None = None
    summary_proj_to_labels: bool = True
    summary_first_dropout: float = 0.1
    start_n_top: int = 5
    end_n_top: int = 5
    mask_token_id: int | None = 0
    lang_id: int = 0
    pad_token_id: int | None = 2
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 1

    def _check(self) -> None:
        if self.emb_dim % self.n_heads:
            raise ConfigurationError(f"`n_heads` must divide `emb_dim` ({self.emb_dim}), but is {self.n_heads}.")
        for name, must in (("causal", False), ("is_encoder", True)):
            if getattr(self, name) is not must:
                raise ConfigurationError(f"`{name}` must be {must}, but is {getattr(self, name)!r}.")


class FlaubertConfig(XLMConfig):
    """FlauBERT's configuration."""

    model_type = "flaubert"

    pre_norm: bool = False
    layerdrop: float = 0.0


def encoder(config: XLMConfig) -> Stack:
    """The body; FlauBERT may have its norms before the blocks, and no last one even then."""
    norm, heads = Norm("layer", config.layer_norm_eps), config.n_heads
    own = Attention(
        heads,
        heads,
        config.emb_dim // heads,
        input_bias=True,
        output_bias=True,
        dropout=config.attention_dropout,
    )
    forward = FeedForward(4 * config.emb_dim, "gelu" if config.gelu_activation else "relu")
    flaubert = isinstance(config, FlaubertConfig)
    layer = Layer(own, forward, norm, order="pre" if flaubert and config.pre_norm else "post", dropout=config.dropout)
    return Stack(
        width=config.emb_dim,
        vocabulary=config.vocab_size,
        layers=(layer,) * config.n_layers,
        causal=False,
        positions=Positions(config.max_position_embeddings),
        constants=(Constant("langs", config.n_langs, 0, "langs"),)
        if config.n_langs > 1 and config.use_lang_emb
        else (),
        embed_norm=norm,
        embed_dropout=config.dropout,
        layer_drop=config.layerdrop if flaubert else 0.0,
        deviation=config.init_std,
    )


_RULES = (
    rename("embeddings", "embed"),
    rename("position_embeddings", "positions"),
    rename("lang_embeddings", "constants.langs"),
    rename("layer_norm_emb", "embed_norm"),
    rename("attentions.{i}.q_lin", "layers.{i}.self_attention.query"),
    rename("attentions.{i}.k_lin", "layers.{i}.self_attention.key"),
    rename("attentions.{i}.v_lin", "layers.{i}.self_attention.value"),
    rename("attentions.{i}.out_lin", "layers.{i}.self_attention.output"),
    rename("layer_norm1.{i}", "layers.{i}.self_attention_norm"),
    rename("ffns.{i}.lin1", "layers.{i}.feed_forward.up"),
    rename("ffns.{i}.lin2", "layers.{i}.feed_forward.down"),
    rename("layer_norm2.{i}", "layers.{i}.feed_forward_norm"),
)


def encoder_names(config: XLMConfig) -> Names:
    """The bare body; heads of any kind in the file are no part of it."""
    dropped = (r"position_ids$", r"^pred_layer\.", r"^sequence_summary\.", r"^classifier\.", r"^qa_outputs\.")
    return Names(_RULES, prefix="transformer.", dropped=dropped, carried=(r"^lang_embeddings\.",))


_ENCODER = Half(encoder, encoder_names)

FAMILIES = (Family(XLMConfig, _ENCODER, None), Family(FlaubertConfig, _ENCODER, None))
