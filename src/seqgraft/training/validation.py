"""Validation while a model trains: losses, real generation, the best weights, and when to stop."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning
import torch
from torch import Tensor

from seqgraft.errors import ConfigurationError
from seqgraft.evaluation.measures import LOWER_IS_BETTER, figures, measure, perplexity
from seqgraft.text.pairing import PairTokenizer
from seqgraft.text.tokenizer import Tokenizer
from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.training.averaging import Averager
from seqgraft.training.data import TokenizedPairs
from seqgraft.training.metrics import generate_texts, pair_losses
from seqgraft.training.pairs import Pair
from seqgraft.training.processes import place, together


@dataclass(frozen=True)
class Validation:
    """What is measured on held-out pairs while a model trains, and what follows from it."""

    metrics: Sequence[str] = ()
    """Of `evaluation.measures.METRICS`; the loss is measured in any case, without generating."""
    every: int | None = None
    """Optimizer steps between two validations; None: after every epoch."""
    best: str | None = None
    """The figure whose best weights are kept; None keeps the last weights."""
    patience: int | None = None
    """Validations without a better figure (`best`, or the loss) that end the training."""
    pairs: int | None = None
    """The most pairs to generate from, the first ones; None: all."""
    generation: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `generate`; the model's own settings hold otherwise."""
    max_source_length: int | None = None

    def __post_init__(self) -> None:
        if self.metrics:
            figures(self.metrics)
        known = self.figures()
        if self.best is not None and self.best not in known:
            raise ConfigurationError(
                f"The figure of the best weights must be measured, one of {', '.join(known)}, but is {self.best!r}."
            )
        for name, value in (("eval_steps", self.every), ("patience", self.patience), ("eval_pairs", self.pairs)):
            if value is not None and value < 1:
                raise ConfigurationError(f"`{name}` must be at least 1, but is {value}.")

    @property
    def asked(self) -> bool:
        """Whether anything is to be done before the training ends."""
        return bool(self.metrics or self.every or self.best or self.patience)

    def figures(self) -> list[str]:
        """Names of all figures, the loss first."""
        return ["loss", *(figures(self.metrics) if self.metrics else [])]

    def run(
        self,
        model: EncoderDecoderModel,
        tokenizer: Tokenizer | PairTokenizer,
        data: TokenizedPairs,
        pairs: Sequence[Pair],
    ) -> dict[str, float]:
        """Name -> value of the figures, with the model in eval mode; no random state moves.

        `data` are the `pairs`, tokenised, in their order. Several processes compute and write a share each, and all of
        them have the figures of all pairs.
        """
        was = model.training
        model.eval()
        cuda = [model.device] if model.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(cuda):
                share = place()
                parts = together(pair_losses(model, data, share=share))
                losses = [(sum(loss for loss, _ in each), sum(n for _, n in each)) for each in zip(*parts, strict=True)]
                found = {"loss": sum(loss for loss, _ in losses) / sum(count for _, count in losses)}
                if not self.metrics:
                    return found
                kept = [pairs[index] for index in data.kept]
                some = kept[: self.pairs]
                written = [name for name in self.metrics if name != "perplexity"]
                made: list[str] = []
                if written:
                    sources = [pair.source for pair in some]
                    how: dict[str, Any] = {"max_source_length": self.max_source_length, **self.generation}
                    texts = together(generate_texts(model, tokenizer, sources, share=share, **how))
                    made = ["".join(each) for each in zip(*texts, strict=True)]
                references = [pair.target for pair in some]
                measured = measure(written, made, references) if written else []
                if "perplexity" in self.metrics:
                    measured.append(perplexity(losses))
                return found | {one.name: one.value() for one in measured}
        finally:
            model.train(was)


class Validator(lightning.Callback):
    """Validates on time, keeps the best weights, and stops a training that no longer gets better."""

    def __init__(
        self,
        plan: Validation,
        tokenizer: Tokenizer | PairTokenizer,
        data: TokenizedPairs,
        pairs: Sequence[Pair],
        averager: Averager | None = None,
    ) -> None:
        self.averager = averager
        """Has put other weights in when the training ends; it stands before this among the callbacks."""
        self.plan, self.tokenizer, self.data, self.pairs = plan, tokenizer, data, pairs
        self.history: list[dict[str, float]] = []
        """`step`, `seconds` and the figures of every validation."""
        self.stopped = False
        """Whether patience ended the training."""
        self._best: dict[str, Tensor] = {}
        self._best_entry: dict[str, float] | None = None
        self._since = 0
        self._step = 0

    @property
    def watched(self) -> str:
        """The figure that counts."""
        return self.plan.best or "loss"

    @property
    def best(self) -> dict[str, float] | None:
        """The entry of the history that is best, where the best weights are kept."""
        return self._best_entry

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Validate when the steps are due."""
        step = trainer.global_step
        if self.plan.every is not None and step != self._step and step % self.plan.every == 0:
            self._validate(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Validate when epochs count."""
        if self.plan.every is None and trainer.global_step != self._step:
            self._validate(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """The last weights, or their mean, are candidates as well; then the best ones are put back."""
        averaged = self.averager is not None and len(self.averager.averaged) > 1
        if trainer.global_step != self._step or averaged or not self.history:
            self._validate(trainer, pl_module)
        if self.plan.best is not None and self._best:
            pl_module.put(self._best)

    def _validate(self, trainer: Any, module: Any) -> None:
        self._step = trainer.global_step
        before = time.monotonic()
        entry = {"step": float(self._step), "seconds": round(module.budget.seconds(), 2)}
        with module.measured() as model:
            entry |= self.plan.run(model, self.tokenizer, self.data, self.pairs)
            self.history.append(entry)
            self._judge(entry, model, trainer)
        if module.budget.started is not None:  # the bound of minutes is for training
            module.budget.started += time.monotonic() - before

    def _judge(self, entry: dict[str, float], model: EncoderDecoderModel, trainer: Any) -> None:
        old = self._best_entry
        if old is None or self._rank(entry) > self._rank(old):
            self._best_entry, self._since = entry, 0
            if self.plan.best is not None:
                moving = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
                self._best = {name: p.detach().to("cpu", copy=True) for name, p in moving}
            return
        self._since += 1
        if self.plan.patience is not None and self._since >= self.plan.patience:
            self.stopped = True
            trainer.should_stop = True

    def _rank(self, entry: Mapping[str, float]) -> tuple[float, float]:
        """More is better; of equal figures, such as a BLEU of 0 in the beginning, the loss decides."""
        sign = -1 if self.watched in LOWER_IS_BETTER else 1
        return sign * entry[self.watched], -entry["loss"]

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs to go on as if it had not been interrupted."""
        return {
            "history": self.history,
            "best_entry": self._best_entry,
            "best": self._best,
            "since": self._since,
            "step": self._step,
            "stopped": self.stopped,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self.history, self._best_entry = list(state_dict["history"]), state_dict["best_entry"]
        self._best, self._since = state_dict["best"], state_dict["since"]
        self._step, self.stopped = state_dict["step"], state_dict["stopped"]
