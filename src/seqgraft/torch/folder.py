"""The folder of a pair: loading and saving it."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seqgraft import folders
from seqgraft.checkpoints import WeightFiles, open_weights
from seqgraft.checkpoints.matching import settle_ties
from seqgraft.checkpoints.pairs import BRIDGE, in_one_file, match_pair, same_when_both_stored, undressed
from seqgraft.checkpoints.quantized import quantization, settle_quantized_tie
from seqgraft.config import SPECIAL_IDS, AutoConfig, EncoderDecoderConfig, config_class, known_types
from seqgraft.errors import CheckpointError
from seqgraft.families import ENTRIES
from seqgraft.families.configuration import CONFIG_NAME, GENERATION_FIELDS, PretrainedConfig
from seqgraft.generation import GenerationConfig
from seqgraft.torch.foreign import check_writable
from seqgraft.torch.loading import Filling, dtype_of
from seqgraft.torch.pretrained import as_device, as_dtype, override, settle, take_dtype
from seqgraft.torch.quantized_file import fill_quantized, quantized_tensors
from seqgraft.torch.tying import check_tied
from seqgraft.torch.weights import TorchReader, stale_weights, write_weights

if TYPE_CHECKING:
    from seqgraft.torch.model import EncoderDecoderModel

_GENERATION = "generation_config.json"


def load_pair(
    cls: type[EncoderDecoderModel],
    source: str | os.PathLike[str],
    config: PretrainedConfig | None,
    kwargs: dict[str, Any],
) -> EncoderDecoderModel:
    """See `EncoderDecoderModel.from_pretrained`."""
    settle(kwargs)
    origin = folders.Origin.take(kwargs)
    dtype, device = take_dtype(kwargs), as_device(kwargs.pop("device_map", None))
    attention = kwargs.pop("attn_implementation", None)
    variant, safe = kwargs.pop("variant", None), kwargs.pop("use_safetensors", None)
    said = dict(kwargs)
    if config is not None:
        said = {**{name: getattr(config, name, None) for name in SPECIAL_IDS}, **said}
    config = copy.deepcopy(config) if config is not None else AutoConfig.from_pretrained(source, **vars(origin))
    override(config, kwargs)
    small = quantization(config)
    config.__dict__.pop("quantization_config", None)  # said of the pair, once it is one
    variant = variant if small is None else small["dtype"]
    files = undressed(open_weights(source, origin, variant=variant, use_safetensors=safe))
    if not isinstance(config, EncoderDecoderConfig):
        settle_ties(config, files) if small is None else settle_quantized_tie(config, files)
        config = EncoderDecoderConfig.from_whole(config)
    elif small is None:
        settle_ties(config.decoder, files, "decoder.")
    else:
        settle_quantized_tie(config.decoder, files)
    tied, config.tie_encoder_decoder = config.tie_encoder_decoder, False
    model = cls(config, fill=False)
    config = model.config
    config.tie_encoder_decoder = tied
    if small is None:
        _fill(model, files, source, dtype or dtype_of(files), device)
    else:
        as_said = as_dtype(config.decoder.dtype if config.whole else config.dtype) or torch.float32
        fill_quantized(model, files, source, small["dtype"], dtype or as_said, device)
        config.quantization_config = small
    model.tie_weights()
    for half in (model.encoder, model.decoder):
        half._after_loading(device)
    config.name_or_path = os.fspath(source)
    model.set_attn_implementation(attention)
    model.generation_config = _generation(source, origin, config)
    for name, value in said.items():  # a call counts more than the folder's generation settings
        if value is not None and (name in SPECIAL_IDS or name in GENERATION_FIELDS):
            setattr(config, name, value)
    return model.eval()


def _fill(
    model: EncoderDecoderModel,
    files: WeightFiles,
    source: str | os.PathLike[str],
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Give a pair that was built without memory its weights."""
    config, tied = model.config, model.config.tie_encoder_decoder
    match = match_pair(config, files, source)
    config.tie_encoder_decoder = same_when_both_stored(config, match, files, source) and tied
    with TorchReader(files) as reader:
        for half, own in ((model.encoder, match.encoder), (model.decoder, match.decoder)):
            filling = Filling(half, own)
            filling.fill(reader, dtype, device)
            half.carried = filling.carried
        if model.enc_to_dec_proj is not None:
            for leaf in ("weight", "bias"):
                tensor = reader.raw(BRIDGE + leaf).to(device=device, dtype=dtype)
                model.enc_to_dec_proj._parameters[leaf] = nn.Parameter(tensor)


