"""BERT's body with tables of inputs that a text does not have (ERNIE, LayoutLM), or with another name (Splinter)."""

from dataclasses import replace

from seqgraft.families import bert
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, rename
from seqgraft.spec import Constant, Stack


class ErnieConfig(bert.BertConfig):
    """ERNIE's configuration (Sun et al. 2020); without `task_type_ids` every token's task is the first one."""

    model_type = "ernie"

    task_type_vocab_size: int = 3
    use_task_id: bool = False


class LayoutLMConfig(bert.BertConfig):
    """LayoutLM's configuration (Xu et al. 2020); without `bbox` every token stands at the page's origin."""

    model_type = "layoutlm"

    max_2d_position_embeddings: int = 1024


class SplinterConfig(bert.BertConfig):
    """Splinter's configuration (Ram et al. 2021)."""

    model_type = "splinter"

    question_token_id: int = 104


def _constants(config: bert.BertConfig) -> tuple[Constant, ...]:
    if isinstance(config, ErnieConfig):
        task = Constant("task_types", config.task_type_vocab_size, given="task_type_ids")
        return (task,) if config.use_task_id else ()
    if isinstance(config, LayoutLMConfig):  # left and right are looked up in one table, and so are top and bottom
        rows = config.max_2d_position_embeddings
        read = {"x": ((0,), (2,)), "y": ((1,), (3,)), "h": ((3, 1),), "w": ((2, 0),)}
        return tuple(Constant(name, rows, len(of), "bbox", of) for name, of in read.items())
    return ()


def encoder(config: bert.BertConfig) -> Stack:
    """BERT's body and the first rows of the further tables."""
    return replace(bert.encoder(config), constants=_constants(config))


def decoder(config: bert.BertConfig) -> Stack:
    """The body with the masked-language-model head."""
    return replace(bert.decoder(config), constants=_constants(config))


_TABLES = (
    rename("embeddings.task_type_embeddings", "constants.task_types"),
    *(rename(f"embeddings.{axis}_position_embeddings", f"constants.{axis}") for axis in "xyhw"),
)


def encoder_names(config: bert.BertConfig) -> Names:
    """BERT's, after another prefix."""
    plain = bert.encoder_names(config)
    dropped = (*plain.dropped, r"^splinter_qass\.")
    return replace(plain, rules=(*plain.rules, *_TABLES), prefix=f"{config.model_type}.", dropped=dropped)


def decoder_names(config: bert.BertConfig) -> Names:
    """BERT's, after another prefix."""
    plain, prefix = bert.decoder_names(config), f"{config.model_type}."
    ties = bert.output_ties(config, "cls.predictions", prefix)
    return replace(plain, rules=(*plain.rules, *_TABLES), prefix=prefix, ties=ties)


_ENCODER = Half(encoder, encoder_names)

FAMILIES = (
    Family(ErnieConfig, _ENCODER, Half(decoder, decoder_names), pooled=True),
    Family(LayoutLMConfig, _ENCODER, None, pooled=True),
    Family(SplinterConfig, _ENCODER, None),
)
