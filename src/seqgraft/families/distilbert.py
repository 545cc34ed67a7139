"""DistilBERT (Sanh et al. 2019): BERT without token types."""

from typing import ClassVar

from seqgraft.errors import ConfigurationError
from seqgraft.families.activations import activation
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, rename
from seqgraft.spec import Attention, FeedForward, Layer, Norm, Positions, Stack


class DistilBertConfig(PretrainedConfig):
    """DistilBERT's configuration. Its sines, where it has them, stand in the file as any table of positions."""

    model_type = "distilbert"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "dim",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
    }

    vocab_size: int = 30522
    max_position_embeddings: int = 512
    sinusoidal_pos_embds: bool = False
    n_layers: int = 6
    n_heads: int = 12
    dim: int = 768
    hidden_dim: int = 3072
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation: str = "gelu"
    initializer_range: float = 0.02
    qa_dropout: float = 0.1
    seq_classif_dropout: float = 0.2
    pad_token_id: int | None = 0

    def _knows(self, name: str) -> bool:
        return super()._knows(name) or name == "tie_weights_"  # in the published files, and never read

    def _check(self) -> None:
        if self.dim % self.n_heads:
            raise ConfigurationError(f"`n_heads` must divide `dim` ({self.dim}), but is {self.n_heads}.")


def encoder(config: DistilBertConfig) -> Stack:
    """The body."""
    norm, heads = Norm("layer", 1e-12), config.n_heads
    own = Attention(
        heads,
        heads,
        config.dim // heads,
        input_bias=True,
        output_bias=True,
        dropout=config.attention_dropout,
    )
    forward = FeedForward(config.hidden_dim, activation(config.activation))
    layer = Layer(own, forward, norm, order="post", feed_forward_dropout=config.dropout)  # attention's is not dropped
    return Stack(
        width=config.dim,
        vocabulary=config.vocab_size,
        layers=(layer,) * config.n_layers,
        causal=False,
        positions=Positions(config.max_position_embeddings),
        embed_norm=norm,
        embed_dropout=config.dropout,
        deviation=config.initializer_range,
    )


_AT, _OURS = "transformer.layer.{i}", "layers.{i}"
_RULES = (
    rename("embeddings.word_embeddings", "embed"),
    rename("embeddings.position_embeddings", "positions"),
    rename("embeddings.LayerNorm", "embed_norm"),
    rename(f"{_AT}.attention.q_lin", f"{_OURS}.self_attention.query"),
    rename(f"{_AT}.attention.k_lin", f"{_OURS}.self_attention.key"),
    rename(f"{_AT}.attention.v_lin", f"{_OURS}.self_attention.value"),
    rename(f"{_AT}.attention.out_lin", f"{_OURS}.self_attention.output"),
    rename(f"{_AT}.sa_layer_norm", f"{_OURS}.self_attention_norm"),
    rename(f"{_AT}.ffn.lin1", f"{_OURS}.feed_forward.up"),
    rename(f"{_AT}.ffn.lin2", f"{_OURS}.feed_forward.down"),
    rename(f"{_AT}.output_layer_norm", f"{_OURS}.feed_forward_norm"),
)


def encoder_names(config: DistilBertConfig) -> Names:
    """The bare body; heads of any kind in the file are no part of it."""
    dropped = (r"position_ids$", r"^vocab_", r"^(pre_)?classifier\.", r"^qa_outputs\.")
    return Names(_RULES, prefix="distilbert.", dropped=dropped)


FAMILY = Family(DistilBertConfig, Half(encoder, encoder_names), None)
