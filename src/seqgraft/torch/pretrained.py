"""What every model class can do: say where and what it is, load, save, resize, checkpoint its activations."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from seqgraft.errors import ConfigurationError
from seqgraft.torch.attention import Attention
from seqgraft.torch.quantized import NOT_TRAINED, Quantized, QuantizedEmbedding
from seqgraft.torch.stack import Stack

M = TypeVar("M", bound="Pretrained")


class Pretrained(nn.Module):
    """The common part of a pair and of its halves."""

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The parameters' floating type; of a quantised model, that of what it computes with."""
        for module in self.modules():
            own = module.like if isinstance(module, Quantized) else next(module.parameters(False), None)
            if own is not None:
                return own.dtype
        return next(self.parameters()).dtype

    def train(self: M, mode: bool = True) -> M:
        """Switch to training. Raises ConfigurationError for a quantised model, before anything changes."""
        if mode and any(isinstance(module, Quantized) for module in self.modules()):
            raise ConfigurationError(NOT_TRAINED)
        return super().train(mode)

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """How many numbers the parameters hold, shared ones once."""
        tables = (nn.Embedding, QuantizedEmbedding)
        left_out = {id(p) for m in self.modules() if isinstance(m, tables) for p in m.parameters()}
        return sum(
            p.numel()
            for p in self.parameters()
            if (p.requires_grad or not only_trainable) and not (exclude_embeddings and id(p) in left_out)
        )

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """Recompute each layer in the backward pass instead of keeping its activations (Chen et al. 2016)."""
        unknown = set(gradient_checkpointing_kwargs or {}) - {"use_reentrant"}
        if unknown:
            raise TypeError(f"gradient_checkpointing_kwargs may hold 'use_reentrant', but holds {sorted(unknown)}.")
        for module in self.modules():
            if isinstance(module, Stack):
                module.checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """Keep activations again."""
        for module in self.modules():
            if isinstance(module, Stack):
                module.checkpointing = False

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether any stack recomputes its layers."""
        return any(isinstance(m, Stack) and m.checkpointing for m in self.modules())

    def set_attn_implementation(self, name: str | None) -> None:
        """`sdpa` (the default: torch's fused kernels) or `eager` (written out)."""
        if name not in (None, "sdpa", "eager"):
            raise ConfigurationError(f"`attn_implementation` must be 'sdpa' or 'eager', but is {name!r}.")
        for module in self.modules():
            if isinstance(module, Attention):
                module.eager = name == "eager"


def place(stack: Stack, name: str, tensor: Tensor) -> None:
    """Make `tensor` the parameter of this canonical name."""
    path, _, leaf = name.rpartition(".")
    stack.get_submodule(path)._parameters[leaf] = nn.Parameter(tensor, requires_grad=tensor.is_floating_point())


def as_dtype(dtype: Any) -> torch.dtype | None:
    """A torch dtype from a dtype, its name, or "auto" and None, which mean the checkpoint's."""
    if dtype is None or dtype == "auto":
        return None
    found = dtype if isinstance(dtype, torch.dtype) else getattr(torch, str(dtype).removeprefix("torch."), None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ConfigurationError(f"`dtype` must be a floating type of torch or its name, but is {dtype!r}.")
    return found


def as_device(device_map: Any) -> torch.device:
    """One device from what the field calls a device map: "auto", a device, its number, or {"": device}."""
    if isinstance(device_map, dict):
        if set(device_map) != {""}:
            raise ConfigurationError(
                f"`device_map` must put the whole model on one device, but splits it by {sorted(map(str, device_map))}."
            )
        device_map = device_map[""]
    if device_map is None:
        return torch.device("cpu")
    if device_map in ("auto", "balanced", "balanced_low_0", "sequential"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if isinstance(device_map, int):
        return torch.device("cpu" if device_map < 0 else f"cuda:{device_map}")
    try:
        return torch.device(device_map)
    except (RuntimeError, TypeError) as error:
        raise ConfigurationError(
            f"`device_map` must be 'auto', a device, its name or its number (-1 is the CPU), but is {device_map!r}."
        ) from error


def take_dtype(arguments: dict[str, Any]) -> torch.dtype | None:
    """`dtype`, or `torch_dtype`, its old name."""
    old = arguments.pop("torch_dtype", None)
    new = arguments.pop("dtype", None)
    return as_dtype(new if new is not None else old)
