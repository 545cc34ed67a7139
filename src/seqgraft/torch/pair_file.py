"""How both halves of a pair stand in one file.

Two halves that were put together stand under `encoder.` and `decoder.`, with a projection between them where their
widths differ. Those of a published encoder-decoder have the published names, and what they share stands once.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from seqgraft.checkpoints import WeightFiles
from seqgraft.errors import CheckpointError
from seqgraft.families import Whole, family, graft_table
from seqgraft.torch.half import Half
from seqgraft.torch.halves import CausalModel
from seqgraft.torch.loading import Filling, plan_filling
from seqgraft.torch.tying import shared_names
from seqgraft.torch.weights import TorchReader

if TYPE_CHECKING:
    from seqgraft.torch.model import EncoderDecoderModel

logger = logging.getLogger("seqgraft")

BRIDGE = "enc_to_dec_proj."
_OLD_PREFIX = "encoder_decoder."


def plan_pair(model: EncoderDecoderModel, files: WeightFiles) -> dict[str, Filling]:
    """Match both halves against the files. A tensor that they share may stand with either: what one half lacks,
    the other one gives."""
    whole = _whole(model)
    starts = {side: f"{side}." if whole is None else "" for side in ("encoder", "decoder")}
    fillings = {side: _plan(getattr(model, side), files, start) for side, start in starts.items()}
    if whole is not None:
        fillings["decoder"].fresh = list(whole.fixed)
    shared = shared_names(model.config, model.encoder, model.decoder)
    for side, other in (("encoder", "decoder"), ("decoder", "encoder")) if shared else ():
        plan, giver = fillings[side].plan, fillings[other].plan
        for name in shared:
            if name not in plan.pieces and name in giver.pieces:
                plan.pieces[name] = giver.pieces[name]
        missing = tuple(name for name in plan.missing if name not in plan.pieces)
        fillings[side].plan = dataclasses.replace(plan, missing=missing)
    return fillings


def _whole(model: EncoderDecoderModel) -> Whole | None:
    return family(model.config.whole).whole if model.config.whole is not None else None


def _plan(half: Half, files: WeightFiles, start: str) -> Filling:
    graft = graft_table(family(half.config.model_type), half.config) if isinstance(half, CausalModel) else {}
    filling = plan_filling(half, half.names(), files, start, graft)
    filling.fresh = []  # a pair's own folder holds everything
    return filling


def undressed(files: WeightFiles) -> WeightFiles:
    """Without the `encoder_decoder.` that some files put before every name."""
    headers = {name.removeprefix(_OLD_PREFIX): header for name, header in files.headers.items()}
    return dataclasses.replace(files, headers=headers)


def strangers(model: EncoderDecoderModel, files: WeightFiles) -> list[str]:
    """What is wrong with the projection, and what belongs to neither half."""
    if _whole(model) is not None:
        return []  # the halves have looked at every name
    stored = {n: h.shape for n, h in files.headers.items() if n.startswith(BRIDGE)}
    bridge = model.enc_to_dec_proj
    must = {} if bridge is None else {BRIDGE + n: tuple(p.shape) for n, p in bridge.named_parameters()}
    found = [f"Missing: {name}" for name in must if name not in stored]
    found += [f"Unexpected: {name}" for name in stored if name not in must]
    found += [
        f"Of the wrong shape: {name} must be {list(must[name])}, but is {list(stored[name])}"
        for name in must
        if name in stored and must[name] != stored[name]
    ]
    strange = [name for name in files.headers if not name.startswith(("encoder.", "decoder.", BRIDGE))]
    if strange:
        found.append(f"Unexpected, {len(strange)} tensors that belong to neither half: {', '.join(strange)}")
    return found


def same_when_both_stored(
    model: EncoderDecoderModel, fillings: dict[str, Filling], reader: TorchReader, source: str | os.PathLike[str]
) -> bool:
    """Whether the halves' copies are equal. A checkpoint may call halves tied that were trained apart."""
    own, other = fillings["encoder"].plan.pieces, fillings["decoder"].plan.pieces
    for name in shared_names(model.config, model.encoder, model.decoder):
        first, second = own[name], other[name]
        if first == second:
            continue
        if first.turned or first.rows or second.turned or second.rows:
            equal = torch.equal(reader.tensor(first), reader.tensor(second))
        else:
            equal = reader.equal(first.source, second.source)
        if not equal and model.config.whole is not None:
            raise CheckpointError(
                f"'{first.source}' and '{second.source}' must be equal, since the halves of '{model.config.whole}' "
                "share them, but they differ."
            )
        if not equal:
            logger.warning(
                "%s says that its halves are tied (tie_encoder_decoder), but '%s' differs between them: "
                "they are loaded as they are, untied.",
                os.fspath(source),
                name,
            )
            return False
    return True


def pair_tensors(model: EncoderDecoderModel) -> dict[str, Tensor]:
    """The file's name -> tensor of everything that a checkpoint of the pair holds, views where possible."""
    whole = _whole(model)
    if whole is not None:
        both = {**model.encoder.tensors(headed=True), **model.decoder.tensors(headed=True)}
        table = whole.table(model.config.decoder)
        return {table if table and name in whole.copies else name: tensor for name, tensor in both.items()}
    tensors = {**model.encoder.tensors("encoder.", headed=False), **model.decoder.tensors("decoder.", headed=True)}
    if model.enc_to_dec_proj is not None:
        tensors |= {BRIDGE + n: p.detach() for n, p in model.enc_to_dec_proj.named_parameters()}
    if model.config.tie_encoder_decoder:  # readers that know of no tie need both copies
        tensors = {n: t.clone() if n.startswith("encoder.") else t for n, t in tensors.items()}
    return tensors
