"""The training step as Lightning sees it."""

from collections.abc import Mapping, Sequence
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from seqgraft.errors import SeqgraftError
from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.training.groups import Rate, factors, rate_groups
from seqgraft.training.loss import token_loss
from seqgraft.training.schedule import Budget, Decay


class Seq2SeqModule(lightning.LightningModule):
    """Token-mean cross-entropy, AdamW with a rate of its own for new weights, warm-up and decay over a budget."""

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
    ) -> None:
        super().__init__()
        self.model = model
        self.budget = budget
        self.rates: dict[str, Any] = {"rate": learning_rate, "new_rate": new_learning_rate, "rates": rates}
        self.weight_decay, self.adam_beta2 = weight_decay, adam_beta2
        self.warmup, self.decay = warmup, decay
        self.label_smoothing = label_smoothing
        self.gradient_clip = gradient_clip
        self.last: tuple[float, int] = 0.0, 0
        """Summed loss and number of target tokens of the last batch."""

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """A batch -> its mean loss over target tokens."""
        total, count = token_loss(self.model, batch, smoothing=self.label_smoothing)
        loss = total / count
        value = float(loss.detach())
        if value != value or value in (float("inf"), float("-inf")):
            raise SeqgraftError(
                f"The loss must be a finite number, but is {value} at step {self.global_step + 1}. A lower learning "
                "rate or float32 may help; nothing was saved."
            )
        self.last = value * count, count
        return loss

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
