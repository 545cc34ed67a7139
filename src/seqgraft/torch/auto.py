"""Model classes found by name: a family's own, and those that look at a folder's model_type."""

import os
from typing import Any

from seqgraft import folders
from seqgraft.config import AutoConfig, EncoderDecoderConfig
from seqgraft.errors import ConfigurationError
from seqgraft.families import ENTRIES, entry_of, family
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.torch.half import Half
from seqgraft.torch.halves import CausalModel, EncoderModel
from seqgraft.torch.model import EncoderDecoderModel

_made: dict[str, type[Half] | type[EncoderDecoderModel]] = {}


def model_class(name: str) -> Any:
    """A family's public model class, such as BertModel; AttributeError when no family has one of this name."""
    if name not in _made:
        found = entry_of(name)
        if found is None or found[1].config == name:
            raise AttributeError(f"No family has a model class named '{name}'.")
        model_type, entry = found
        base: Any = {entry.body: EncoderModel, entry.whole: EncoderDecoderModel}.get(name, CausalModel)
        what = {EncoderModel: "encoder", CausalModel: "decoder with a language-model head"}.get(base, "a whole")
        body = {"model_type": model_type, "__doc__": f"{model_type} as an {what}.", "__module__": __name__}
        _made[name] = type(name, (base,), body)
    return _made[name]


def __getattr__(name: str) -> Any:
    return model_class(name)


class _Auto:
    """Not made itself: its class methods make the model that a folder holds."""

    _wanted = ""

    def __init__(self) -> None:
        raise TypeError(f"{type(self).__name__} is not made: use its from_pretrained or from_config.")

    @classmethod
    def _class_of(cls, config: PretrainedConfig) -> Any:
        raise NotImplementedError

    @classmethod
    def from_config(cls, config: PretrainedConfig, **kwargs: Any) -> Any:
        """A model with fresh weights."""
        return cls._class_of(config).from_config(config, **kwargs)

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str], *, config: Any = None, **kwargs: Any) -> Any:
        """Load the model of a folder or hub repository; the arguments are those of its class."""
        if config is None:
            origin = folders.Origin.take(dict(kwargs))
            config = AutoConfig.from_pretrained(source, **vars(origin))
        return cls._class_of(config).from_pretrained(source, config=config, **kwargs)


class AutoModel(_Auto):
    """The bare body of a family, or a pair."""

    @classmethod
    def _class_of(cls, config: PretrainedConfig) -> Any:
        if isinstance(config, EncoderDecoderConfig):
            return EncoderDecoderModel
        body = ENTRIES[config.model_type].body
        if body is None:
            raise ConfigurationError(f"'{config.model_type}' must be an encoder, but is published as a decoder alone.")
        return model_class(body)


class AutoModelForCausalLM(_Auto):
    """The causal language model of a family, or a pair."""

    @classmethod
    def _class_of(cls, config: PretrainedConfig) -> Any:
        if _is_pair(config):
            return EncoderDecoderModel
        causal = ENTRIES[config.model_type].causal
        if causal is None and family(config.model_type).decoder is not None:
            return CausalModel
        if causal is None:
            raise ConfigurationError(f"'{config.model_type}' must be a decoder, but is published as an encoder alone.")
        return model_class(causal)


def _is_pair(config: PretrainedConfig) -> bool:
    """Whether a folder is a pair's here: a published encoder-decoder is where the field has no class of its decoder."""
    if isinstance(config, EncoderDecoderConfig):
        return True
    entry = ENTRIES[config.model_type]
    alone = "CausalModel" in (config.architectures or ())
    return entry.whole is not None and entry.causal is None and config.is_encoder_decoder and not alone


class AutoModelForSeq2SeqLM(_Auto):
    """A pair."""

    @classmethod
    def _class_of(cls, config: PretrainedConfig) -> Any:
        if isinstance(config, EncoderDecoderConfig) or ENTRIES[config.model_type].whole is not None:
            return EncoderDecoderModel
        raise ConfigurationError(
            f"model_type must be 'encoder-decoder', but is '{config.model_type}': put two models together with "
            "EncoderDecoderModel.from_encoder_decoder_pretrained."
        )
