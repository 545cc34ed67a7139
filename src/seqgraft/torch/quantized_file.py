"""How a quantised pair stands in its file: 8-bit weights under the model's own names, mapped as they are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seqgraft.checkpoints import WeightFiles
from seqgraft.checkpoints.check import refuse
from seqgraft.checkpoints.quantized import CARRIED, is_quantized, quantized_problems, scale_of
from seqgraft.errors import CheckpointError
from seqgraft.spec import parameters
from seqgraft.torch.half import Half
from seqgraft.torch.pretrained import place
from seqgraft.torch.quantized import Quantized, QuantizedEmbedding, QuantizedLinear
from seqgraft.torch.tying import shared_names
from seqgraft.torch.weights import TorchReader

if TYPE_CHECKING:
    from seqgraft.torch.model import EncoderDecoderModel

BRIDGE = "enc_to_dec_proj"


def quantized_tensors(model: EncoderDecoderModel) -> dict[str, Tensor]:
    """The file's name -> tensor of everything that a quantised pair holds, views."""
    held: dict[str, Tensor] = {}
    shared = set(shared_names(model.config, model.encoder, model.decoder))
    for side in ("encoder", "decoder"):
        half: Half = getattr(model, side)
        for name in parameters(half.spec):
            if side == "encoder" and name in shared:
                continue
            held[f"{side}.{name}"] = half.get_parameter(name).detach()
            owner = half.get_submodule(name.rpartition(".")[0])
            if isinstance(owner, Quantized) and name.endswith(".weight"):
                held[scale_of(f"{side}.{name}")] = owner.scales.detach()
        for name, tensor in half._carried().items():
            held[f"{side}.{CARRIED}{name}"] = tensor
    if model.enc_to_dec_proj is not None:
        held |= {f"{BRIDGE}.{name}": p.detach() for name, p in model.enc_to_dec_proj.named_parameters()}
    return held


def fill_quantized(
    model: EncoderDecoderModel,
    files: WeightFiles,
    source: str | os.PathLike[str],
    kind: str,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Give a pair that was built without memory its tensors; the float weights are never made.

    Raises CheckpointError, one that lists all that is missing, unexpected or unfit.
    """
    names = shared_names(model.config, model.encoder, model.decoder)
    shared = {f"encoder.{name}": f"decoder.{name}" for name in names}
    tables = {f"{side}.": parameters(getattr(model, side).spec) for side in ("encoder", "decoder")}
    bridge = model.enc_to_dec_proj
    if bridge is not None:
        tables[f"{BRIDGE}."] = {name: tuple(p.shape) for name, p in bridge.named_parameters()}
    refuse(source, quantized_problems(files, tables, kind, shared))
    with TorchReader(files) as reader:

        def read(full: str) -> Tensor:
            found = reader.raw(full if full in files.headers else shared[full]).to(device)
            return found.to(dtype) if found.dtype in (torch.float32, torch.float16, torch.bfloat16) else found

        def scales(full: str) -> Tensor:
            return reader.raw(scale_of(full if full in files.headers else shared[full])).to(device)

        for side in ("encoder", "decoder"):
            half: Half = getattr(model, side)
            for name in parameters(half.spec):
                full = f"{side}.{name}"
                if is_quantized(files, shared.get(full, full)):
                    put(half, name.rpartition(".")[0], read(full), scales(full), dtype)
                else:
                    place(half, name, read(full))
            start = f"{side}.{CARRIED}"
            half.carried = {n[len(start) :]: read(n) for n in files.headers if n.startswith(start)}
            half.requires_grad_(False)
        if bridge is not None:
            if is_quantized(files, f"{BRIDGE}.weight"):
                weight, bias = read(f"{BRIDGE}.weight"), read(f"{BRIDGE}.bias")
                setattr(model, BRIDGE, QuantizedLinear(weight, scales(f"{BRIDGE}.weight"), bias, dtype))
            else:
                for leaf in ("weight", "bias"):
                    bridge._parameters[leaf] = nn.Parameter(read(f"{BRIDGE}.{leaf}"), requires_grad=False)


def put(half: Half, path: str, weight: Tensor, scales: Tensor, dtype: torch.dtype) -> None:
    """Replace a map or a table by its quantised kind, and the head that is tied to the table with it."""
    old = half.get_submodule(path)
    parent, _, leaf = path.rpartition(".")
    if isinstance(old, nn.Embedding):
        made: nn.Module = QuantizedEmbedding(weight, scales, dtype, old.padding_idx)
        head: Any = half.head
        if path == "embed" and head is not None and head.spec.tied:
            head.output = _linear(head.output, weight, scales, dtype)
    elif isinstance(old, nn.Linear):
        made = _linear(old, weight, scales, dtype)
    else:
        raise CheckpointError(f"'{path}' must be a linear map or a table to be quantised, but is {type(old).__name__}.")
    setattr(half.get_submodule(parent), leaf, made)


def _linear(old: nn.Linear, weight: Tensor, scales: Tensor, dtype: torch.dtype) -> QuantizedLinear:
    """With the bias as it is, which may still wait for its values."""
    return QuantizedLinear(weight, scales, old.bias, dtype)
