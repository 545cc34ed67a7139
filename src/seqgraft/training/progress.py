"""What a training shows while it runs: a bar in a terminal, a line now and then elsewhere."""

import sys
import time
from collections import deque
from typing import Any

import lightning
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from seqgraft.training.module import Seq2SeqModule

_LINE_SECONDS = 20.0
_WINDOW_SECONDS = 20.0
_WINDOW_STEPS = 50


class Meter(lightning.Callback):
    """Counts pairs and target tokens, averages the loss, and keeps the curve that `training.json` holds."""

    def __init__(self, waste: float | None = None) -> None:
        self.waste = waste
        """The share of padding in the batches, for those who show it."""
        self.pairs = self.tokens = self.steps = 0
        self.curve: list[dict[str, float]] = []
        self._recent: deque[tuple[float, float, int]] = deque()
        self._next = 1

    @property
    def loss(self) -> float:
        """Mean loss over the target tokens of the last steps."""
        tokens = sum(count for _, _, count in self._recent)
        return sum(total for _, total, _ in self._recent) / tokens if tokens else float("nan")

    def speed(self, seconds: float) -> float:
        """Target tokens per second, of the last 20 seconds."""
        recent = [(when, count) for when, _, count in self._recent if seconds - when <= _WINDOW_SECONDS]
        if len(recent) < 2:
            return self.tokens / seconds if seconds > 0 else 0.0
        return sum(count for _, count in recent[1:]) / max(1e-9, recent[-1][0] - recent[0][0])

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count."""
        module: Seq2SeqModule = pl_module
        if not module.stepped:
            return
        total, count, pairs = module.last
        seconds = module.budget.seconds()
        self.steps, self.tokens, self.pairs = self.steps + 1, self.tokens + count, self.pairs + pairs
        self._recent.append((seconds, total, count))
        if len(self._recent) > _WINDOW_STEPS:
            self._recent.popleft()
        if self.steps >= self._next:
            self.curve.append({"step": self.steps, "seconds": round(seconds, 2), "loss": round(self.loss, 4)})
            self._next = max(self.steps + 1, round(self.steps * 1.1))

    def state_dict(self) -> dict[str, Any]:
        """What is counted so far."""
        recent = [list(item) for item in self._recent]
        return {
            "counts": [self.pairs, self.tokens, self.steps],
            "curve": self.curve,
            "recent": recent,
            "next": self._next,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self.pairs, self.tokens, self.steps = state_dict["counts"]
        self.curve, self._next = list(state_dict["curve"]), state_dict["next"]
        self._recent = deque((when, total, count) for when, total, count in state_dict["recent"])


class Bar(lightning.Callback):
    """Step, loss, target tokens per second and time left; stands after its Meter in the list of callbacks."""

    def __init__(self, meter: Meter, console: Console | None = None) -> None:
        self.meter = meter
        self.console = console or Console(file=sys.stdout)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._told, self._lines = 0.0, 0
        """When the last line was shown, and at which step."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Open the bar."""
        if self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
            self._bar = Progress(*columns, console=self.console)
            self._bar.start()
            self._task = self._bar.add_task("Training", total=1.0, state="")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Show where the training is."""
        if not pl_module.stepped:
            return
        if self._bar is not None:
            self._bar.update(self._task, completed=pl_module.budget.done(self.meter.steps), state=self.state(pl_module))
        elif self._lines == 0 or time.monotonic() - self._told >= _LINE_SECONDS:
            self._line(pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Leave the last state behind."""
        if self._bar is not None:
            self._bar.update(self._task, completed=1.0)
        elif self._lines != self.meter.steps:
            self._line(pl_module)
        self.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Give the terminal back."""
        self.close()

    def close(self) -> None:
        """Stop drawing."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _line(self, module: Seq2SeqModule) -> None:
        self._told, self._lines = time.monotonic(), self.meter.steps
        self.console.print(self.state(module), highlight=False, soft_wrap=True)

    def state(self, module: Seq2SeqModule) -> str:
        """ "step 120/497  loss 5.213  410 target tokens/s  2:31 left  3.9% padding" """
        meter, budget = self.meter, module.budget
        left = budget.seconds_left(meter.steps)
        of = f"/{budget.steps}" if budget.minutes is None else ""
        remaining = "" if left is None else f"  {clock(left)} left"
        speed = meter.speed(budget.seconds())
        padding = "" if meter.waste is None else f"  {meter.waste:.1%} padding"
        return f"step {meter.steps}{of}  loss {meter.loss:.3f}  {speed:,.0f} target tokens/s{remaining}{padding}"


def clock(seconds: float) -> str:
    """Seconds as 2:31 or 1:02:31."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
