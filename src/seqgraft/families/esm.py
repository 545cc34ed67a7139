"""ESM-1b and ESM-2 (Rives et al. 2021, Lin et al. 2022): encoders of proteins."""

from dataclasses import replace
from typing import Any

from seqgraft.errors import ConfigurationError
from seqgraft.families import bert
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, rename
from seqgraft.spec import FeedForward, Norm, Positions, Rotary, Stack, TokenDropout

_RATE = 0.15 * 0.8
"""Of masked tokens in the training of all published models."""


class EsmConfig(bert.BertConfig):
    """ESM's configuration."""

    model_type = "esm"

    vocab_size: int | None = None  # type: ignore[assignment]
    mask_token_id: int | None = None
    pad_token_id: int | None = None
    max_position_embeddings: int = 1026
    rope_theta: float = 10000.0
    position_embedding_type: str = "absolute"
    emb_layer_norm_before: bool | None = None
    token_dropout: bool | None = False
    is_folding_model: bool | None = False
    esmfold_config: dict[str, Any] | None = None
    vocab_list: list[str] | None = None
    eos_token_id: int | list[int] | None = 2

    def _check(self) -> None:
        if self.position_embedding_type not in ("absolute", "rotary"):
            raise ConfigurationError(
                f"`position_embedding_type` must be 'absolute' or 'rotary', but is {self.position_embedding_type!r}."
            )
        if self.is_folding_model:
            raise ConfigurationError("`is_folding_model` must be False: structures are not supported, but is True.")
        if self.token_dropout and self.mask_token_id is None:
            raise ConfigurationError("`mask_token_id` must be set where `token_dropout` is, but is None.")


def encoder(config: EsmConfig) -> Stack:
    """The body, pre-norm; of the embeddings nothing is dropped but the mask token, which then is nothing at all."""
    plain, norm = bert.encoder(config), Norm("layer", config.layer_norm_eps)
    rotary = Rotary(config.rope_theta) if config.position_embedding_type == "rotary" else None
    pad = config.pad_token_id if config.pad_token_id is not None else 1
    own = replace(plain.layers[0].self_attention, rotary=rotary)
    forward = FeedForward(config.intermediate_size, "gelu")
    layer = replace(plain.layers[0], self_attention=own, feed_forward=forward, order="pre")
    drops = config.token_dropout and config.mask_token_id is not None
    return replace(
        plain,
        layers=(layer,) * config.num_hidden_layers,
        token_types=0,
        token_dropout=TokenDropout(config.mask_token_id or 0, _RATE) if drops else None,
        positions=None if rotary else Positions(config.max_position_embeddings, pad + 1, "real"),
        embed_norm=norm if config.emb_layer_norm_before else None,
        embed_dropout=0.0,
        final_norm=norm,
    )


def encoder_names(config: EsmConfig) -> Names:
    """The bare body. Rotary files hold a table of positions all the same, and angles; all hold a head for contacts."""
    at = "encoder.layer.{i}"
    rules = (
        rename("embeddings.word_embeddings", "embed"),
        rename("embeddings.position_embeddings", "positions"),
        rename("embeddings.layer_norm", "embed_norm"),
        *(rename(f"{at}.attention.self.{part}", f"layers.{{i}}.self_attention.{part}") for part in _PROJECTIONS),
        rename(f"{at}.attention.output.dense", "layers.{i}.self_attention.output"),
        rename(f"{at}.attention.LayerNorm", "layers.{i}.self_attention_norm"),
        rename(f"{at}.intermediate.dense", "layers.{i}.feed_forward.up"),
        rename(f"{at}.output.dense", "layers.{i}.feed_forward.down"),
        rename(f"{at}.LayerNorm", "layers.{i}.feed_forward_norm"),
        rename("encoder.emb_layer_norm_after", "final_norm"),
    )
    dropped = (r"position_ids$", r"^lm_head\.", r"^classifier\.", r"\.crossattention\.")
    carried = (r"^pooler\.", r"^contact_head\.", r"^embeddings\.position_embeddings\.", r"\.inv_freq$")
    return Names(rules, prefix="esm.", dropped=dropped, carried=carried)


_PROJECTIONS = ("query", "key", "value")

FAMILY = Family(EsmConfig, Half(encoder, encoder_names), None, pooled=True)
