"""mBART (Liu et al. 2020) and those that, as it does, take the norm before each block and one after the last layer."""

from dataclasses import replace
from typing import Any, ClassVar

from seqgraft.families.bart_like import BartLikeConfig, Design, bart_like, counted_sines, learned, sines
from seqgraft.families.big_bird import sparse
from seqgraft.families.family import Family, Half
from seqgraft.spec import Stack


class MBartConfig(BartLikeConfig):
    """mBART's configuration; the defaults are those of `mbart-large-cc25`."""

    model_type = "mbart"
    settled: ClassVar[tuple[str, ...]] = ("normalize_before",)

    classifier_dropout: float = 0.0
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2
    forced_eos_token_id: int | list[int] | None = 2


class PegasusConfig(BartLikeConfig):
    """PEGASUS's configuration (Zhang et al. 2020); the defaults are those of `pegasus-large`."""

    model_type = "pegasus"
    settled: ClassVar[tuple[str, ...]] = ("normalize_before",)

    decoder_start_token_id: int | None = 0
    pad_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 1
    forced_eos_token_id: int | list[int] | None = 1


class M2M100Config(BartLikeConfig):
    """The configuration of M2M-100 (Fan et al. 2021) and NLLB; the defaults are those of `m2m100_418M`."""

    model_type = "m2m_100"
    settled: ClassVar[tuple[str, ...]] = ("normalize_before",)

    vocab_size: int = 128112
    encoder_layerdrop: float = 0.05
    decoder_layerdrop: float = 0.05
    activation_function: str = "relu"
    attention_dropout: float = 0.1
    scale_embedding: bool = True
    decoder_start_token_id: int | None = 2
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2


class BlenderbotConfig(BartLikeConfig):
    """Blenderbot's configuration (Roller et al. 2021); the defaults are those of `blenderbot-3B`."""

    model_type = "blenderbot"
    settled: ClassVar[tuple[str, ...]] = ("normalize_before",)

    vocab_size: int = 8008
    max_position_embeddings: int = 128
    encoder_layers: int = 2
    encoder_ffn_dim: int = 10240
    encoder_attention_heads: int = 32
    decoder_layers: int = 24
    decoder_ffn_dim: int = 10240
    decoder_attention_heads: int = 32
    d_model: int = 2560
    decoder_start_token_id: int | None = 1
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    encoder_no_repeat_ngram_size: int = 3
    forced_eos_token_id: int | list[int] | None = 2


class BigBirdPegasusConfig(BartLikeConfig):
    """BigBird-PEGASUS's configuration (Zaheer et al. 2020); the defaults are those of `bigbird-pegasus-large`."""

    model_type = "bigbird_pegasus"
    attribute_map: ClassVar[dict[str, str]] = {
        **BartLikeConfig.attribute_map,
        "attention_probs_dropout_prob": "attention_dropout",
    }

    vocab_size: int = 96103
    max_position_embeddings: int = 4096
    encoder_layers: int = 16
    decoder_layers: int = 16
    activation_function: str = "gelu_new"
    decoder_start_token_id: int | None = 2
    classifier_dropout: float = 0.0
    scale_embedding: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 1
    attention_type: str = "block_sparse"
    block_size: int = 64
    num_random_blocks: int = 3
    use_bias: bool = False


_BIGBIRD = bart_like(
    BigBirdPegasusConfig,
    Design(
        "pre",
        learned(),
        embed_norm=False,
        final_norm="layernorm_embedding",
        encoder_inner_dropout=False,
        attention_bias=lambda config: bool(config.use_bias),
        encoder_projections=("self.query", "self.key", "self.value", "output"),
    ),
)


def _bigbird_encoder(config: Any) -> Stack:
    """Attention as BigBird's, to a few blocks of a long text."""
    plain = _BIGBIRD.half("encoder").spec(config)
    layers = (replace(one, self_attention=replace(one.self_attention, sparse=sparse(config))) for one in plain.layers)
    return replace(plain, layers=tuple(layers))


FAMILIES = (
    bart_like(MBartConfig, Design("pre", learned(2), final_norm="layer_norm", wraps=True)),
    bart_like(PegasusConfig, Design("pre", sines, embed_norm=False, final_norm="layer_norm", stored_sines=True)),
    bart_like(M2M100Config, Design("pre", counted_sines, embed_norm=False, final_norm="layer_norm", logits_bias=False)),
    bart_like(BlenderbotConfig, Design("pre", learned(), embed_norm=False, final_norm="layer_norm")),
    Family(
        BigBirdPegasusConfig,
        Half(_bigbird_encoder, _BIGBIRD.half("encoder").names),
        _BIGBIRD.decoder,
        whole=_BIGBIRD.whole,
        output_table="lm_head.weight",  # the published class of a lone decoder never ties it
    ),
)
