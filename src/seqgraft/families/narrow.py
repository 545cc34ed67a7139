"""BERT's body behind a narrow table of embeddings: ELECTRA, RemBERT, and RoFormer, whose positions are rotary."""

from dataclasses import replace

from seqgraft.families import bert
from seqgraft.families.activations import activation
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, rename
from seqgraft.spec import Head, Narrow, Norm, Rotary, Stack, Transform


class ElectraConfig(bert.BertConfig):
    """ELECTRA's configuration (Clark et al. 2020), of its generators and its discriminators."""

    model_type = "electra"

    embedding_size: int = 128
    hidden_size: int = 256
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    summary_type: str = "first"
    summary_use_proj: bool = True
    summary_activation: str = "gelu"
    summary_last_dropout: float = 0.1


class RemBertConfig(bert.BertConfig):
    """RemBERT's configuration (Chung et al. 2021); its output table is another than its input table, and wider."""

    model_type = "rembert"

    vocab_size: int = 250300
    hidden_size: int = 1152
    num_hidden_layers: int = 32
    num_attention_heads: int = 18
    input_embedding_size: int = 256
    output_embedding_size: int = 1664
    intermediate_size: int = 4608
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    classifier_dropout_prob: float = 0.1
    bos_token_id: int | None = 312
    eos_token_id: int | list[int] | None = 313
    tie_word_embeddings: bool = False


class RoFormerConfig(bert.BertConfig):
    """RoFormer's configuration (Su et al. 2021)."""

    model_type = "roformer"

    vocab_size: int = 50000
    embedding_size: int | None = None
    max_position_embeddings: int = 1536
    rotary_value: bool = False

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        if self.embedding_size is None:
            self.embedding_size = self.hidden_size


def _narrow(config: bert.BertConfig, width: int | None, *, always: bool = False) -> Narrow | None:
    return Narrow(width) if width is not None and (always or width != config.hidden_size) else None


def _head(config: bert.BertConfig, name: str, width: int | None, *, tied: bool) -> Head:
    norm = Norm("layer", config.layer_norm_eps)
    return Head(tied, bias=True, transform=Transform(activation(name), norm, width))


def electra_encoder(config: ElectraConfig) -> Stack:
    """BERT's body behind a table of `embedding_size`."""
    return replace(bert.encoder(config), narrow=_narrow(config, config.embedding_size))


def electra_decoder(config: ElectraConfig) -> Stack:
    """The body with the generator's head, whose activation is always the exact GELU."""
    head = _head(config, "gelu", config.embedding_size, tied=config.tie_word_embeddings)
    return replace(electra_encoder(config), head=head)


def rembert_encoder(config: RemBertConfig) -> Stack:
    """BERT's body behind a table of `input_embedding_size`, with a map between at any size."""
    return replace(bert.encoder(config), narrow=_narrow(config, config.input_embedding_size, always=True))


def rembert_decoder(config: RemBertConfig) -> Stack:
    """The body with its head, which the reference never ties, whatever `tie_word_embeddings` says."""
    head = _head(config, config.hidden_act, config.output_embedding_size, tied=False)
    return replace(rembert_encoder(config), head=head)


def roformer_encoder(config: RoFormerConfig) -> Stack:
    """BERT's body whose queries and keys turn, each number against its neighbour; its length has no bound."""
    plain, turn = bert.encoder(config), Rotary(10000.0, layout="pairs", values=config.rotary_value)
    layers = tuple(replace(layer, self_attention=replace(layer.self_attention, rotary=turn)) for layer in plain.layers)
    return replace(plain, layers=layers, positions=None, narrow=_narrow(config, config.embedding_size))


def roformer_decoder(config: RoFormerConfig) -> Stack:
    """The body with BERT's head at the table's width."""
    head = _head(config, config.hidden_act, config.embedding_size, tied=config.tie_word_embeddings)
    return replace(roformer_encoder(config), head=head)


_WIDEN = {
    "electra": rename("embeddings_project", "widen"),
    "rembert": rename("encoder.embedding_hidden_mapping_in", "widen"),
    "roformer": rename("embeddings_project", "widen"),
}
_SINES = r"^encoder\.embed_positions\."
"""RoFormer's file keeps the sines that its positions are made of."""


def encoder_names(config: bert.BertConfig) -> Names:
    """BERT's, and the map."""
    plain = bert.encoder_names(config)
    return replace(
        plain,
        rules=(*plain.rules, _WIDEN[config.model_type]),
        prefix=f"{config.model_type}.",
        dropped=(*plain.dropped, r"^(generator|discriminator)_", r"^classifier\."),
        carried=(*plain.carried, _SINES),
    )


def electra_decoder_names(config: ElectraConfig) -> Names:
    """The body and the generator's head."""
    names = encoder_names(config)
    head = (
        rename("generator_predictions.dense", "head.dense", outside=True),
        rename("generator_predictions.LayerNorm", "head.norm", outside=True),
        rename("generator_lm_head", "head.output", outside=True),
    )
    owner = "electra.embeddings.word_embeddings.weight"
    ties = (("generator_lm_head.weight", owner),) if config.tie_word_embeddings else ()
    dropped = (r"position_ids$", r"^discriminator_predictions\.")
    return replace(names, rules=(*names.rules, *head), dropped=dropped, ties=ties)


def rembert_decoder_names(config: RemBertConfig) -> Names:
    """The body and its head, which has neither a part named `transform` nor a second bias."""
    names = encoder_names(config)
    head = (
        rename("cls.predictions.dense", "head.dense", outside=True),
        rename("cls.predictions.LayerNorm", "head.norm", outside=True),
        rename("cls.predictions.decoder", "head.output", outside=True),
    )
    dropped = (r"position_ids$", r"^cls\.seq_relationship\.", r"^pooler\.")
    return replace(names, rules=(*names.rules, *head), dropped=dropped, carried=())


def roformer_decoder_names(config: RoFormerConfig) -> Names:
    """BERT's, and the map."""
    plain = bert.decoder_names(config)
    return replace(
        plain,
        rules=(*plain.rules, _WIDEN["roformer"]),
        prefix="roformer.",
        carried=(*plain.carried, _SINES),
        ties=bert.output_ties(config, "cls.predictions", "roformer."),
    )


FAMILIES = (
    Family(ElectraConfig, Half(electra_encoder, encoder_names), Half(electra_decoder, electra_decoder_names)),
    Family(
        RemBertConfig,
        Half(rembert_encoder, encoder_names),
        Half(rembert_decoder, rembert_decoder_names),
        pooled=True,
    ),
    Family(RoFormerConfig, Half(roformer_encoder, encoder_names), Half(roformer_decoder, roformer_decoder_names)),
)
