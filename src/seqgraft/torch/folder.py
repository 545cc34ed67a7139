"""The folder of a pair: loading and saving it."""

from __future__ import annotations

import copy
import dataclasses
import logging
import os
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from seqgraft import folders
from seqgraft.checkpoints import WeightFiles, open_weights
from seqgraft.checkpoints.check import refuse
from seqgraft.config import SPECIAL_IDS, AutoConfig, EncoderDecoderConfig
from seqgraft.errors import CheckpointError, ConfigurationError
from seqgraft.families import family, graft_table
from seqgraft.families.configuration import CONFIG_NAME, GENERATION_FIELDS, PretrainedConfig
from seqgraft.generation import GenerationConfig
from seqgraft.torch.half import Half
from seqgraft.torch.halves import CausalModel
from seqgraft.torch.loading import Filling, dtype_of, plan_filling, tell_fresh
from seqgraft.torch.pretrained import as_device, override, settle, take_dtype
from seqgraft.torch.tying import check_tied, tied_names
from seqgraft.torch.weights import TorchReader, stale_weights, write_weights

if TYPE_CHECKING:
    from seqgraft.torch.model import EncoderDecoderModel

logger = logging.getLogger("seqgraft")

_BRIDGE = "enc_to_dec_proj."
_OLD_PREFIX = "encoder_decoder."
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
    if not isinstance(config, EncoderDecoderConfig):
        raise ConfigurationError(
            f"'{os.fspath(source)}' must hold model_type 'encoder-decoder', but holds '{config.model_type}': "
            "put two such models together with EncoderDecoderModel.from_encoder_decoder_pretrained."
        )
    override(config, kwargs)
    tied, config.tie_encoder_decoder = config.tie_encoder_decoder, False
    model = cls(config, fill=False)
    config = model.config
    config.tie_encoder_decoder = tied
    files = _undressed(open_weights(source, origin, variant=variant, use_safetensors=safe))
    fillings = {side: _plan(getattr(model, side), files, f"{side}.") for side in ("encoder", "decoder")}
    if tied:
        _share_plans(model, fillings, files, source)
    found = [p for filling in fillings.values() for p in filling.problems(files)]
    refuse(source, found + _bridge_problems(model, files) + _strangers(files))
    dtype = dtype or dtype_of(files)
    with TorchReader(files) as reader:
        tied = tied and _same_when_both_stored(model, fillings, reader, source)
        for side, filling in fillings.items():
            filling.fill(reader, dtype, device)
            getattr(model, side).carried = filling.carried
            tell_fresh(f"The {side}", source, filling)
        if model.enc_to_dec_proj is not None:
            for leaf in ("weight", "bias"):
                tensor = reader.raw(_BRIDGE + leaf).to(device=device, dtype=dtype)
                model.enc_to_dec_proj._parameters[leaf] = nn.Parameter(tensor)
    config.tie_encoder_decoder = tied
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


def _plan(half: Half, files: WeightFiles, start: str) -> Filling:
    graft = graft_table(family(half.config.model_type), half.config) if isinstance(half, CausalModel) else {}
    filling = plan_filling(half, half.names(), files, start, graft)
    filling.fresh = []  # a pair's own folder holds everything
    return filling


def _undressed(files: WeightFiles) -> WeightFiles:
    """Without the `encoder_decoder.` that some files put before every name."""
    headers = {name.removeprefix(_OLD_PREFIX): header for name, header in files.headers.items()}
    return dataclasses.replace(files, headers=headers)


def _bridge_problems(model: EncoderDecoderModel, files: WeightFiles) -> list[str]:
    stored = {n: h.shape for n, h in files.headers.items() if n.startswith(_BRIDGE)}
    bridge = model.enc_to_dec_proj
    must = {} if bridge is None else {_BRIDGE + n: tuple(p.shape) for n, p in bridge.named_parameters()}
    found = [f"Missing: {name}" for name in must if name not in stored]
    found += [f"Unexpected: {name}" for name in stored if name not in must]
    found += [
        f"Of the wrong shape: {name} must be {list(must[name])}, but is {list(stored[name])}"
        for name in must
        if name in stored and must[name] != stored[name]
    ]
    return found


