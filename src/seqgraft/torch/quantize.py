"""A pair of floats -> the same pair with 8-bit weights, in place."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from seqgraft.checkpoints.quantized import METHOD
from seqgraft.errors import ConfigurationError
from seqgraft.torch.experts import Experts
from seqgraft.torch.half import Half
from seqgraft.torch.quantized import KINDS, Quantized, QuantizedLinear, quantised
from seqgraft.torch.quantized_file import BRIDGE, put
from seqgraft.torch.tying import shared_names

if TYPE_CHECKING:
    from seqgraft.torch.model import EncoderDecoderModel

Told = Callable[[str, int, int], None]
"""Called with a map's name, how many are done, and how many there are."""


@torch.no_grad()
def quantize(
    model: EncoderDecoderModel, dtype: str = "int8", skip: Collection[str] = (), told: Told | None = None
) -> EncoderDecoderModel:
    """See `EncoderDecoderModel.quantize`."""
    if dtype not in KINDS:
        raise ConfigurationError(f"`dtype` must be one of {', '.join(map(repr, KINDS))}, but is {dtype!r}.")
    if is_quantized(model):
        raise ConfigurationError("A model must hold floats to be quantised, but this one is quantised already.")
    if any(tensor.is_meta for tensor in model.parameters()):
        raise ConfigurationError("A model must have memory to be quantised, but is on the meta device.")
    places = list(_places(model, skip))
    for done, (half, path, name) in enumerate(places):
        old: Any = half.get_submodule(path) if half is not None else model.enc_to_dec_proj
        weight, scales = quantised(old.weight, KINDS[dtype])
        if half is None:
            setattr(model, BRIDGE, QuantizedLinear(weight, scales, old.bias, old.weight.dtype))
        else:
            put(half, path, weight, scales, old.weight.dtype)
        if told is not None:
            told(name, done + 1, len(places))
    model.eval()
    model.requires_grad_(False)
    model.tie_weights()
    config: Any = model.config
    config.quantization_config = {"quant_method": METHOD, "dtype": dtype, "modules_to_not_convert": sorted(skip)}
    return model


def is_quantized(model: nn.Module) -> bool:
    """Whether any weight is one of 8 bits."""
    return any(isinstance(module, Quantized) for module in model.modules())


def _places(model: EncoderDecoderModel, skip: Collection[str]) -> list[tuple[Half | None, str, str]]:
    """(half, path, full name) of every map and token table to quantise; the bridge has no half.

    What stays float: positions and other tables, norms, convolutions, and the maps that choose experts, which few
    numbers decide. A table that both halves read is as the decoder's is said to be, and a tied head as its table.
    """
    shared = set(shared_names(model.config, model.encoder, model.decoder))
    unused = set(skip)
    found: list[tuple[Half | None, str, str]] = []

    def kept(*names: str) -> bool:
        matched = {pattern for name in names for pattern in skip if fnmatch.fnmatchcase(name, pattern)}
        unused.difference_update(matched)
        return bool(matched)

    for side in ("encoder", "decoder"):
        half: Any = getattr(model, side)
        if not isinstance(half, Half):
            continue  # another library's encoder, which is not ours to change
        routers = {module.router for module in half.modules() if isinstance(module, Experts)}
        tied = half.head is not None and half.head.spec.tied
        for path, module in half.named_modules():
            if type(module) is not nn.Linear and module is not half.embed:
                continue
            if module in routers or path.startswith("pooler.") or (tied and path == "head.output"):
                continue
            own = f"decoder.{path}" if f"{path}.weight" in shared else f"{side}.{path}"
            both = ("decoder.head.output",) if tied and own == "decoder.embed" else ()
            if not kept(own, *both):
                found.append((half, path, f"{side}.{path}"))
    if type(model.enc_to_dec_proj) is nn.Linear and not kept(BRIDGE):
        found.append((None, BRIDGE, BRIDGE))
    if unused:
        raise ConfigurationError(
            f"`modules_to_not_convert` must name maps of the model, but nothing is called {', '.join(sorted(unused))}."
        )
    return found
