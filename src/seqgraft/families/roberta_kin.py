"""RoBERTa's body under other names: data2vec for text, I-BERT in floating point, and the words of LUKE."""

from dataclasses import replace

from seqgraft.errors import ConfigurationError
from seqgraft.families import bert, roberta
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names
from seqgraft.spec import Stack


class Data2VecTextConfig(roberta.RobertaConfig):
    """data2vec's configuration for text (Baevski et al. 2022)."""

    model_type = "data2vec-text"

    vocab_size: int = 30522


class IBertConfig(roberta.RobertaConfig):
    """I-BERT's configuration (Kim et al. 2021), in its floating-point mode."""

    model_type = "ibert"

    vocab_size: int = 30522
    quant_mode: bool = False
    force_dequant: str = "none"

    def _check(self) -> None:
        super()._check()
        if self.quant_mode:
            raise ConfigurationError("`quant_mode` must be False: integer arithmetic is not supported, but is True.")


class LukeConfig(roberta.RobertaConfig):
    """LUKE's configuration (Yamada et al. 2020); texts are words without entities."""

    model_type = "luke"

    vocab_size: int = 50267
    entity_vocab_size: int = 500000
    entity_emb_size: int = 256
    use_entity_aware_attention: bool = True


def encoder(config: roberta.RobertaConfig) -> Stack:
    """RoBERTa's body: I-BERT out of its integer mode, and LUKE without entities, compute nothing else."""
    return roberta.encoder(config)


_CARRIED = {
    "data2vec-text": (),
    "ibert": (r"(_integer|_scaling_factor|\.shift|\.x_min|\.x_max)$",),
    "luke": (r"^entity_embeddings\.", r"\.(w2e|e2w|e2e)_query\."),
}
"""What stands in the file beside the body: statistics for integer arithmetic, and all that belongs to entities."""
_PREFIX = {"data2vec-text": "data2vec_text."}


def encoder_names(config: roberta.RobertaConfig) -> Names:
    """RoBERTa's, after another prefix."""
    plain = roberta.encoder_names(config)
    return replace(
        plain,
        prefix=_PREFIX.get(config.model_type, f"{config.model_type}."),
        carried=(*plain.carried, *_CARRIED[config.model_type]),
        dropped=(*plain.dropped, r"^entity_predictions\.", r"^qa_outputs\."),
    )


def decoder_names(config: roberta.RobertaConfig) -> Names:
    """RoBERTa's, after another prefix."""
    prefix = _PREFIX[config.model_type]
    ties = bert.output_ties(config, "lm_head", prefix)
    return replace(roberta.decoder_names(config), prefix=prefix, ties=ties)


_ENCODER = Half(encoder, encoder_names)

FAMILIES = (
    Family(Data2VecTextConfig, _ENCODER, Half(roberta.decoder, decoder_names), pooled=True),
    Family(IBertConfig, _ENCODER, None, pooled=True),
    Family(LukeConfig, _ENCODER, None, pooled=True),
)