def _strangers(files: WeightFiles) -> list[str]:
    known = ("encoder.", "decoder.", _BRIDGE)
    strange = [name for name in files.headers if not name.startswith(known)]
    if not strange:
        return []
    return [f"Unexpected, {len(strange)} tensors that belong to neither half: {', '.join(strange)}"]


def _share_plans(
    model: EncoderDecoderModel, fillings: dict[str, Filling], files: WeightFiles, source: str | os.PathLike[str]
) -> None:
    """A tied checkpoint may hold either half's copy: what one half lacks, the other one gives."""
    shared = tied_names(model.encoder, model.decoder)
    for side, other in (("encoder", "decoder"), ("decoder", "encoder")):
        plan, giver = fillings[side].plan, fillings[other].plan
        for name in shared:
            if name not in plan.pieces and name in giver.pieces:
                plan.pieces[name] = giver.pieces[name]
        missing = tuple(name for name in plan.missing if name not in plan.pieces)
        fillings[side].plan = dataclasses.replace(plan, missing=missing)


def _same_when_both_stored(
    model: EncoderDecoderModel, fillings: dict[str, Filling], reader: TorchReader, source: str | os.PathLike[str]
) -> bool:
    """Whether the halves' copies are equal. A checkpoint may call halves tied that were trained apart."""
    own, other = fillings["encoder"].plan.pieces, fillings["decoder"].plan.pieces
    for name in tied_names(model.encoder, model.decoder):
        first, second = own[name], other[name]
        if first == second:
            continue
        if first.turned or first.rows or second.turned or second.rows:
            equal = torch.equal(reader.tensor(first), reader.tensor(second))
        else:
            equal = reader.equal(first.source, second.source)
        if not equal:
            logger.warning(
                "%s says that its halves are tied (tie_encoder_decoder), but '%s' differs between them: "
                "they are loaded as they are, untied.",
                os.fspath(source),
                name,
            )
            return False
    return True


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
    if model.config.tie_encoder_decoder:
        check_tied(model.encoder, model.decoder)
    tensors = {**model.encoder.tensors("encoder.", headed=False), **model.decoder.tensors("decoder.", headed=True)}
    if model.enc_to_dec_proj is not None:
        tensors |= {_BRIDGE + n: p.detach() for n, p in model.enc_to_dec_proj.named_parameters()}
    if model.config.tie_encoder_decoder:  # readers that know of no tie need both copies
        tensors = {n: t.clone() if n.startswith("encoder.") else t for n, t in tensors.items()}
    meta = [name for name, tensor in tensors.items() if tensor.is_meta]
    if meta:
        raise CheckpointError(f"A model must have memory to be saved, but {len(meta)} tensors are on the meta device.")
    with folders.saving(folder, stale=stale_weights(variant)) as staged:
        written = _without_generation(model.config.to_dict())
        written["dtype"] = str(model.dtype).removeprefix("torch.")
        written["architectures"] = ["EncoderDecoderModel"]
        folders.write_json(staged / CONFIG_NAME, written)
        model.generation_config.save_pretrained(staged)
        write_weights(
            staged,
            tensors,
            max_shard_size=max_shard_size,
            variant=variant,
            safe_serialization=safe_serialization,
        )


def _without_generation(values: dict[str, Any]) -> dict[str, Any]:
    """Generation settings have a file of their own; only those that a family publishes as fields stay."""
    kept = {n: v for n, v in values.items() if n not in GENERATION_FIELDS}
    for side in ("encoder", "decoder"):
        published = family(values[side]["model_type"]).config.published
        kept[side] = {n: v for n, v in values[side].items() if n not in GENERATION_FIELDS or n in published}
    return kept
