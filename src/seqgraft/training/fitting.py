"""The run of a training on Lightning, from its first step or from a checkpoint's."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch

from seqgraft.errors import ConfigurationError
from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.training.checkpoints import WholeFiles
from seqgraft.training.data import TokenizedPairs
from seqgraft.training.module import Seq2SeqModule
from seqgraft.training.plan import BatchPlan
from seqgraft.training.processes import Processes
from seqgraft.training.stream import Stream, steps_of

FREE = frozenset({"check", "checkpoint_every", "compile", "device", "resume", "save_dtype"})
"""Settings that may be others when a training is resumed."""


def fit(
    module: Seq2SeqModule,
    data: TokenizedPairs,
    plan: BatchPlan,
    *,
    processes: Processes,
    device: str,
    epochs: int,
    accumulate: int,
    precision: str,
    dropout: bool,
    callbacks: Sequence[Any],
    checkpoint: Path | None,
    start: int,
    gradient_checkpointing: bool,
    compile: bool,
) -> lightning.Trainer:
    """Train until a callback stops it or the epochs are over; `start` is the step of `checkpoint`."""
    accelerator, devices = placed(device)
    strategy: Any = "auto"
    if processes.world > 1:
        devices, strategy = processes.devices, module.joined(processes.world)
    trainer = lightning.Trainer(
        accelerator=accelerator,
        devices=devices,
        num_nodes=processes.nodes,
        strategy=strategy,
        plugins=[WholeFiles()],
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
        deterministic="warn" if accelerator == "gpu" else None,
        max_epochs=epochs,
        accumulate_grad_batches=accumulate,
        callbacks=list(callbacks),
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=any(isinstance(c, lightning.pytorch.callbacks.Checkpoint) for c in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    share: dict[str, Any] = {
        "accumulate": accumulate,
        "world": processes.world,
        "start": start,
        "pin": accelerator == "gpu",
    }
    module.stream = lambda: Stream(data, plan, rank=trainer.global_rank, **share)
    # The loops' places are a number of steps and no more: Lightning's own, within an epoch, depend on its version.
    loop = trainer.fit_loop
    epochs_done: Any = loop.epoch_progress.current
    epochs_done.processed = epochs_done.completed = start // steps_of(plan, accumulate, processes.world)
    loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total.completed = start
    module.train(dropout)  # Lightning keeps the modes that it finds: eval is training without dropout
    with _options(module.model, gradient_checkpointing, compile):
        trainer.fit(module, ckpt_path=checkpoint, weights_only=None if checkpoint is None else True)
    return trainer


@contextlib.contextmanager
def _options(model: EncoderDecoderModel, checkpointing: bool, compiled: bool) -> Iterator[None]:
    """Layers that recompute their activations, or are compiled, while this lasts."""
    was = model.is_gradient_checkpointing
    layers = [layer for half in (model.encoder, model.decoder) for layer in getattr(half, "layers", ())]
    deterministic = torch.are_deterministic_algorithms_enabled()
    if checkpointing:
        model.gradient_checkpointing_enable()
    if compiled:
        for layer in layers:
            layer.compile(dynamic=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        if checkpointing and not was:
            model.gradient_checkpointing_disable()
        if compiled:
            for layer in layers:
                layer._compiled_call_impl = None


def identity(
    model: EncoderDecoderModel, data: TokenizedPairs, settings: Mapping[str, Any], processes: Processes
) -> dict[str, Any]:
    """What must be the same for a training to be resumed, in plain types."""
    shapes = [f"{name} {tuple(value.shape)}" for name, value in model.named_parameters()]
    known = {name: value for name, value in settings.items() if name not in FREE}
    known |= {
        "pairs": len(data),
        "tokens of the pairs": data.digest(),
        "processes": processes.world,
        "tensors of the model": hashlib.sha256("\n".join(shapes).encode()).hexdigest()[:16],
    }
    plain: dict[str, Any] = json.loads(json.dumps(known, default=str))
    return plain


def placed(device: str) -> tuple[str, Any]:
    """Lightning's words for a device."""
    try:
        wanted = (
            torch.device("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else torch.device(device)
        )
    except RuntimeError as error:
        raise ConfigurationError(f"`device` must be 'auto', 'cpu', 'cuda' or 'cuda:N', but is {device!r}.") from error
    if wanted.type == "cpu":
        return "cpu", 1
    return ("gpu" if wanted.type == "cuda" else wanted.type), [wanted.index or 0]
