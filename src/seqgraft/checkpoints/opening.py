"""A name or folder and a call's arguments -> a configuration and weight files that belong together, in any framework.

    opened = open_pair(source, config, kwargs)        # kwargs holds what is left for the caller: nothing
    arrays = read_pair(opened.config, opened.files, source)
    generation = pair_generation(source, opened.origin, opened.config)   # of seqgraft.generation.folder
    opened.keep_said()

For two checkpoints that become a pair: `encoder_configuration`, `decoder_configuration`, `open_half`, `join`.
"""

import copy
import logging
import os
from dataclasses import dataclass
from typing import Any, Literal

from seqgraft import folders
from seqgraft.checkpoints.arguments import override, settle, take_framework
from seqgraft.checkpoints.files import WeightFiles, open_weights
from seqgraft.checkpoints.matching import Side, settle_ties
from seqgraft.checkpoints.pairs import undressed
from seqgraft.checkpoints.quantized import quantization, settle_quantized_tie
from seqgraft.config import SPECIAL_IDS, AutoConfig, EncoderDecoderConfig
from seqgraft.errors import ConfigurationError
from seqgraft.families import PretrainedConfig, family
from seqgraft.families.configuration import GENERATION_FIELDS
from seqgraft.spec import Graft

logger = logging.getLogger("seqgraft")

Source = str | os.PathLike[str]
Framework = Literal["pt", "tf", "flax"]


@dataclass
class Opened:
    """A configuration, and the weight files that it describes."""

    config: Any
    files: WeightFiles
    origin: folders.Origin
    said: dict[str, Any]
    """What the call said of fields, by name."""
    quantized: dict[str, Any] | None = None
    """How the weights are quantised, where they are."""

    def keep_said(self, config: Any = None) -> None:
        """Set on the pair's configuration (or on the copy of it that a model has) what the call said of special ids
        and of generation: it counts more than the folder's generation settings."""
        for name, value in self.said.items():
            if value is not None and (name in SPECIAL_IDS or name in GENERATION_FIELDS):
                setattr(config if config is not None else self.config, name, value)


def open_pair(
    source: Source, config: PretrainedConfig | None, kwargs: dict[str, Any], first: Framework = "pt"
) -> Opened:
    """The configuration of a pair, ties settled as its files say, and the files. `kwargs` are taken: where the folder
    is, `variant`, `use_safetensors`, `from_pt`, `from_tf`, `from_flax`, and fields of the configuration. Of several
    frameworks' files those of `first` are opened.

    The configuration is a copy. Raises TypeError for what is no field, FolderError and CheckpointError of the files,
    ConfigurationError for a configuration of neither a pair nor a published encoder-decoder.
    """
    settle(kwargs)
    origin, framework = folders.Origin.take(kwargs), take_framework(kwargs)
    variant, safe = kwargs.pop("variant", None), kwargs.pop("use_safetensors", None)
    said = dict(kwargs)
    if config is not None:
        said = {**{name: getattr(config, name, None) for name in SPECIAL_IDS}, **said}
    found: Any = copy.deepcopy(config) if config is not None else AutoConfig.from_pretrained(source, **vars(origin))
    override(found, kwargs)
    kwargs.clear()
    small = quantization(found)
    found.__dict__.pop("quantization_config", None)  # said of the pair, once it is one
    variant = variant if small is None else small["dtype"]
    files = open_weights(source, origin, variant=variant, use_safetensors=safe, framework=framework, first=first)
    files = undressed(files)
    if not isinstance(found, EncoderDecoderConfig):
        settle_ties(found, files) if small is None else settle_quantized_tie(found, files)
        found = EncoderDecoderConfig.from_whole(found)
    elif small is None:
        settle_ties(found.decoder, files, "decoder.")
    else:
        settle_quantized_tie(found.decoder, files)
    found.name_or_path = os.fspath(source)
    return Opened(found, files, origin, said, small)


