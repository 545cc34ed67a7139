"""The configuration of a pair, and the class that finds any configuration by its model_type."""

import copy
import os
from typing import Any, ClassVar

from seqgraft import folders
from seqgraft.errors import ConfigurationError
from seqgraft.families import ALIASES, ENTRIES, family
from seqgraft.families.configuration import CONFIG_NAME, PretrainedConfig
from seqgraft.spec import Graft, Stack

SPECIAL_IDS = ("decoder_start_token_id", "pad_token_id", "bos_token_id", "eos_token_id")
"""Ids that training and generation read; a pair's own come before its decoder's."""

_OF_THE_WHOLE = ("task_specific_params", "prefix", "use_cache", "return_dict")
"""What else a published encoder-decoder's configuration says of the pair that it is."""


class ForeignConfig(PretrainedConfig):
    """Of an encoder that no family declares: how wide its states are, and what its own configuration says of ids."""

    model_type: ClassVar[str] = "foreign"

    hidden_size: int = 0
    vocab_size: int = 0
    max_position_embeddings: int | None = None


class EncoderDecoderConfig(PretrainedConfig):
    """Both halves' configurations, and what holds for the pair: special ids, ties, width of the bridge.

    The decoder half is always made a causal decoder that sees its encoder, and the encoder half always sees its
    whole source, whatever their configurations said before: a pair whose decoder ignores its encoder cannot be built.

    Args:
        encoder: a configuration, or the dictionary of one with its `model_type`.
        decoder: likewise. Both are copied.

    Raises:
        ConfigurationError: a half is missing, or the width that the cross-attention reads is not the encoder's.
    """

    model_type: ClassVar[str] = "encoder-decoder"

    is_encoder_decoder: bool = True

    encoder: PretrainedConfig
    decoder: PretrainedConfig

    def __init__(
        self,
        encoder: PretrainedConfig | dict[str, Any] | None = None,
        decoder: PretrainedConfig | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        for side, half in (("encoder", encoder), ("decoder", decoder)):
            if half is None:
                raise ConfigurationError(f"A pair must have the configurations of both halves, but has no `{side}`.")
        own = _configuration(encoder, "encoder")
        other = _configuration(decoder, "decoder")
        own.is_decoder = own.add_cross_attention = False
        if own.is_causal is None and not isinstance(own, ForeignConfig) and family(own.model_type).sees_back:
            own.is_causal = False
        other.is_decoder = other.add_cross_attention = True
        super().__init__(**kwargs)
        if self.whole is not None:
            own.whole = other.whole = self.whole
        self.encoder, self.decoder = own, other
        self._check_widths()

    def _knows(self, name: str) -> bool:
        return super()._knows(name) or name in ("encoder", "decoder", "vocab_size", "hidden_size")

    def _check_widths(self) -> None:
        width = encoder_width(self.encoder)
        grafted = family(self.decoder.model_type).grafted and Graft.read(self.decoder.graft).how != "merged"
        if self.decoder.cross_attention_hidden_size is None and grafted:
            self.decoder.cross_attention_hidden_size = width
        reads = self.decoder.cross_attention_hidden_size
        if reads is not None and reads != width:
            raise ConfigurationError(
                f"`decoder.cross_attention_hidden_size` must be the encoder's width ({width}), but is {reads}."
            )

    @property
    def bridge(self) -> tuple[int, int] | None:
        """(decoder width, encoder width) of `enc_to_dec_proj`, or None when the decoder reads the encoder's states."""
        source, target = encoder_width(self.encoder), decoder_spec(self.decoder).memory_width
        return None if source == target or target is None else (target, source)

    @property
    def wraps(self) -> bool:
        """Whether labels become decoder inputs by their last token going before the first."""
        whole = family(self.whole).whole if self.whole is not None else None
        return whole is not None and whole.wraps

    def special(self, name: str) -> Any:
        """A special id: the pair's own, else its decoder's."""
        own = getattr(self, name, None)
        return own if own is not None else getattr(self.decoder, name, None)

    def needed(self, name: str) -> int:
        """A special id that decoder inputs are made with; ConfigurationError when nobody said it."""
        value = self.special(name)
        if value is None:
            raise ConfigurationError(
                f"Decoder inputs are made of labels with `{name}`, which is not set: set `model.config.{name}`."
            )
        return int(value)

    @classmethod
    def from_encoder_decoder_configs(
        cls, encoder_config: PretrainedConfig, decoder_config: PretrainedConfig, **kwargs: Any
    ) -> "EncoderDecoderConfig":
        """A pair's configuration from its halves'."""
        return cls(encoder=encoder_config, decoder=decoder_config, **kwargs)

    @classmethod
    def from_whole(cls, config: PretrainedConfig) -> "EncoderDecoderConfig":
        """The pair that a published encoder-decoder is: both halves from its one configuration.

        Raises ConfigurationError for a family that was not published as an encoder-decoder.
        """
        if family(config.model_type).whole is None:
            raise ConfigurationError(
                f"model_type must be that of an encoder-decoder, but is '{config.model_type}': put two models "
                "together with EncoderDecoderModel.from_encoder_decoder_pretrained."
            )
        said = {name: getattr(config, name, None) for name in (*SPECIAL_IDS, *_OF_THE_WHOLE)}
        said = {name: value for name, value in said.items() if value is not None}
        made = cls(encoder=config, decoder=config, whole=config.model_type, **said)
        made.name_or_path = config.name_or_path
        return made

    @classmethod
    def of(cls, config: PretrainedConfig, whole: str | None = None) -> "EncoderDecoderConfig":
        """A copy of a pair's configuration, or what `from_whole` makes of a published encoder-decoder's.

        Raises ConfigurationError for anything else, and for what is not the `whole` that is wanted.
        """
        if isinstance(config, EncoderDecoderConfig):
            made = copy.deepcopy(config)
        elif isinstance(config, PretrainedConfig) and family(config.model_type).whole is not None:
            made = cls.from_whole(config)
        else:
            raise ConfigurationError(f"`config` must be an EncoderDecoderConfig, but is a {type(config).__name__}.")
        if whole is not None and made.whole != whole:
            raise ConfigurationError(
                f"The configuration must be that of a '{whole}', but is {made.whole or 'a pair'}'s."
            )
        return made

    def to_whole(self) -> PretrainedConfig:
        """The one configuration of a published encoder-decoder, with the special ids of the pair."""
        if self.whole is None:
            raise ConfigurationError("Two halves that were put together have no configuration of one family.")
        made = copy.deepcopy(self.decoder)
        for name in ("is_decoder", "add_cross_attention", "whole"):
            setattr(made, name, made.fields[name])
        for name in SPECIAL_IDS:
            setattr(made, name, self.special(name))
        return made

    @classmethod
    def from_dict(cls, values: dict[str, Any], **overrides: Any) -> "EncoderDecoderConfig":
        """From a folder's `config.json`. An encoder that was written without `is_causal` was trained causal."""
        own = values.get("encoder")
        if isinstance(own, dict) and own.get("model_type") in ENTRIES and family(own["model_type"]).sees_back:
            values = {**values, "encoder": {"is_causal": True, **own}}
        return super().from_dict(values, **overrides)

    def to_dict(self) -> dict[str, Any]:
        """All fields, with the halves inside."""
        held = super().to_dict()
        held["encoder"], held["decoder"] = self.encoder.to_dict(), self.decoder.to_dict()
        return held

    def to_diff_dict(self) -> dict[str, Any]:
        """The same as `to_dict`: a pair has no defaults to differ from."""
        return self.to_dict()


class AutoConfig:
    """Finds a configuration class by the `model_type` that a folder's `config.json` states."""

    def __init__(self) -> None:
        raise TypeError("AutoConfig is not made: use AutoConfig.from_pretrained or AutoConfig.for_model.")

    @staticmethod
    def for_model(model_type: str, **kwargs: Any) -> PretrainedConfig:
        """A family's configuration with its defaults, and `kwargs` on top."""
        return config_class(model_type)(**kwargs)

    @staticmethod
    def from_pretrained(source: str | os.PathLike[str], **overrides: Any) -> PretrainedConfig:
        """Read a folder's or hub repository's `config.json`; see `PretrainedConfig.from_pretrained`."""
        origin = folders.Origin.take(overrides)
        path = folders.need(source, CONFIG_NAME, origin)
        values = folders.read_json(path)
        model_type = values.get("model_type")
        if not isinstance(model_type, str):
            raise ConfigurationError(
                f"{path} must state its model_type (one of {', '.join(known_types())}), but has none."
            )
        config = config_class(model_type).from_dict(values, **overrides)
        config.name_or_path = os.fspath(source)
        return config


def known_types() -> list[str]:
    """Every model_type that a `config.json` may have."""
    return sorted([*ENTRIES, *ALIASES, EncoderDecoderConfig.model_type])


def config_class(model_type: str) -> type[PretrainedConfig]:
    """The configuration class of a model_type."""
    if model_type == EncoderDecoderConfig.model_type:
        return EncoderDecoderConfig
    return family(ALIASES.get(model_type, model_type)).config


def encoder_spec(config: PretrainedConfig) -> Stack:
    """What a configuration computes as an encoder."""
    return family(config.model_type).half("encoder").spec(config)


def encoder_width(config: PretrainedConfig) -> int:
    """The width of the states that an encoder gives."""
    return config.hidden_size if isinstance(config, ForeignConfig) else encoder_spec(config).state_width


def longest_source(config: PretrainedConfig) -> int | None:
    """The most tokens that an encoder has positions for; None where no table ends them."""
    if isinstance(config, ForeignConfig):
        return config.max_position_embeddings
    positions = encoder_spec(config).positions
    return None if positions is None else positions.longest


def decoder_spec(config: PretrainedConfig) -> Stack:
    """What a configuration computes as a decoder."""
    return family(config.model_type).half("decoder").spec(config)


def _configuration(half: Any, side: str) -> PretrainedConfig:
    if isinstance(half, PretrainedConfig):
        half._check()  # its fields may have been set since it was made
        return copy.deepcopy(half)
    if hasattr(half, "to_dict"):  # a configuration object of another library
        half = half.to_dict()
    if not isinstance(half, dict):
        raise ConfigurationError(f"`{side}` must be a configuration or a dictionary, but is a {type(half).__name__}.")
    if "model_type" not in half:
        raise ConfigurationError(f"`{side}` must state its model_type (one of {', '.join(sorted(ENTRIES))}).")
    return config_class(half["model_type"]).from_dict(half)
