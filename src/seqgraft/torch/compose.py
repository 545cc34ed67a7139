"""Two checkpoints -> a pair."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from torch import nn

from seqgraft.checkpoints.arguments import BOTH, prefixed
from seqgraft.checkpoints.opening import decoder_configuration, encoder_configuration, join
from seqgraft.config import EncoderDecoderConfig, encoder_width
from seqgraft.errors import ConfigurationError
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.torch.check_tokens import sides
from seqgraft.torch.foreign import as_encoder, can_take_over, detach_from_files, stored
from seqgraft.torch.halves import CausalModel, EncoderModel
from seqgraft.torch.matching import check_kinds
from seqgraft.torch.special import settle
from seqgraft.torch.trimming import first_layers

if TYPE_CHECKING:
    from seqgraft.torch.model import EncoderDecoderModel

logger = logging.getLogger("seqgraft")


def compose(
    cls: type[EncoderDecoderModel],
    encoder_source: str | os.PathLike[str] | None,
    decoder_source: str | os.PathLike[str] | None,
    kwargs: dict[str, Any],
) -> EncoderDecoderModel:
    """See `EncoderDecoderModel.from_encoder_decoder_pretrained`."""
    both = {name: kwargs.pop(name) for name in BOTH if name in kwargs}
    own, other = prefixed(kwargs, "encoder_"), prefixed(kwargs, "decoder_")
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
    config = join(encoder.config, decoder.config, pair_config, kwargs)
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


def _encoder(source: Any, arguments: dict[str, Any], fallback: PretrainedConfig | None) -> EncoderModel:
    config = encoder_configuration(source, arguments, fallback)
    return EncoderModel.from_pretrained(source, config=config, **arguments)


def _decoder(source: Any, arguments: dict[str, Any], width: int, fallback: PretrainedConfig | None) -> CausalModel:
    config = decoder_configuration(source, arguments, width, fallback)
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
