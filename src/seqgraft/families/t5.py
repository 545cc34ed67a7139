"""T5 (Raffel et al. 2020), mT5 (Xue et al. 2021) and umT5 (Chung et al. 2023): no positions but a bias by distance."""

from dataclasses import replace
from typing import Any, ClassVar, Literal

from seqgraft.errors import ConfigurationError
from seqgraft.families.activations import activation
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.family import Family, Half, Whole
from seqgraft.families.naming import Names, Rule, rename
from seqgraft.spec import Attention, Buckets, FeedForward, Head, Layer, Norm, Stack


class T5LikeConfig(PretrainedConfig):
    """The fields that all three have, with T5's defaults."""

    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "num_layers",
        "head_dim": "d_kv",
    }

    vocab_size: int = 32128
    d_model: int = 512
    d_kv: int = 64
    d_ff: int = 2048
    num_layers: int = 6
    num_decoder_layers: int | None = None
    num_heads: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    dropout_rate: float = 0.1
    layer_norm_epsilon: float = 1e-6
    initializer_factor: float = 1.0
    feed_forward_proj: str = "relu"
    dense_act_fn: str = "relu"
    is_gated_act: bool = False
    is_encoder_decoder: bool = True
    use_cache: bool = True
    pad_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 1
    classifier_dropout: float = 0.0

    def _check(self) -> None:
        *gated, name = str(self.feed_forward_proj).split("-")
        if gated not in ([], ["gated"]):
            raise ConfigurationError(
                f"`feed_forward_proj` must be an activation, or 'gated-' and an activation, but is "
                f"{self.feed_forward_proj!r}."
            )
        self.is_gated_act = bool(gated)
        self.dense_act_fn = "gelu_new" if self.feed_forward_proj == "gated-gelu" else name
        self.num_decoder_layers = self.num_layers if self.num_decoder_layers is None else self.num_decoder_layers

    one_bias: ClassVar[bool] = True
    """Whether all layers share one table of distances."""

    @property
    def scales_logits(self) -> bool:
        """Whether the states are divided by the root of their width before the output table."""
        return self.tie_word_embeddings


class T5Config(T5LikeConfig):
    """T5's configuration; the defaults are those of `t5-small`.

    Version 1.1 has tie_word_embeddings False in its files, which means an output table of its own and logits that are
    not scaled; files written since say the latter in `scale_decoder_outputs`, and leave the former to the tensors.
    """

    model_type = "t5"

    scale_decoder_outputs: bool = True

    def _modernise(self, fields: dict[str, Any]) -> dict[str, Any]:
        fields = super()._modernise(fields)
        if fields.get("tie_word_embeddings") is False:
            fields.setdefault("scale_decoder_outputs", False)
        return fields

    @property
    def scales_logits(self) -> bool:
        """As the field says."""
        return self.scale_decoder_outputs


class MT5Config(T5LikeConfig):
    """mT5's configuration; the defaults are those of `mt5-small`. Its logits are never scaled."""

    model_type = "mt5"

    vocab_size: int = 250112
    d_ff: int = 1024
    num_layers: int = 8
    num_heads: int = 6
    feed_forward_proj: str = "gated-gelu"
    decoder_start_token_id: int | None = 0

    @property
    def scales_logits(self) -> bool:
        """Never."""
        return False


class UMT5Config(T5LikeConfig):
    """umT5's configuration; the defaults are those of `umt5-small`. Every layer has a table of distances of its own."""

    model_type = "umt5"
    one_bias = False

    vocab_size: int = 250112
    d_ff: int = 1024
    num_layers: int = 8
    num_heads: int = 6
    feed_forward_proj: str = "gated-gelu"
    decoder_start_token_id: int | None = 0


