"""The training step as Lightning sees it."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import lightning
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from seqgraft.errors import SeqgraftError
from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.training.broken import MOST_SKIPPED, NotFiniteError
from seqgraft.training.groups import Rate, factors, rate_groups
from seqgraft.training.loss import token_loss
from seqgraft.training.schedule import Budget, Decay


class Seq2SeqModule(lightning.LightningModule):
    """Token-mean cross-entropy, AdamW with a rate of its own for new weights, warm-up and decay over a budget.

    The loss of an optimizer step is the sum over all its target tokens divided by their number, however they are split
    into batches and processes.
    """

    def __init__(
        self,
        model: EncoderDecoderModel,
        budget: Budget,
        *,
        learning_rate: float,
        new_learning_rate: float,
        weight_decay: float,
        warmup: float,
        decay: Decay,
        label_smoothing: float,
        gradient_clip: float | None,
        rates: Sequence[str | Rate] = (),
        adam_beta2: float = 0.98,
        z_loss: float = 0.0,
        seed: int = 0,
        skip_broken: bool = False,
    ) -> None:
        super().__init__()
        self.skip_broken, self.broken, self.broken_in_a_row = skip_broken, 0, 0
        """Whether steps without a finite loss are left out, and how many were."""
        self.model = model
        self.budget = budget
        self.rates: dict[str, Any] = {"rate": learning_rate, "new_rate": new_learning_rate, "rates": rates}
        self.weight_decay, self.adam_beta2 = weight_decay, adam_beta2
        self.warmup, self.decay = warmup, decay
        self.label_smoothing = label_smoothing
        self.gradient_clip = gradient_clip
        self.z_loss, self.seed = z_loss, seed
        self.last: tuple[float, int, int] = 0.0, 0, 0
        """Summed loss, number of target tokens and of pairs of the last step, all processes together."""
        self.stepped = False
        """Whether the batch that just ended closed an optimizer step."""
        self.asked = False
        """Whether this process was told to end."""
        self.interrupted = False
        """Whether any was; known when a step ends."""
        self.stream: Callable[[], Any] | None = None
        """Makes this process's `Stream`, when it is known which process this is."""
        self._sum: Tensor | None = None

    def joined(self, world: int) -> Any:
        """How so many processes train together, as Lightning has it: each with the whole model (DDP)."""
        specs = [getattr(half, "spec", None) for half in (self.model.encoder, self.model.decoder)]
        skips = any(spec is not None and spec.layer_drop > 0 for spec in specs)
        return DDPStrategy(find_unused_parameters=skips)

    def train_dataloader(self) -> Any:
        """The batches."""
        if self.stream is None:
            raise SeqgraftError("A module trains on a stream of batches: set `module.stream`, or use `train`.")
        return self.stream()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Where the loops are is told by the number of steps alone (`fitting.fit`)."""
        del checkpoint["loops"]

    def on_train_start(self) -> None:
        """Every process drops out at random for itself."""
        if self.trainer.world_size > 1:
            torch.manual_seed(self.seed + self.trainer.global_rank)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """A batch of a `Stream` -> its part of the step's loss, as Lightning and DDP will divide it."""
        self.stepped = False
        total = self.summed_loss(batch)
        own = total.detach().double()
        self._sum = own if self._sum is None else self._sum + own
        if batch["last"]:
            self.last = 0.0, batch["step_tokens"], batch["step_pairs"]
        parts = self.trainer.accumulate_grad_batches * self.trainer.world_size
        loss: Tensor = total * (parts / batch["step_tokens"])
        return loss

    def summed_loss(self, batch: Mapping[str, Any]) -> Tensor:
        """A batch -> the loss, summed over its target tokens."""
        return token_loss(self.model, batch, smoothing=self.label_smoothing, z_loss=self.z_loss)[0]

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """All processes agree on the step's loss, the time and whether to go on; a loss that is no number ends it.

        Raises SeqgraftError before the weights change.
        """
        total = self._sum if self._sum is not None else torch.zeros((), dtype=torch.float64)
        loss, self.interrupted = float(total), self.asked
        if self.trainer.world_size > 1:
            clock = self.budget.measured() if self.trainer.is_global_zero else 0.0
            told = torch.tensor([loss, float(self.asked), clock], dtype=torch.float64, device=self.device)
            torch.distributed.all_reduce(told)
            loss, self.interrupted, self.budget.agreed = float(told[0]), bool(told[1] > 0), float(told[2])
        if not math.isfinite(loss):
            self.broken, self.broken_in_a_row = self.broken + 1, self.broken_in_a_row + 1
            if not self.skip_broken or self.broken_in_a_row > MOST_SKIPPED:
                raise NotFiniteError(loss, self.global_step + 1)
            for parameter in self.model.parameters():  # no gradient, no step
                parameter.grad = None
            loss, self.last = 0.0, (0.0, 0, self.last[2])
        else:
            self.broken_in_a_row = 0
        self._sum, self.stepped = None, True
        self.last = loss, *self.last[1:]

    @contextlib.contextmanager
    def measured(self) -> Iterator[EncoderDecoderModel]:
        """The model with the weights that it has now, to validate with."""
        yield self.model

    @torch.no_grad()
    def put(self, values: Mapping[str, Tensor]) -> None:
        """Set some weights, by their names in the model."""
        held = dict(self.model.named_parameters())
        for name, value in values.items():
            held[name].copy_(value)

    def configure_optimizers(self) -> Any:
        """AdamW, and its schedule, stepped after every step."""
        groups = rate_groups(self.model, decay=self.weight_decay, **self.rates)
        optimizer = torch.optim.AdamW(groups, betas=(0.9, self.adam_beta2), eps=1e-8, fused=True)
        schedule = LambdaLR(optimizer, factors(groups, self.budget, warmup=self.warmup, decay=self.decay))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        """By the norm of all gradients. (Lightning's own refuses fused optimizers in mixed precision.)"""
        if self.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.gradient_clip)
