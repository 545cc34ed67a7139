"""RoBERTa (Liu et al. 2019), and XLM-RoBERTa and CamemBERT, which differ in their vocabularies alone."""

from dataclasses import replace

from seqgraft.families import bert
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, rename, tensor
from seqgraft.spec import Head, Norm, Positions, Stack, Transform


class RobertaConfig(bert.BertConfig):
    """RoBERTa's configuration."""

    model_type = "roberta"

    vocab_size: int = 50265
    pad_token_id: int | None = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list[int] | None = 2


class XLMRobertaConfig(RobertaConfig):
    """XLM-RoBERTa's configuration (Conneau et al. 2020)."""

    model_type = "xlm-roberta"

    vocab_size: int = 30522


class CamembertConfig(RobertaConfig):
    """CamemBERT's configuration (Martin et al. 2020)."""

    model_type = "camembert"

    vocab_size: int = 30522


def encoder(config: RobertaConfig) -> Stack:
    """BERT's body, whose positions count real tokens from the row after the padding's."""
    pad = config.pad_token_id if config.pad_token_id is not None else 1
    return replace(bert.encoder(config), positions=Positions(config.max_position_embeddings, pad + 1, "real"))


def decoder(config: RobertaConfig) -> Stack:
    """The body with the masked-language-model head, whose activation is always the exact GELU."""
    transform = Transform("gelu", Norm("layer", config.layer_norm_eps))
    return replace(encoder(config), head=Head(config.tie_word_embeddings, bias=True, transform=transform))


_HEAD = (
    rename("lm_head.dense", "head.dense", outside=True),
    rename("lm_head.layer_norm", "head.norm", outside=True),
    tensor("lm_head.decoder.weight", "head.output.weight", outside=True),
)


def encoder_names(config: RobertaConfig) -> Names:
    """The bare body; heads of any kind in the file are no part of it."""
    return Names(
        bert.body_rules(),
        prefix="roberta.",
        dropped=(r"position_ids$", r"^lm_head\.", r"^classifier\.", r"\.crossattention\."),
        carried=(r"^pooler\.",),
    )


def decoder_names(config: RobertaConfig) -> Names:
    """The body and its language-model head."""
    return Names(
        (*bert.body_rules(), *_HEAD, bert.output_bias(config, "lm_head")),
        prefix="roberta.",
        dropped=(r"position_ids$", r"^pooler\.", r"^classifier\."),
        carried=() if config.tie_word_embeddings else (r"^lm_head\.bias$",),
        ties=bert.output_ties(config, "lm_head", "roberta."),
    )


_ENCODER, _DECODER = Half(encoder, encoder_names), Half(decoder, decoder_names)

FAMILIES = (
    Family(RobertaConfig, _ENCODER, _DECODER, pooled=True),
    Family(XLMRobertaConfig, _ENCODER, _DECODER, pooled=True),
    Family(CamembertConfig, _ENCODER, _DECODER, pooled=True),
)