def _stack(config: Any, side: Literal["encoder", "decoder"]) -> Stack:
    buckets = Buckets(config.relative_attention_num_buckets, config.relative_attention_max_distance)
    drop = config.dropout_rate
    cross = Attention(config.num_heads, config.num_heads, config.d_kv, scale=1.0, dropout=drop)
    memory = config.cross_attention_hidden_size or config.d_model
    layer = Layer(
        cross if config.one_bias else replace(cross, buckets=buckets),
        FeedForward(config.d_ff, activation(config.dense_act_fn), config.is_gated_act, bias=False, dropout=drop),
        Norm("rms", config.layer_norm_epsilon, bias=False),
        order="pre",
        cross_attention=replace(cross, memory_width=memory) if side == "decoder" else None,
        dropout=drop,
    )
    return Stack(
        width=config.d_model,
        vocabulary=config.vocab_size,
        layers=(layer,) * (config.num_layers if side == "encoder" else config.num_decoder_layers),
        causal=side == "decoder",
        embed_dropout=drop,
        position_bias=buckets if config.one_bias else None,
        final_norm=layer.norm,
        final_dropout=drop,
        deviation=config.initializer_factor * config.d_model**-0.5,
    )


def encoder(config: T5LikeConfig) -> Stack:
    """The encoder half."""
    return _stack(config, "encoder")


def decoder(config: T5LikeConfig) -> Stack:
    """The decoder half with its cross-attention and a head."""
    scale = config.d_model**-0.5 if config.scales_logits else 1.0
    return replace(_stack(config, "decoder"), head=Head(config.output_tied, scale=scale))


def _rules(config: Any, side: Literal["encoder", "decoder"]) -> tuple[Rule, ...]:
    at, ours = f"{side}.block.{{i}}.layer", "layers.{i}"
    blocks = [("0.SelfAttention", "self_attention", "0")]
    if side == "decoder":
        blocks.append(("1.EncDecAttention", "cross_attention", "1"))
    last = len(blocks)
    found = [rename("shared", "embed"), rename(f"{side}.final_layer_norm", "final_norm")]
    for theirs, block, number in blocks:
        for their, our in (("q", "query"), ("k", "key"), ("v", "value"), ("o", "output")):
            found.append(rename(f"{at}.{theirs}.{their}", f"{ours}.{block}.{our}"))
        found.append(rename(f"{at}.{number}.layer_norm", f"{ours}.{block}_norm"))
    bias = "SelfAttention.relative_attention_bias"
    forward = f"{at}.{last}.DenseReluDense"
    return (
        *found,
        rename(f"{side}.block.0.layer.0.{bias}", "position_bias"),
        rename(f"{at}.0.{bias}", f"{ours}.self_attention.position_bias"),
        rename(f"{forward}.wi_0", f"{ours}.feed_forward.gate"),
        rename(f"{forward}.{'wi_1' if config.is_gated_act else 'wi'}", f"{ours}.feed_forward.up"),
        rename(f"{forward}.wo", f"{ours}.feed_forward.down"),
        rename(f"{at}.{last}.layer_norm", f"{ours}.feed_forward_norm"),
    )


_OTHER = (r"\.EncDecAttention\.relative_attention_bias\.weight$", r"^classification_head\.", r"^classifier\.")


def encoder_names(config: T5LikeConfig) -> Names:
    """In the whole's own file, or alone."""
    return Names(
        _rules(config, "encoder"),
        dropped=(r"^decoder\.", r"^lm_head\.", *_OTHER),
        ties=(("encoder.embed_tokens.weight", "shared.weight"),),
    )


def decoder_names(config: T5LikeConfig) -> Names:
    """In the whole's own file, or alone."""
    ties = [("decoder.embed_tokens.weight", "shared.weight")]
    if config.output_tied:
        ties.append(("lm_head.weight", "shared.weight"))
    head = rename("lm_head", "head.output", outside=True)
    return Names((*_rules(config, "decoder"), head), dropped=(r"^encoder\.", *_OTHER), ties=tuple(ties))


_WHOLE = Whole(table=lambda config: "shared.weight")
_HALVES = Half(encoder, encoder_names), Half(decoder, decoder_names)

FAMILIES = tuple(
    Family(config, *_HALVES, whole=_WHOLE, output_table="lm_head.weight")
    for config in (T5Config, MT5Config, UMT5Config)
)
