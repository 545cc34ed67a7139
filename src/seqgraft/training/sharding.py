"""Weights, gradients and optimizer in shards, one on each process (FSDP, Zhao et al. 2023; torch's `fully_shard`)."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from seqgraft.errors import ConfigurationError
from seqgraft.torch.layers import Layer
from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.torch.stack import Stack
from seqgraft.training.broken import NotFiniteError
from seqgraft.training.module import Seq2SeqModule


class ShardedModule(Seq2SeqModule):
    """The training step of a model whose weights lie in shards.

    What is trained is a copy, made layer by layer on the device, of which every process holds its part; the model that
    was given stays whole where it is. It has the trained weights after `gather`, and in the end.
    """

    def __init__(self, model: EncoderDecoderModel, *arguments: Any, **options: Any) -> None:
        super().__init__(shell(model), *arguments, **options)
        self._whole = (model,)  # in a tuple, which is no part of this module

    def joined(self, world: int) -> Any:
        """In shards."""
        return Sharding(world)

    def configure_model(self) -> None:
        """Lightning calls it where the processes know each other."""
        if not any(isinstance(parameter, DTensor) for parameter in self.model.parameters()):
            mesh: Any = self.device_mesh
            shard(self.model, mesh["data_parallel"])
            setattr(self.model, "summed_loss", super().summed_loss)  # noqa: B010
            register_fsdp_forward_method(self.model, "summed_loss")

    def summed_loss(self, batch: Mapping[str, Any]) -> Tensor:
        """As of the whole model; what no layer holds is gathered around it."""
        loss: Callable[..., Tensor] = getattr(self.model, "summed_loss")  # noqa: B009
        return loss(batch)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """The whole model has the weights of a loss that is no number, for who looks where it comes from."""
        try:
            super().on_before_optimizer_step(optimizer)
        except NotFiniteError:
            self.gather()
            raise

    def on_train_end(self) -> None:
        """The whole model is the trained one."""
        self.gather()

    @torch.no_grad()
    def gather(self) -> None:
        """Give the whole model the weights that lie in shards. All processes must call it."""
        whole = dict(self._whole[0].named_parameters())
        for name, value in self.model.named_parameters():
            whole[name].copy_(full(value))

    @torch.no_grad()
    def put(self, values: Mapping[str, Tensor]) -> None:
        """Set some weights, by name."""
        held = dict(self.model.named_parameters())
        for name, value in values.items():
            held[name].copy_(like(held[name], value))

    @contextlib.contextmanager
    def measured(self) -> Iterator[EncoderDecoderModel]:
        """The whole model, on this process's device for as long as this lasts. All processes must ask for it."""
        self.gather()
        model = self._whole[0]
        where = model.device
        try:
            yield model.to(self.device)
        finally:
            model.to(where)


class Sharding(ModelParallelStrategy):
    """Lightning's strategy for fully_shard, whose checkpoints are those of one process: one file, not in shards."""

    def __init__(self, processes: int) -> None:
        super().__init__(data_parallel_size=processes, tensor_parallel_size=1, save_distributed_checkpoint=False)

    @property
    def lightning_restore_optimizer(self) -> bool:
        """By `load_optimizer_state_dict`."""
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The whole weights, on the first process; nothing on the others."""
        return self._first(self._module.state_dict())

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """The optimizer's state, its tensors whole, on the first process; nothing on the others."""
        held = getattr(optimizer, "_optimizer", optimizer).state_dict()
        return {**held, "state": {key: self._first(values) for key, values in held["state"].items()}}

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """The file, mapped: every process reads its own part of it."""
        held: dict[str, Any] = torch.load(checkpoint_path, map_location="cpu", mmap=True, weights_only=weights_only)
        return held

    @torch.no_grad()
    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Give every shard its part."""
        own = self._module.state_dict()
        self._module.load_state_dict(
            {name: like(own[name], value) for name, value in checkpoint["state_dict"].items()}, strict=strict
        )

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Give every shard's optimizer its part."""
        for optimizer, held in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            params = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            state = {
                index: {
                    name: like(params[index], value) if _alike(params[index], value) else value
                    for name, value in values.items()
                }
                for index, values in held["state"].items()
            }
            optimizer.load_state_dict({**held, "state": state})

    @property
    def _module(self) -> nn.Module:
        if self.model is None:
            raise RuntimeError("A strategy has a model when a training is under way.")
        return self.model

    def _first(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values, tensors whole and on the CPU, on the first process."""
        found: dict[str, Any] = {}
        for name, value in values.items():
            whole = full(value.detach()) if isinstance(value, Tensor) else value
            if self.is_global_zero:
                found[name] = whole.cpu() if isinstance(whole, Tensor) else whole
        return found


def check_shardable(model: EncoderDecoderModel) -> None:
    """Raise ConfigurationError for a model whose processes would not all go through the same layers."""
    for side in ("encoder", "decoder"):
        spec = getattr(getattr(model, side), "spec", None)
        if spec is not None and spec.layer_drop > 0:
            raise ConfigurationError(
                f"`strategy` must not be 'fsdp' for a model that leaves layers out at random, since each process would "
                f"leave out others, but the {side}'s configuration says {spec.layer_drop} (layerdrop): set it to 0."
            )


def shell(model: EncoderDecoderModel) -> EncoderDecoderModel:
    """A copy of a model, whose parameters are parameters of their own over the same numbers; ties stay ties."""
    memo: dict[int, Any] = {
        id(parameter): nn.Parameter(parameter.detach(), requires_grad=parameter.requires_grad)
        for parameter in model.parameters()
    }
    return copy.deepcopy(model, memo)


def shard(model: EncoderDecoderModel, mesh: Any) -> None:
    """Shard in place: each layer for itself, all else together.

    Layers that share a parameter (tied halves) are one group, which is gathered from the first of them to the last.
    """
    layers: dict[int, Layer] = {}
    for half in (model.encoder, model.decoder):
        if isinstance(half, Stack):
            layers |= {id(layer): layer for layer in half.layers if isinstance(layer, Layer)}
    outside = {id(p) for name, p in model.named_parameters(remove_duplicate=False) if ".layers." not in name}
    biases = [layer.self_attention.position_bias for layer in layers.values()]  # read before their layers are called
    for group in (*_groups([bias for bias in biases if bias is not None]), *_groups(list(layers.values()))):
        if not any(id(parameter) in outside for module in group for parameter in module.parameters()):
            fully_shard(group, mesh=mesh)
    fully_shard(model, mesh=mesh)


def _groups(modules: Sequence[nn.Module]) -> list[list[nn.Module]]:
    """Modules, those together that share a parameter."""
    groups: list[tuple[set[int], list[nn.Module]]] = []
    for module in modules:
        held, members = {id(parameter) for parameter in module.parameters()}, [module]
        for group in [group for group in groups if group[0] & held]:
            groups.remove(group)
            held, members = group[0] | held, [*group[1], *members]
        groups.append((held, members))
    return [members for _, members in groups]


def full(value: Tensor) -> Tensor:
    """A tensor, gathered where it lies in shards. All processes must call it."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def like(own: Tensor, value: Tensor) -> Tensor:
    """A whole tensor as `own` lies: this process's part of it, or all."""
    if not isinstance(own, DTensor):
        return value
    there = value.to(own.device_mesh.device_type)
    return distribute_tensor(there, own.device_mesh, own.placements, src_data_rank=None)


def _alike(own: Tensor, value: Any) -> bool:
    return isinstance(value, Tensor) and value.shape == own.shape
