"""MPNet (Song et al. 2020): BERT without token types, whose layers share one bias by distance."""

from dataclasses import replace

from seqgraft.errors import ConfigurationError
from seqgraft.families import roberta
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, Rule, rename
from seqgraft.spec import Buckets, Stack

_BUCKETS = 32


class MPNetConfig(roberta.RobertaConfig):
    """MPNet's configuration."""

    model_type = "mpnet"

    vocab_size: int = 30527
    relative_attention_num_buckets: int = _BUCKETS

    def _check(self) -> None:
        super()._check()
        if self.relative_attention_num_buckets != _BUCKETS:
            raise ConfigurationError(
                f"`relative_attention_num_buckets` must be {_BUCKETS}, which the published code counts on, "
                f"but is {self.relative_attention_num_buckets}."
            )


def encoder(config: MPNetConfig) -> Stack:
    """RoBERTa's body with a bias on the scores."""
    return replace(roberta.encoder(config), token_types=0, position_bias=Buckets(_BUCKETS, 128))


def _rules() -> tuple[Rule, ...]:
    at, ours = "encoder.layer.{i}", "layers.{i}"
    parts = (("q", "query"), ("k", "key"), ("v", "value"), ("o", "output"))
    return (
        rename("embeddings.word_embeddings", "embed"),
        rename("embeddings.position_embeddings", "positions"),
        rename("embeddings.LayerNorm", "embed_norm"),
        rename("encoder.relative_attention_bias", "position_bias"),
        *(rename(f"{at}.attention.attn.{their}", f"{ours}.self_attention.{our}") for their, our in parts),
        rename(f"{at}.attention.LayerNorm", f"{ours}.self_attention_norm"),
        rename(f"{at}.intermediate.dense", f"{ours}.feed_forward.up"),
        rename(f"{at}.output.dense", f"{ours}.feed_forward.down"),
        rename(f"{at}.output.LayerNorm", f"{ours}.feed_forward_norm"),
    )


def encoder_names(config: MPNetConfig) -> Names:
    """The bare body; heads of any kind in the file are no part of it."""
    dropped = (r"position_ids$", r"^lm_head\.", r"^classifier\.", r"^qa_outputs\.")
    return Names(_rules(), prefix="mpnet.", dropped=dropped, carried=(r"^pooler\.",))


FAMILY = Family(MPNetConfig, Half(encoder, encoder_names), None, pooled=True)
