"""Two checkpoints -> a pair."""

from __future__ import annotations

import copy
import logging
import os
from typing import TYPE_CHECKING, Any

from torch import nn

from seqgraft import folders
from seqgraft.config import AutoConfig, EncoderDecoderConfig, encoder_width
from seqgraft.errors import ConfigurationError
from seqgraft.families import family
from seqgraft.families.configuration import GENERATION_FIELDS, PretrainedConfig
from seqgraft.spec import Graft
from seqgraft.torch.check_tokens import sides
from seqgraft.torch.foreign import as_encoder, can_take_over, detach_from_files, stored
from seqgraft.torch.halves import CausalModel, EncoderModel
from seqgraft.torch.matching import check_kinds
from seqgraft.torch.special import settle
from seqgraft.torch.trimming import first_layers

if TYPE_CHECKING:
    from seqgraft.torch.model import EncoderDecoderModel

logger = logging.getLogger("seqgraft")

_BOTH = [
    "dtype",
    "torch_dtype",
    "device_map",
    "attn_implementation",
    "cache_dir",
    "token",
    "local_files_only",
    "force_download",
    "revision",
    "use_safetensors",
    "low_cpu_mem_usage",
    "trust_remote_code",
]
"""Arguments without a prefix that hold for both halves."""


def compose(
    cls: type[EncoderDecoderModel],
    encoder_source: str | os.PathLike[str] | None,
    decoder_source: str | os.PathLike[str] | None,
    kwargs: dict[str, Any],
) -> EncoderDecoderModel:
    """See `EncoderDecoderModel.from_encoder_decoder_pretrained`."""
    both = {name: kwargs.pop(name) for name in _BOTH if name in kwargs}
    own, other = _prefixed(kwargs, "encoder_"), _prefixed(kwargs, "decoder_")
    if "causal" in own:
        if "is_causal" in own:
            raise TypeError("`encoder_causal` and `encoder_is_causal` mean the same: only one must be given.")
        own["is_causal"] = own.pop("causal")
    pair_config = kwargs.pop("config", None)
    if pair_config is not None and not isinstance(pair_config, EncoderDecoderConfig):
        raise ConfigurationError(f"`config` must be an EncoderDecoderConfig, but is a {type(pair_config).__name__}.")
    encoder = as_encoder(own.pop("model", None), own.pop("width", None))
    decoder = other.pop("model", None)
    tokenizers = kwargs.pop("tokenizer", None), kwargs.pop("target_tokenizer", None)
    for side, model, source in (("encoder", encoder, encoder_source), ("decoder", decoder, decoder_source)):
        if (model is None) == (source is None):
            raise ValueError(
                f"Exactly one of `{side}_pretrained_model_name_or_path` and `{side}_model` must be given, "
                f"but {'neither' if model is None else 'both'} are."
            )
    foreign = can_take_over(decoder)
    check_kinds(encoder, None if foreign else decoder)
    for side, model, rest in (("encoder", encoder, own), ("decoder", decoder, other)):
        if model is not None and rest and not (foreign and side == "decoder"):
            names = ", ".join(f"{side}_{name}" for name in sorted(rest))
            raise TypeError(f"{names}: what `{side}_model` is, it is already; change it before it is given.")
    given_encoder, given_decoder = encoder is not None, decoder is not None
    given = (encoder, own), (decoder, other)
    layers = [None if model is not None else rest.pop("num_hidden_layers", None) for model, rest in given]
    if encoder is None:
        encoder = _encoder(encoder_source, {**both, **own}, getattr(pair_config, "encoder", None))
        encoder = encoder if layers[0] is None else first_layers(encoder, layers[0])
    if foreign:
        decoder = taken_over(decoder, encoder, other)
    if decoder is None:
        width = encoder_width(encoder.config)
        decoder = _decoder(decoder_source, {**both, **other}, width, getattr(pair_config, "decoder", None))
        decoder = decoder if layers[1] is None else first_layers(decoder, layers[1])
    fields = {n: v for n, v in vars(pair_config).items() if n not in ("encoder", "decoder")} if pair_config else {}
    fields = {n: v for n, v in fields.items() if not n.startswith("_") and n not in ("unknown_fields", "name_or_path")}
    config = EncoderDecoderConfig(encoder=encoder.config, decoder=decoder.config)
    unknown = [n for n in kwargs if not config._knows(n)]
    if unknown:
        raise TypeError(f"from_encoder_decoder_pretrained() got unexpected arguments: {', '.join(sorted(unknown))}.")
    config.update({**fields, **kwargs})
    model = cls(config=config, encoder=encoder, decoder=decoder)
    if given_encoder or given_decoder:
        _apply(model, both, given_encoder, given_decoder)
    if tokenizers != (None, None):
        source, target = sides(*tokenizers)
        told = settle(model, source, target)
        if told:
            logger.warning(told)
    return model.eval()


def taken_over(decoder: Any, encoder: Any, arguments: dict[str, Any]) -> CausalModel:
    """Another library's causal model as one of ours that sees the encoder, with its weights, where it was."""
    like = next(decoder.parameters())
    arguments = {"dtype": like.dtype, **arguments}
    with stored(decoder) as folder:
        made = _decoder(folder, arguments, encoder_width(encoder.config), None)
        detach_from_files(made)
    made.config.name_or_path = str(getattr(decoder.config, "_name_or_path", "") or "")
    return made.to(like.device)


def _prefixed(kwargs: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Take the arguments of one half out of `kwargs`, without their prefix; the pair's own fields stay."""
    shared = (*EncoderDecoderConfig.fields, *GENERATION_FIELDS)
    names = [n for n in kwargs if n.startswith(prefix) and n not in shared]
    return {name[len(prefix) :]: kwargs.pop(name) for name in names}


def _configuration(
    source: Any, arguments: dict[str, Any], fallback: PretrainedConfig | None, side: str
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


def _encoder(source: Any, arguments: dict[str, Any], fallback: PretrainedConfig | None) -> EncoderModel:
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
    return EncoderModel.from_pretrained(source, config=config, **arguments)


def _decoder(source: Any, arguments: dict[str, Any], width: int, fallback: PretrainedConfig | None) -> CausalModel:
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
    made = CausalModel.from_pretrained(source, config=config, **arguments)
    made.config.new_parameters = list(made.missing)
    return made


def _apply(model: EncoderDecoderModel, both: dict[str, Any], encoder: bool, decoder: bool) -> None:
    """What a call says of both halves holds for a half that was handed in as well."""
    from seqgraft.torch.pretrained import as_device, as_dtype

    halves: list[nn.Module] = [half for half, ours in ((model.encoder, encoder), (model.decoder, decoder)) if ours]
    dtype = as_dtype(both.get("dtype") if both.get("dtype") is not None else both.get("torch_dtype"))
    for half in halves:
        if dtype is not None:
            half.to(dtype)
        if both.get("device_map") is not None:
            half.to(as_device(both["device_map"]))
    if both.get("attn_implementation") is not None:
        model.set_attn_implementation(both["attn_implementation"])
    if model.enc_to_dec_proj is not None:
        model.enc_to_dec_proj.to(device=model.decoder.device, dtype=model.decoder.dtype)
