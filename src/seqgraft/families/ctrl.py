"""CTRL (Keskar et al. 2019): a causal model with sines for positions, whose head has a bias."""

from typing import ClassVar

from seqgraft.families.causal import causal_family, heads_divide
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.naming import Rule, rename
from seqgraft.spec import Attention, FeedForward, Head, Layer, Norm, Positions, Stack


class CTRLConfig(PretrainedConfig):
    """CTRL's configuration; the defaults are those of `Salesforce/ctrl`."""

    model_type = "ctrl"
    attribute_map: ClassVar[dict[str, str]] = {
        "max_position_embeddings": "n_positions",
        "hidden_size": "n_embd",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }

    vocab_size: int = 246534
    n_positions: int = 256
    n_embd: int = 1280
    dff: int = 8192
    n_layer: int = 48
    n_head: int = 16
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-6
    initializer_range: float = 0.02
    use_cache: bool = True

    def _check(self) -> None:
        heads_divide(self)


def encoder(config: CTRLConfig) -> Stack:
    """The body. `is_causal=False` lets every position see all others; the layers have an epsilon of their own."""
    norm = Norm("layer", 1e-6)
    own = Attention(config.n_head, config.n_head, config.n_embd // config.n_head, input_bias=True, output_bias=True)
    layer = Layer(own, FeedForward(config.dff, "relu"), norm, order="pre", dropout=config.resid_pdrop)
    return Stack(
        width=config.n_embd,
        vocabulary=config.vocab_size,
        layers=(layer,) * config.n_layer,
        causal=config.is_causal is not False,
        embed_scale=config.n_embd**0.5,
        scales_given=True,
        positions=Positions(config.n_positions, kind="sines"),
        embed_dropout=config.embd_pdrop,
        final_norm=Norm("layer", config.layer_norm_epsilon),
        deviation=config.initializer_range,
    )


def _head(config: CTRLConfig) -> Head:
    return Head(config.tie_word_embeddings, bias=True)


def _rules(config: CTRLConfig) -> tuple[Rule, ...]:
    at, ours = "h.{i}", "layers.{i}"
    parts = (("Wq", "query"), ("Wk", "key"), ("Wv", "value"), ("dense", "output"))
    return (
        rename("w", "embed"),
        *(rename(f"{at}.multi_head_attention.{theirs}", f"{ours}.self_attention.{part}") for theirs, part in parts),
        rename(f"{at}.layernorm1", f"{ours}.self_attention_norm"),
        rename(f"{at}.ffn.0", f"{ours}.feed_forward.up"),
        rename(f"{at}.ffn.2", f"{ours}.feed_forward.down"),
        rename(f"{at}.layernorm2", f"{ours}.feed_forward_norm"),
        rename("layernorm", "final_norm"),
    )


FAMILY = causal_family(
    CTRLConfig, encoder, _rules, prefix="transformer.", table="w", head=_head, dropped=(r"^pos_encoding$",)
)