def open_half(
    source: Source, side: Side, config: PretrainedConfig | None, kwargs: dict[str, Any], first: Framework = "pt"
) -> Opened:
    """The same for a checkpoint of one model, as `side` of a pair.

    Raises ConfigurationError for a folder that holds a pair, or half of a quantised one.
    """
    settle(kwargs)
    origin, framework = folders.Origin.take(kwargs), take_framework(kwargs)
    variant, safe = kwargs.pop("variant", None), kwargs.pop("use_safetensors", None)
    said = dict(kwargs)
    found: Any = copy.deepcopy(config) if config is not None else AutoConfig.from_pretrained(source, **vars(origin))
    if isinstance(found, EncoderDecoderConfig):
        raise ConfigurationError(
            f"'{os.fspath(source)}' holds an encoder-decoder: open it with EncoderDecoderModel.from_pretrained "
            f"and take its `.{side}`."
        )
    override(found, kwargs)
    kwargs.clear()
    if quantization(found) is not None:
        raise ConfigurationError(
            f"'{os.fspath(source)}' holds a quantised encoder-decoder: open it with "
            f"EncoderDecoderModel.from_pretrained and take its `.{side}`."
        )
    files = open_weights(source, origin, variant=variant, use_safetensors=safe, framework=framework, first=first)
    settle_ties(found, files)
    found.name_or_path = os.fspath(source)
    return Opened(found, files, origin, said)


def encoder_configuration(
    source: Source, arguments: dict[str, Any], fallback: PretrainedConfig | None = None
) -> PretrainedConfig:
    """A checkpoint's configuration as an encoder's, which sees its whole source; a line of the log says what changed.

    `config` is taken out of `arguments`, the call's for this half; else it is `fallback`, or the folder's.
    """
    config = _configuration(source, arguments, fallback, "encoder")
    if config.is_decoder or config.add_cross_attention:
        logger.warning("The encoder of %s sees its whole source: is_decoder and add_cross_attention are off.", source)
    config.is_decoder = config.add_cross_attention = False
    if family(config.model_type).sees_back:
        if arguments.get("is_causal") is None and config.is_causal is None:
            config.is_causal = False
        if arguments.get("is_causal") is None and not config.is_causal:
            logger.warning(
                "The encoder of %s was published as a causal model and now sees both ways; "
                "encoder_is_causal=True keeps its causal mask.",
                source,
            )
    return config


def decoder_configuration(
    source: Source, arguments: dict[str, Any], width: int, fallback: PretrainedConfig | None = None
) -> PretrainedConfig:
    """A checkpoint's configuration as that of a decoder which sees an encoder's states of this width, by a graft where
    its family has no cross-attention. `config` and `graft` are taken out of `arguments`."""
    config = _configuration(source, arguments, fallback, "decoder")
    config.is_decoder = config.add_cross_attention = True
    said = arguments.pop("graft", None)
    graft = Graft.read(said if said is not None else config.graft)
    if family(config.model_type).grafted:
        config.graft = vars(graft)
        if arguments.get("cross_attention_hidden_size") is None and graft.how != "merged":
            config.cross_attention_hidden_size = width
    elif said is not None:
        if graft != Graft(init=graft.init):
            raise ConfigurationError(
                f"`decoder_graft` may only say `init` for '{config.model_type}', whose published design has "
                f"cross-attention, but says {said}."
            )
        config.graft = {"init": graft.init}
    return config


def _configuration(
    source: Source, arguments: dict[str, Any], fallback: PretrainedConfig | None, side: str
) -> PretrainedConfig:
    config: PretrainedConfig | None = arguments.pop("config", None) or fallback
    if config is None:
        origin = folders.Origin.take(dict(arguments))
        config = AutoConfig.from_pretrained(source, **vars(origin))
    if isinstance(config, EncoderDecoderConfig):
        raise ConfigurationError(
            f"'{os.fspath(source)}' holds an encoder-decoder, not one model: open it with "
            f"EncoderDecoderModel.from_pretrained and give its half as `{side}_model=`."
        )
    return copy.deepcopy(config)


def join(
    encoder: PretrainedConfig, decoder: PretrainedConfig, pair: EncoderDecoderConfig | None, kwargs: dict[str, Any]
) -> EncoderDecoderConfig:
    """The configuration of the pair of two halves, with the fields of `pair` and, before them, those of a call.

    Raises TypeError for what is no field.
    """
    fields = {n: v for n, v in vars(pair).items() if n not in ("encoder", "decoder")} if pair else {}
    fields = {n: v for n, v in fields.items() if not n.startswith("_") and n not in ("unknown_fields", "name_or_path")}
    config = EncoderDecoderConfig(encoder=encoder, decoder=decoder)
    unknown = [n for n in kwargs if not config._knows(n)]
    if unknown:
        raise TypeError(f"from_encoder_decoder_pretrained() got unexpected arguments: {', '.join(sorted(unknown))}.")
    config.update({**fields, **kwargs})
    return config
