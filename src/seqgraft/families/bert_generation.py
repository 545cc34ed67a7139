"""BERT for generation (Rothe et al. 2020): no token types, no pooler, and a head that is the table alone."""

from dataclasses import replace

from seqgraft.families import bert
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, tensor
from seqgraft.spec import Head, Stack


class BertGenerationConfig(bert.BertConfig):
    """The configuration; the defaults are those of `google/bert_for_seq_generation_L-24_bbc_encoder`."""

    model_type = "bert-generation"

    vocab_size: int = 50358
    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    intermediate_size: int = 4096
    type_vocab_size: int = 0
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 1


def encoder(config: BertGenerationConfig) -> Stack:
    """BERT's body without token types."""
    return replace(bert.encoder(config), token_types=0)


def decoder(config: BertGenerationConfig) -> Stack:
    """The body with a head that is a table and a bias."""
    return replace(encoder(config), head=Head(config.tie_word_embeddings, bias=True))


def encoder_names(config: BertGenerationConfig) -> Names:
    """The bare body."""
    dropped = (r"position_ids$", r"^lm_head\.", r"\.crossattention\.", r"^pooler\.")
    return Names(bert.body_rules(), prefix="bert.", dropped=dropped)


def decoder_names(config: BertGenerationConfig) -> Names:
    """The body and its language-model head."""
    table = tensor("lm_head.decoder.weight", "head.output.weight", outside=True)
    return Names(
        (*bert.body_rules(), table, bert.output_bias(config, "lm_head")),
        prefix="bert.",
        dropped=(r"position_ids$",),
        carried=() if config.tie_word_embeddings else (r"^lm_head\.bias$",),
        ties=bert.output_ties(config, "lm_head", "bert."),
    )


FAMILY = Family(BertGenerationConfig, Half(encoder, encoder_names), Half(decoder, decoder_names))
