"""ModernBERT as a causal model (Ettin, Weller et al. 2025): most layers look back a window's length."""

from dataclasses import replace
from typing import Any, ClassVar

from seqgraft.errors import ConfigurationError
from seqgraft.families.activations import activation
from seqgraft.families.causal import causal_family, heads_divide
from seqgraft.families.naming import Rule, rename, stacked
from seqgraft.families.rope import RotaryConfig, rotary
from seqgraft.spec import Attention, FeedForward, Head, Layer, Norm, Stack, Transform

_KINDS = ("full_attention", "sliding_attention")


class ModernBertDecoderConfig(RotaryConfig):
    """The configuration; the defaults are the published ones."""

    model_type = "modernbert-decoder"
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
    embedding_dropout: float = 0.0
    mlp_bias: bool = False
    mlp_dropout: float = 0.0
    decoder_bias: bool = True
    classifier_dropout: float = 0.0
    classifier_bias: bool = False
    classifier_activation: str = "gelu"
    use_cache: bool = True
    local_attention: int | None = 128
    layer_types: list[str] | None = None
    sliding_window: int | None = None

    def _modernise(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Older files give each kind of layer's theta, and after how many layers one of them sees all."""
        fields = dict(fields)
        every = fields.pop("global_attn_every_n_layers", 3)
        thetas = {kind: fields.pop(f"{kind}_rope_theta", None) for kind in ("global", "local")}
        ropes = {kind: dict((fields.get("rope_parameters") or {}).get(kind) or {}) for kind in _KINDS}
        for kind, theta in zip(_KINDS, thetas.values(), strict=True):
            if theta is not None:
                ropes[kind].setdefault("rope_theta", theta)
        if any(ropes.values()):
            fields["rope_parameters"] = ropes
        self._every = every
        return super()._modernise(fields)

    def _check(self) -> None:
        heads_divide(self)
        if self.layer_types is None:
            self.layer_types = [_KINDS[bool(i % self._every)] for i in range(self.num_hidden_layers)]
        if set(self.layer_types) - set(_KINDS) or len(self.layer_types) != self.num_hidden_layers:
            raise ConfigurationError(
                f"`layer_types` must name 'full_attention' or 'sliding_attention' for each of the "
                f"{self.num_hidden_layers} layers, but is {self.layer_types}."
            )
        self.sliding_window = self.local_attention // 2 if self.local_attention else -1
        thetas = {"full_attention": 160000.0, "sliding_attention": 10000.0}
        said = self.rope_parameters or {}
        self.rope_parameters = {kind: {"rope_theta": thetas[kind], **(said.get(kind) or {})} for kind in _KINDS}
        super()._check()


def encoder(config: ModernBertDecoderConfig) -> Stack:
    """The body. `is_causal=False` lets every position see all others, or a window's length to either side."""
    norm = Norm("layer", config.norm_eps, bias=config.norm_bias)
    types = config.layer_types or []
    causal, size = config.is_causal is not False, config.sliding_window or -1
    window = None if size < 1 else (size - 1, 0) if causal else (size, size)
    own = Attention(
        config.num_attention_heads,
        config.num_attention_heads,
        config.head_width,
        input_bias=config.attention_bias,
        output_bias=config.attention_bias,
        dropout=config.attention_dropout,
    )
    kinds = {
        "full_attention": replace(own, rotary=rotary(config, "full_attention")),
        "sliding_attention": replace(own, rotary=rotary(config, "sliding_attention"), window=window),
    }
    forward = FeedForward(
        config.intermediate_size,
        activation(config.hidden_activation),
        gated=True,
        bias=config.mlp_bias,
        dropout=config.mlp_dropout,
    )
    layer = Layer(own, forward, norm, order="pre", dropout=config.attention_dropout, feed_forward_dropout=0.0)
    return Stack(
        width=config.hidden_size,
        vocabulary=config.vocab_size,
        layers=tuple(replace(layer, self_attention=kinds[k], bare_attention=i == 0) for i, k in enumerate(types)),
        causal=causal,
        embed_norm=norm,
        embed_dropout=config.embedding_dropout,
        final_norm=norm,
        deviation=config.initializer_range,
    )


def _rules(config: ModernBertDecoderConfig) -> tuple[Rule, ...]:
    at, ours = "layers.{i}", "layers.{i}"
    own, forward = f"{ours}.self_attention", f"{ours}.feed_forward"
    parts = (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("Wo", "output"))
    return (
        rename("embeddings.tok_embeddings", "embed"),
        rename("embeddings.norm", "embed_norm"),
        rename(f"{at}.attn_norm", f"{own}_norm"),
        *(rename(f"{at}.attn.{their}", f"{own}.{our}") for their, our in parts),
        rename(f"{at}.mlp_norm", f"{forward}_norm"),
        stacked(f"{at}.mlp.Wi", f"{forward}.gate", f"{forward}.up"),
        rename(f"{at}.mlp.Wo", f"{forward}.down"),
        rename("final_norm", "final_norm"),
    )


def _head(config: ModernBertDecoderConfig) -> Head:
    norm = Norm("layer", config.norm_eps, bias=config.norm_bias)
    transform = Transform(activation(config.classifier_activation), norm, bias=config.classifier_bias)
    return Head(config.tie_word_embeddings, bias=config.decoder_bias, transform=transform)


FAMILY = causal_family(
    ModernBertDecoderConfig,
    encoder,
    _rules,
    prefix="model.",
    table="embeddings.tok_embeddings",
    output="decoder",
    more=(rename("lm_head.dense", "head.dense", outside=True), rename("lm_head.norm", "head.norm", outside=True)),
    head=_head,
    dropped=(r"rotary_emb\.\w*inv_freq$",),
)
