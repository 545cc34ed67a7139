"""Linear maps and tables of embeddings whose weights are 8-bit numbers, with a scale for every row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from seqgraft.errors import ConfigurationError
from seqgraft.torch.product_int8 import multiplier

KINDS = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}
"""What a weight can be stored as: whole numbers, or floats of 4 bits of exponent and 3 of mantissa."""

_LARGEST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0}
_ROWS = 4096
"""Rows that are quantised at a time."""

NOT_TRAINED = (
    "A quantised model cannot be trained, since its weights are 8-bit numbers without gradients: train the model "
    "that it was made from, and quantise it again."
)


def quantised(weight: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """weight [out, in] -> 8-bit numbers [out, in] and float32 scales [out]: symmetric, the largest of each row exact.

    No weight is further than half a step from what it was; a step of int8 is its row's largest / 127.
    """
    weight = weight.detach()
    small, scales = torch.empty(weight.shape, dtype=dtype, device=weight.device), []
    for at in range(0, len(weight), _ROWS):
        rows = weight[at : at + _ROWS].float()
        scale = rows.abs().amax(-1) / _LARGEST[dtype]
        if not bool(torch.isfinite(scale).all()):
            raise ConfigurationError("A weight must hold finite numbers to be quantised, but holds others.")
        scale = torch.where(scale > 0, scale, 1.0)
        rows = rows / scale[:, None]
        rows = rows.round_().clamp_(-127, 127) if dtype is torch.int8 else rows.clamp_(-448, 448)
        small[at : at + _ROWS] = rows.to(dtype)
        scales.append(scale)
    return small, torch.cat(scales)


class Quantized(nn.Module):
    """What both have: `weight` [rows, columns] of 8 bits, `scales` [rows] of float32; neither is ever trained."""

    weight: nn.Parameter
    scales: nn.Parameter
    like: Tensor
    """Nothing, in the dtype that the model computes in: it goes where the model goes, and becomes what it becomes."""

    def __init__(self, weight: Tensor, scales: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.training = False
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.scales = nn.Parameter(scales, requires_grad=False)
        self.register_buffer("like", torch.empty(0, dtype=dtype, device=weight.device), persistent=False)

    def dequantised(self) -> Tensor:
        """The weight [rows, columns] as float32: what the 8-bit numbers stand for."""
        return self.weight.detach().float() * self.scales.detach()[:, None]

    def train(self, mode: bool = True) -> Quantized:
        """Raises ConfigurationError for `mode=True`."""
        if mode:
            raise ConfigurationError(NOT_TRAINED)
        return super().train(False)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Quantized:
        """Moving moves all; a new dtype is the bias's alone: the stored numbers and scales stay what they are."""
        held = {"weight": self.weight.data, "scales": self.scales.data}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, before in held.items():
            now = self.get_parameter(name)
            if now.dtype is not before.dtype:
                now.data = before.to(now.device)
        return self


class QuantizedLinear(Quantized):
    """A linear map with 8-bit weights; see `product_int8` for how it is computed."""

    def __init__(
        self, weight: Tensor, scales: Tensor, bias: Tensor | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__(weight, scales, dtype)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)

    @classmethod
    def of(cls, linear: nn.Linear, dtype: torch.dtype = torch.int8) -> QuantizedLinear:
        """The same map, its weights rounded."""
        return cls(*quantised(linear.weight, dtype), linear.bias, linear.weight.dtype)

    @property
    def in_features(self) -> int:
        """Width of what it reads."""
        return self.weight.shape[1]

    @property
    def out_features(self) -> int:
        """Width of what it gives."""
        return self.weight.shape[0]

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out] of the same dtype."""
        signature = _signature([self])
        held = self.__dict__.get("_map")
        if held is None or held[0] != signature:
            held = self.__dict__["_map"] = signature, stacked([self])
        out: Tensor = held[1](x)
        return out

    def __getstate__(self) -> dict[str, Any]:
        """Without the packed copy, which is made again."""
        return {name: value for name, value in self.__dict__.items() if name != "_map"}

    def extra_repr(self) -> str:
        """For `print`."""
        return f"in_features={self.in_features}, out_features={self.out_features}, dtype={self.weight.dtype}"


class QuantizedEmbedding(Quantized):
    """A table of embeddings with 8-bit rows; the head that is tied to it has the same numbers and scales."""

    def __init__(self, weight: Tensor, scales: Tensor, dtype: torch.dtype, padding_idx: int | None = None) -> None:
        super().__init__(weight, scales, dtype)
        self.padding_idx = padding_idx

    @classmethod
    def of(cls, table: nn.Embedding, dtype: torch.dtype = torch.int8) -> QuantizedEmbedding:
        """The same table, its rows rounded."""
        return cls(*quantised(table.weight, dtype), table.weight.dtype, table.padding_idx)

    @property
    def num_embeddings(self) -> int:
        """Rows."""
        return self.weight.shape[0]

    @property
    def embedding_dim(self) -> int:
        """Columns."""
        return self.weight.shape[1]

    def forward(self, ids: Tensor) -> Tensor:
        """ids [...] -> [..., width]"""
        rows: Tensor = self.weight[ids].float() * self.scales[ids][..., None]
        return rows.to(self.like.dtype)

    def extra_repr(self) -> str:
        """For `print`."""
        return f"{self.num_embeddings}, {self.embedding_dim}, dtype={self.weight.dtype}"


def dtype_of(module: nn.Module) -> torch.dtype:
    """The floating type that a map computes in, whatever its weight is stored as."""
    held = module.like if isinstance(module, Quantized) else module.weight
    return cast("Tensor", held).dtype


def unhooked(module: nn.Module) -> bool:
    """Whether this is a quantised map whose calls nobody watches, so that it may be computed elsewhere."""
    return type(module) is QuantizedLinear and not (module._forward_hooks or module._forward_pre_hooks)


@torch.no_grad()
def stacked(maps: Sequence[QuantizedLinear]) -> Callable[[Tensor], Tensor]:
    """Several maps of one input as one: x [..., in] -> [..., the sum of their widths]."""
    if len(maps) == 1:
        return multiplier(maps[0].weight, maps[0].scales, maps[0].bias)
    weight = torch.cat([one.weight.detach() for one in maps])
    scales = torch.cat([one.scales.detach() for one in maps])
    if all(one.bias is None for one in maps):
        return multiplier(weight, scales, None)
    zeros = [torch.zeros_like(one.scales) if one.bias is None else one.bias.detach() for one in maps]
    return multiplier(weight, scales, torch.cat([bias.float() for bias in zeros]))


def _signature(maps: Sequence[QuantizedLinear]) -> tuple[tuple[int, int], ...]:
    """Changes when a tensor is replaced, moved or written to."""
    held = [t for one in maps for t in (one.weight, one.scales, one.bias) if t is not None]
    return tuple((t.data_ptr(), t._version) for t in held)
