"""The course of a training for TensorBoard and for Lightning's loggers (CSV, MLflow, Weights & Biases, ...)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import lightning

from seqgraft.errors import MissingExtraError
from seqgraft.training.progress import Meter

if TYPE_CHECKING:
    from seqgraft.training.validation import Validator


class TensorBoard:
    """A folder of TensorBoard's files, with the methods of Lightning's loggers that `Board` calls."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Raises MissingExtraError without tensorboard."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("TensorBoard's files need tensorboard: pip install tensorboard.") from error
        self._writer: Any = SummaryWriter(os.fspath(folder))

    def log_hyperparams(self, params: Mapping[str, Any]) -> None:
        """Nothing: `training.json` has them."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Write the figures of a step."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def finalize(self, status: str) -> None:
        """Close the files."""
        self._writer.close()


class Board(lightning.Callback):
    """Tells loggers the settings, and loss, rates, speed and validation figures while they come."""

    def __init__(
        self,
        loggers: Sequence[Any],
        settings: Mapping[str, Any],
        meter: Meter,
        validator: Validator | None,
        every: int = 10,
    ) -> None:
        self._loggers, self._settings = loggers, settings
        self._meter, self._validator, self._every = meter, validator, every
        self._told = self._step = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Tell the settings."""
        for logger in self._loggers:
            logger.log_hyperparams(dict(self._settings))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Write every few steps."""
        step = trainer.global_step
        if step != self._step and (step % self._every == 0 or step == 1):
            self._step = step
            figures = {
                "train/loss": self._meter.loss,
                "train/target_tokens_per_second": self._meter.speed(pl_module.budget.seconds()),
            }
            for group in trainer.optimizers[0].param_groups:
                decayed = "" if group["weight_decay"] else "_without_decay"
                figures[f"rate/{group.get('pattern', 'all')}{decayed}"] = group["lr"]
            self._write(figures, step)
        self._validated()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Write what is left, and close."""
        self._validated()
        self._close("success")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Close."""
        self._close("failed")

    def _validated(self) -> None:
        history = self._validator.history if self._validator is not None else []
        for entry in history[self._told :]:
            figures = {f"validation/{name}": value for name, value in entry.items() if name not in ("step", "seconds")}
            self._write(figures, int(entry["step"]))
        self._told = len(history)

    def _write(self, figures: Mapping[str, float], step: int) -> None:
        for logger in self._loggers:
            logger.log_metrics(dict(figures), step)

    def _close(self, status: str) -> None:
        for logger in self._loggers:
            logger.finalize(status)
