"""ModernBERT (Warner et al. 2024): gated, without biases, most layers seeing a window alone."""

from dataclasses import replace
from typing import Any, ClassVar

from seqgraft.errors import ConfigurationError
from seqgraft.families.activations import activation
from seqgraft.families.causal import heads_divide
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, Rule, rename, stacked
from seqgraft.families.rope import RotaryConfig, rotary
from seqgraft.spec import Attention, FeedForward, Layer, Norm, Stack

_THETAS = {"full_attention": 160_000.0, "sliding_attention": 10_000.0}
"""Published kinds of layers -> the base of their rotary angles."""


class ModernBertConfig(RotaryConfig):
    """ModernBERT's configuration; the defaults are those of ModernBERT base."""

    model_type = "modernbert"
    by_layer_type: ClassVar[bool] = True

    vocab_size: int = 50368
    hidden_size: int = 768
    intermediate_size: int = 1152
    num_hidden_layers: int = 22
    num_attention_heads: int = 12
    hidden_activation: str = "gelu"
    max_position_embeddings: int = 8192
    initializer_range: float = 0.02
    initializer_cutoff_factor: float = 2.0
    norm_eps: float = 1e-5
    norm_bias: bool = False
    pad_token_id: int | None = 50283
    eos_token_id: int | list[int] | None = 50282
    bos_token_id: int | None = 50281
    cls_token_id: int | None = 50281
    sep_token_id: int | None = 50282
    attention_bias: bool = False
    attention_dropout: float = 0.0
    layer_types: list[str] | None = None
    local_attention: int = 128
    embedding_dropout: float = 0.0
    mlp_bias: bool = False
    mlp_dropout: float = 0.0
    decoder_bias: bool = True
    classifier_pooling: str = "cls"
    classifier_dropout: float = 0.0
    classifier_bias: bool = False
    classifier_activation: str = "gelu"
    deterministic_flash_attn: bool = False
    sparse_prediction: bool = False
    sparse_pred_ignore_index: int = -100
    tie_word_embeddings: bool = True

    def _modernise(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Version 4 gave a base for each kind of layer, and said how many layers lie between two that see all."""
        thetas = {
            "full_attention": fields.pop("global_rope_theta", None),
            "sliding_attention": fields.pop("local_rope_theta", None),
        }
        scaling = fields.pop("rope_scaling", None) or {}
        fields.pop("reference_compile", None)
        fields = super()._modernise(fields)
        said = fields.get("rope_parameters") or {}
        rope = {kind: {**(said.get(kind) or {}), **scaling} for kind in _THETAS}
        for kind, theta in thetas.items():
            rope[kind].setdefault("rope_theta", _THETAS[kind] if theta is None else theta)
        fields["rope_parameters"] = rope
        return fields

    def _knows(self, name: str) -> bool:
        return name == "global_attn_every_n_layers" or super()._knows(name)

    def _check(self) -> None:
        heads_divide(self)
        if self.layer_types is None:
            every: int = self.__dict__.get("global_attn_every_n_layers", 3)
            self.layer_types = [
                "sliding_attention" if i % every else "full_attention" for i in range(self.num_hidden_layers)
            ]
        if set(self.layer_types) - set(_THETAS) or len(self.layer_types) != self.num_hidden_layers:
            raise ConfigurationError(
                f"`layer_types` must name 'full_attention' or 'sliding_attention' for each of the "
                f"{self.num_hidden_layers} layers, but is {self.layer_types}."
            )
        super()._check()


def encoder(config: ModernBertConfig) -> Stack:
    """The body. Its embeddings are normed, so the first layer's attention reads them as they are."""
    norm = Norm("layer", config.norm_eps, bias=config.norm_bias)
    heads, half = config.num_attention_heads, config.local_attention // 2
    own = Attention(
        heads,
        heads,
        config.hidden_size // heads,
        input_bias=config.attention_bias,
        output_bias=config.attention_bias,
        dropout=config.attention_dropout,
    )
    forward = FeedForward(
        config.intermediate_size,
        activation(config.hidden_activation),
        gated=True,
        bias=config.mlp_bias,
        dropout=config.mlp_dropout,
    )
    seen = {"full_attention": None, "sliding_attention": (half, half)}
    layers = tuple(
        Layer(
            replace(own, rotary=rotary(config, kind), window=seen[kind]),
            forward,
            norm,
            order="pre",
            dropout=config.attention_dropout,
            feed_forward_dropout=0.0,
            bare_attention=index == 0,
        )
        for index, kind in enumerate(config.layer_types or [])
    )
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=layers,
        causal=False,
        embed_norm=norm,
        embed_dropout=config.embedding_dropout,
        final_norm=norm,
        deviation=config.initializer_range,
        output_deviation=config.initializer_range / (2 * config.num_hidden_layers) ** 0.5,
    )


def body_rules() -> tuple[Rule, ...]:
    """Names of the body's tensors."""
    at, own, forward = "layers.{i}", "layers.{i}.self_attention", "layers.{i}.feed_forward"
    return (
        rename("embeddings.tok_embeddings", "embed"),
        rename("embeddings.norm", "embed_norm"),
        rename(f"{at}.attn_norm", f"{own}_norm"),
        stacked(f"{at}.attn.Wqkv", f"{own}.query", f"{own}.key", f"{own}.value"),
        rename(f"{at}.attn.Wo", f"{own}.output"),
        rename(f"{at}.mlp_norm", f"{forward}_norm"),
        stacked(f"{at}.mlp.Wi", f"{forward}.gate", f"{forward}.up"),
        rename(f"{at}.mlp.Wo", f"{forward}.down"),
        rename("final_norm", "final_norm"),
    )


def encoder_names(config: ModernBertConfig) -> Names:
    """The bare body; heads of any kind in the file are no part of it."""
    dropped = (r"^head\.", r"^decoder\.", r"^classifier\.", r"inv_freq$")
    return Names(body_rules(), prefix="model.", dropped=dropped)


FAMILY = Family(ModernBertConfig, Half(encoder, encoder_names), None)