def _generation(
    source: str | os.PathLike[str], origin: folders.Origin, config: EncoderDecoderConfig
) -> GenerationConfig:
    """The folder's generation settings; what older folders keep in `config.json` when there is no file of them.

    The reference takes special ids from the decoder when it makes a pair, and never hears of those that the pair's
    configuration is given afterwards: such an id is stale.
    """
    if folders.find(source, _GENERATION, origin) is None:
        return GenerationConfig.from_model_config(config)
    made = GenerationConfig.from_pretrained(source, **vars(origin))
    for name in SPECIAL_IDS if made._from_model_config else ():
        own = getattr(config, name, None)
        if own is not None and getattr(made, name) == getattr(config.decoder, name, None):
            setattr(made, name, own)
    return made


def save_pair(
    model: EncoderDecoderModel,
    folder: str | os.PathLike[str],
    max_shard_size: int | str,
    variant: str | None,
    safe_serialization: bool,
) -> None:
    """See `EncoderDecoderModel.save_pretrained`."""
    check_writable(model)
    check_tied(model.config, model.encoder, model.decoder)
    small = quantization(model.config)
    if small is not None:
        if variant is not None or not safe_serialization:
            raise CheckpointError("A quantised model must be saved without a `variant`, and as safetensors.")
        variant = small["dtype"]
    tensors = _tensors(model) if small is None else quantized_tensors(model)
    meta = [name for name, tensor in tensors.items() if tensor.is_meta]
    if meta:
        raise CheckpointError(f"A model must have memory to be saved, but {len(meta)} tensors are on the meta device.")
    with folders.saving(folder, stale=stale_weights(variant)) as staged:
        whole = model.config.whole
        written = _without_generation((model.config if whole is None else model.config.to_whole()).to_dict())
        written["dtype"] = str(model.dtype).removeprefix("torch.")
        written["architectures"] = ["EncoderDecoderModel" if whole is None else ENTRIES[whole].whole]
        if small is not None:
            written["quantization_config"] = small
        folders.write_json(staged / CONFIG_NAME, written)
        model.generation_config.save_pretrained(staged)
        write_weights(
            staged,
            tensors,
            max_shard_size=max_shard_size,
            variant=variant,
            safe_serialization=safe_serialization,
        )


def _tensors(model: EncoderDecoderModel) -> dict[str, Tensor]:
    """The file's name -> tensor of everything that a checkpoint of the pair holds, views where possible."""
    bridge = model.enc_to_dec_proj
    return in_one_file(
        model.config,
        lambda start, headed: model.encoder.tensors(start, headed=headed),
        lambda start, headed: model.decoder.tensors(start, headed=headed),
        {} if bridge is None else {leaf: p.detach() for leaf, p in bridge.named_parameters()},
        torch.clone,
    )


def _without_generation(values: dict[str, Any]) -> dict[str, Any]:
    """Generation settings have a file of their own; only those that a family publishes as fields stay."""
    published = config_class(values["model_type"]).published
    kept = {n: v for n, v in values.items() if n not in GENERATION_FIELDS or n in published}
    for side in ("encoder", "decoder"):
        if isinstance(kept.get(side), dict) and kept[side].get("model_type") in known_types():
            kept[side] = _without_generation(kept[side])
    return kept
