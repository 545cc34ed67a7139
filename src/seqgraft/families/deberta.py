"""DeBERTa (He et al. 2021), and versions 2 and 3 (He et al. 2021b): BERT with disentangled attention."""

from dataclasses import replace
from typing import Any

from seqgraft.errors import ConfigurationError
from seqgraft.families import bert
from seqgraft.families.activations import activation
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, Rule, rename, stacked, tensor
from seqgraft.spec import Convolution, Disentangled, Distances, Norm, Stack

_KINDS = ("c2p", "p2c")


class DebertaConfig(bert.BertConfig):
    """DeBERTa's configuration; the defaults are those of `deberta-base`."""

    model_type = "deberta"

    vocab_size: int = 50265
    type_vocab_size: int = 0
    layer_norm_eps: float = 1e-7
    relative_attention: bool = False
    max_relative_positions: int = -1
    position_biased_input: bool = True
    pos_att_type: list[str] | None = None
    pooler_hidden_size: int | None = None
    pooler_dropout: float = 0.0
    pooler_hidden_act: str = "gelu"
    legacy: bool = True

    def _modernise(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Files of old name the kinds of scores in one string."""
        fields = super()._modernise(fields)
        if isinstance(fields.get("pos_att_type"), str):
            fields["pos_att_type"] = [kind.strip() for kind in fields["pos_att_type"].lower().split("|")]
        return fields

    def _knows(self, name: str) -> bool:
        return name in _SAID_AT_TIMES or super()._knows(name)

    def _check(self) -> None:
        super()._check()
        if self.pooler_hidden_size is None:
            self.pooler_hidden_size = self.hidden_size
        kinds = self.pos_att_type or []
        if set(kinds) - set(_KINDS) or len(set(kinds)) != len(kinds):
            raise ConfigurationError(f"`pos_att_type` must name some of {', '.join(_KINDS)}, but is {kinds}.")
        if self.relative_attention and not kinds:
            raise ConfigurationError("`pos_att_type` must name 'c2p' or 'p2c' where `relative_attention` is on.")
        for name, plain in _SAID_AT_TIMES.items():
            if plain is not None and self.said(name, plain[0]) not in plain:
                raise ConfigurationError(
                    f"`{name}` must be {plain[0]!r}: nothing else is supported, but is {self.said(name)!r}."
                )
        width = self.hidden_size
        for name, must in (("embedding_size", width), ("attention_head_size", width // self.num_attention_heads)):
            if self.said(name, must) != must:
                raise ConfigurationError(
                    f"`{name}` must be {must}: nothing else is supported, but is {self.said(name)}."
                )

    def said(self, name: str, otherwise: Any = None) -> Any:
        """A field that only some files have."""
        return self.__dict__.get(name, otherwise)

    @property
    def longest_distance(self) -> int:
        """The distance from which all are alike."""
        return self.max_relative_positions if self.max_relative_positions > 0 else self.max_position_embeddings


class DebertaV2Config(DebertaConfig):
    """The configuration of DeBERTa's versions 2 and 3."""

    model_type = "deberta-v2"

    vocab_size: int = 128100
    hidden_size: int = 1536
    num_hidden_layers: int = 24
    num_attention_heads: int = 24
    intermediate_size: int = 6144

    def _knows(self, name: str) -> bool:
        return name in _SAID_AT_TIMES_V2 or super()._knows(name)


_SAID_AT_TIMES: dict[str, tuple[Any, ...] | None] = {
    "talking_head": (False,),
    "embedding_size": None,
    "attention_head_size": None,
}
"""Fields that no class publishes and some files have -> the values that are supported; None means any."""

_SAID_AT_TIMES_V2 = (
    "position_buckets",
    "share_att_key",
    "norm_rel_ebd",
    "conv_kernel_size",
    "conv_act",
    "conv_groups",
)
"""Fields of the later versions that no class publishes."""


def encoder(config: DebertaConfig) -> Stack:
    """BERT's body, whose scores are divided among what enters them, and whose first version has no biases of keys."""
    plain, kinds = bert.encoder(config), config.pos_att_type or []
    later = isinstance(config, DebertaV2Config)
    own = plain.layers[0].self_attention
    tangled = (
        Disentangled(
            content_to_position="c2p" in kinds,
            position_to_content="p2c" in kinds,
            shared=later and bool(config.said("share_att_key", False)),
            key_bias=later,
            dropout=config.hidden_dropout_prob,
        )
        if config.relative_attention
        else None
    )
    own = replace(
        own,
        scale=(own.head_width * (1 + len(kinds))) ** -0.5,
        key_bias=None if later else False,
        disentangled=tangled,
    )
    layer = replace(plain.layers[0], self_attention=own, cross_attention=None)
    norms = later and "layer_norm" in config.said("norm_rel_ebd", "none").lower()
    return replace(
        plain,
        layers=(layer,) * config.num_hidden_layers,
        causal=False,
        positions=plain.positions if config.position_biased_input else None,
        convolution=_convolution(config) if later else None,
        distances=_distances(config) if config.relative_attention else None,
        distances_norm=Norm("layer", config.layer_norm_eps) if norms and config.relative_attention else None,
    )


def _convolution(config: DebertaConfig) -> Convolution | None:
    """Version 2's largest models mix neighbouring tokens beside the first layer."""
    kernel = config.said("conv_kernel_size", 0)
    if kernel <= 0:
        return None
    kind = activation(config.said("conv_act", "tanh"))
    return Convolution(kernel, kind, config.said("conv_groups", 1), config.hidden_dropout_prob)


def _distances(config: DebertaConfig) -> Distances:
    buckets = config.said("position_buckets", -1) if isinstance(config, DebertaV2Config) else -1
    longest = config.longest_distance
    return Distances(buckets, longest) if buckets > 0 else Distances(longest)


_AT, _OURS = "encoder.layer.{i}.attention.self", "layers.{i}.self_attention"
_PARTS = ("query", "key", "value")


def _attention_rules(config: DebertaConfig) -> tuple[Rule, ...]:
    """The first version keeps each head's query, key and value together, and two biases by themselves."""
    if isinstance(config, DebertaV2Config):
        own = tuple(rename(f"{_AT}.{part}_proj", f"{_OURS}.{part}") for part in _PARTS)
        apart = (("pos_key_proj", "key"), ("pos_query_proj", "query"))
    else:
        own = (
            stacked(f"{_AT}.in_proj", *(f"{_OURS}.{part}" for part in _PARTS), blocks=config.num_attention_heads),
            tensor(f"{_AT}.q_bias", f"{_OURS}.query.bias"),
            tensor(f"{_AT}.v_bias", f"{_OURS}.value.bias"),
        )
        apart = (("pos_proj", "key"), ("pos_q_proj", "query"))
    return (*own, *(rename(f"{_AT}.{theirs}", f"{_OURS}.disentangled.{ours}") for theirs, ours in apart))


def encoder_names(config: DebertaConfig) -> Names:
    """The bare body. Files without positions in their embeddings may hold a table of them all the same."""
    rest = (rule for rule in bert.body_rules() if not rule.theirs.startswith(f"{_AT}."))
    tables = (rename("encoder.rel_embeddings", "distances"), rename("encoder.LayerNorm", "distances_norm"))
    beside = (rename("encoder.conv.conv", "convolution"), rename("encoder.conv.LayerNorm", "convolution_norm"))
    return Names(
        (*_attention_rules(config), *rest, *tables, *beside),
        prefix="deberta.",
        dropped=(
            r"position_ids$",
            r"^cls\.",
            r"^(lm|mask)_predictions\.",
            r"^pooler\.",
            r"^classifier\.",
            r"^qa_outputs\.",
        ),
        carried=(r"^embeddings\.position_embeddings\.",),
    )


_ENCODER = Half(encoder, encoder_names)

FAMILIES = (Family(DebertaConfig, _ENCODER, None), Family(DebertaV2Config, _ENCODER, None))
