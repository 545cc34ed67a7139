"""MPT (MosaicML 2023): scores fall linearly with distance, and nothing has a bias."""

from typing import Any, ClassVar

from seqgraft.errors import ConfigurationError
from seqgraft.families.causal import causal_family, heads_divide, only
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.naming import Rule, rename, stacked
from seqgraft.spec import Attention, FeedForward, Layer, Norm, Stack

_ATTENTION: dict[str, Any] = {
    "attn_type": "multihead_attention",
    "attn_pdrop": 0,
    "attn_impl": "torch",
    "clip_qkv": None,
    "softmax_scale": None,
    "prefix_lm": False,
    "qk_ln": False,
    "attn_uses_sequence_id": False,
    "alibi": True,
    "alibi_bias_max": 8,
}
_FIXED = ("attn_type", "prefix_lm", "qk_ln", "attn_uses_sequence_id", "alibi")


class MptConfig(PretrainedConfig):
    """MPT's configuration; the defaults are the published ones. `learned_pos_emb` is said and never used."""

    model_type = "mpt"
    attribute_map: ClassVar[dict[str, str]] = {
        "num_attention_heads": "n_heads",
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layers",
    }

    d_model: int = 2048
    n_heads: int = 16
    n_layers: int = 24
    expansion_ratio: int = 4
    max_seq_len: int = 2048
    vocab_size: int = 50368
    resid_pdrop: float = 0.0
    layer_norm_epsilon: float = 1e-5
    emb_pdrop: float = 0.0
    learned_pos_emb: bool = True
    attn_config: dict[str, Any] | None = None
    init_device: str = "cpu"
    logit_scale: float | str | None = None
    no_bias: bool = True
    embedding_fraction: float = 1.0
    norm_type: str = "low_precision_layernorm"
    use_cache: bool = False
    initializer_range: float = 0.02

    def _check(self) -> None:
        heads_divide(self)
        only(self, expansion_ratio=4, no_bias=True, logit_scale=None, resid_pdrop=0.0, emb_pdrop=0.0)
        said = self.attn_config or {}  # the reference writes what it says of any model in here too
        said = {name: value for name, value in said.items() if name in _ATTENTION or not self._knows(name)}
        self.attn_config = {**_ATTENTION, **said}
        for name in _FIXED:
            if self.attn_config[name] != _ATTENTION[name]:
                raise ConfigurationError(
                    f"`attn_config['{name}']` must be {_ATTENTION[name]!r}, since nothing else is supported, "
                    f"but is {self.attn_config[name]!r}."
                )


def encoder(config: MptConfig) -> Stack:
    """The body. `is_causal=False` lets every position see all others, the far ones fainter to either side."""
    norm = Norm("layer", config.layer_norm_epsilon, bias=False)
    said = {**_ATTENTION, **(config.attn_config or {})}
    own = Attention(
        config.n_heads,
        config.n_heads,
        config.d_model // config.n_heads,
        scale=said["softmax_scale"],
        alibi=float(said["alibi_bias_max"]),
        clip=said["clip_qkv"] or None,
        dropout=said["attn_pdrop"],
    )
    forward = FeedForward(4 * config.d_model, "gelu", bias=False)
    return Stack(
        width=config.d_model,
        vocabulary=config.vocab_size,
        layers=(Layer(own, forward, norm, order="pre", dropout=said["attn_pdrop"]),) * config.n_layers,
        causal=config.is_causal is not False,
        final_norm=norm,
        deviation=config.initializer_range,
    )


def _rules(config: MptConfig) -> tuple[Rule, ...]:
    at, ours = "blocks.{i}", "layers.{i}"
    own = f"{ours}.self_attention"
    return (
        rename("wte", "embed"),
        rename(f"{at}.norm_1", f"{own}_norm"),
        stacked(f"{at}.attn.Wqkv", f"{own}.query", f"{own}.key", f"{own}.value"),
        rename(f"{at}.attn.out_proj", f"{own}.output"),
        rename(f"{at}.norm_2", f"{ours}.feed_forward_norm"),
        rename(f"{at}.ffn.up_proj", f"{ours}.feed_forward.up"),
        rename(f"{at}.ffn.down_proj", f"{ours}.feed_forward.down"),
        rename("norm_f", "final_norm"),
    )


FAMILY = causal_family(MptConfig, encoder, _rules, prefix="transformer.", table="wte")
