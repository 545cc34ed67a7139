"""The mean of the last checkpoints' weights in the place of the last weights (Vaswani et al. 2017, section 6.1)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import lightning
import torch
from torch import Tensor


class Averager(lightning.Callback):
    """Keeps the weights of the last `last` epochs, or of every `every`-th step, and puts their mean in at the end.

    The weights that the training ends with are the last of them. Only what is trained is kept, in the memory of the
    CPU, and in the files that a training resumes from.
    """

    def __init__(self, last: int, every: int | None = None) -> None:
        self.every = every
        self.averaged: list[int] = []
        """The steps whose weights the mean is of, once it is in the model."""
        self._kept: deque[dict[str, Tensor]] = deque(maxlen=last)
        self._steps: deque[int] = deque(maxlen=last)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Keep the weights when the steps are due."""
        step = trainer.global_step
        if self.every is not None and step % self.every == 0:
            self._keep(step, pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Keep the weights when epochs count."""
        if self.every is None:
            self._keep(trainer.global_step, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Put the mean in."""
        self._keep(trainer.global_step, pl_module)
        self.averaged = list(self._steps)
        if len(self.averaged) > 1:
            pl_module.put(mean(self._kept))

    def _keep(self, step: int, module: Any) -> None:
        if step == 0 or (self._steps and self._steps[-1] == step):  # a step may have several batches
            return
        with module.measured() as model:
            moving = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
            self._kept.append({name: value.detach().to("cpu", copy=True) for name, value in moving})
        self._steps.append(step)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs to go on as if it had not been interrupted."""
        return {"steps": list(self._steps), "kept": list(self._kept)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self._steps.extend(state_dict["steps"])
        self._kept.extend(state_dict["kept"])


def mean(kept: Sequence[Mapping[str, Tensor]] | deque[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Name -> the mean of several models' values of it, summed in float64."""
    return {
        name: sum((held[name].double() for held in kept), torch.zeros(())).div(len(kept)).to(value.dtype)
        for name, value in kept[-1].items()
    }
