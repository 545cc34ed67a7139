"""RoCBert (Su et al. 2022): BERT whose characters have a shape and a sound, which a text's ids do not say."""

from dataclasses import replace

from seqgraft.families import bert
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, Rule, rename
from seqgraft.spec import Constant, Narrow, Stack


class RoCBertConfig(bert.BertConfig):
    """RoCBert's configuration; a character whose ids are not given has the first shape and the first sound."""

    model_type = "roc_bert"

    enable_pronunciation: bool = True
    enable_shape: bool = True
    pronunciation_embed_dim: int = 768
    pronunciation_vocab_size: int = 910
    shape_embed_dim: int = 512
    shape_vocab_size: int = 24858
    concat_input: bool = True


def _joined(config: RoCBertConfig) -> tuple[Constant, ...]:
    shape = Constant("shape", config.shape_vocab_size, given="input_shape_ids", width=config.shape_embed_dim)
    rows, width = config.pronunciation_vocab_size, config.pronunciation_embed_dim
    sound = Constant("pronunciation", rows, given="input_pronunciation_ids", width=width)
    return (shape,) * config.enable_shape + (sound,) * config.enable_pronunciation


def _with_inputs(stack: Stack, config: RoCBertConfig) -> Stack:
    """Joined to the embeddings and mapped; added only where ids say them, which is never here."""
    if not config.concat_input:
        return stack
    return replace(stack, constants=_joined(config), narrow=Narrow(config.hidden_size, sums="wide"))


def encoder(config: RoCBertConfig) -> Stack:
    """BERT's body behind its inputs."""
    return _with_inputs(bert.encoder(config), config)


def decoder(config: RoCBertConfig) -> Stack:
    """The body with BERT's head."""
    return _with_inputs(bert.decoder(config), config)


_RULES: tuple[Rule, ...] = (
    rename("embeddings.map_inputs_layer", "widen"),
    rename("embeddings.shape_embed", "constants.shape"),
    rename("embeddings.pronunciation_embed", "constants.pronunciation"),
)
_IDLE = r"^embeddings\.(shape|pronunciation)_embed\."
"""The tables stand in the file even where nothing reads them."""


def encoder_names(config: RoCBertConfig) -> Names:
    """BERT's, and the further inputs."""
    plain = bert.encoder_names(config)
    rules, carried = (*plain.rules, *_RULES), (*plain.carried, _IDLE)
    return replace(plain, rules=rules, prefix="roc_bert.", carried=carried)


def decoder_names(config: RoCBertConfig) -> Names:
    """BERT's, and the further inputs."""
    plain = bert.decoder_names(config)
    rules, carried = (*plain.rules, *_RULES), (*plain.carried, _IDLE)
    ties = bert.output_ties(config, "cls.predictions", "roc_bert.")
    return replace(plain, rules=rules, prefix="roc_bert.", carried=carried, ties=ties)


FAMILY = Family(RoCBertConfig, Half(encoder, encoder_names), Half(decoder, decoder_names), pooled=True)
