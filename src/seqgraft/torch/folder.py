"""The folder of a pair: loading and saving it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seqgraft import folders
from seqgraft.checkpoints import WeightFiles
from seqgraft.checkpoints.opening import open_pair
from seqgraft.checkpoints.pairs import in_one_file, match_pair, same_when_both_stored
from seqgraft.checkpoints.quantized import quantization
from seqgraft.checkpoints.sharing import BRIDGE
from seqgraft.checkpoints.written import written_pair
from seqgraft.errors import CheckpointError
from seqgraft.families.configuration import CONFIG_NAME, PretrainedConfig
from seqgraft.generation.folder import pair_generation
from seqgraft.torch.foreign import check_writable
from seqgraft.torch.loading import Filling, dtype_of
from seqgraft.torch.pretrained import as_device, as_dtype, take_dtype
from seqgraft.torch.quantized_file import fill_quantized, quantized_tensors
from seqgraft.torch.tying import check_tied
from seqgraft.torch.weights import TorchReader, stale_weights, write_weights

if TYPE_CHECKING:
    from seqgraft.torch.model import EncoderDecoderModel


def load_pair(
    cls: type[EncoderDecoderModel],
    source: str | os.PathLike[str],
    config: PretrainedConfig | None,
    kwargs: dict[str, Any],
) -> EncoderDecoderModel:
    """See `EncoderDecoderModel.from_pretrained`."""
    dtype, device = take_dtype(kwargs), as_device(kwargs.pop("device_map", None))
    attention = kwargs.pop("attn_implementation", None)
    opened = open_pair(source, config, kwargs)
    files, small = opened.files, opened.quantized
    tied, opened.config.tie_encoder_decoder = opened.config.tie_encoder_decoder, False
    model = cls(opened.config, fill=False)
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
    model.set_attn_implementation(attention)
    model.generation_config = pair_generation(source, opened.origin, config)
    opened.keep_said(config)
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
        written = written_pair(model.config, str(model.dtype).removeprefix("torch."))
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
