"""How long training lasts, how much of it is over, and the learning rate's factor there."""

import time
from dataclasses import dataclass
from typing import Literal

from seqgraft.errors import ConfigurationError

Decay = Literal["linear", "inverse_sqrt", "constant"]


@dataclass
class Budget:
    """The bounds of a training; the first that is reached ends it.

    `steps` counts optimizer steps of all epochs; `minutes` is wall time from `start`.
    """

    steps: int
    minutes: float | None = None
    started: float | None = None
    agreed: float | None = None
    """Seconds since the start by the first process's clock, where there are several."""

    def start(self, spent: float = 0.0) -> None:
        """Let the clock run; `spent` seconds of an earlier run count."""
        self.started = time.monotonic() - spent

    def measured(self) -> float:
        """Wall time since the start, by this process's clock."""
        return 0.0 if self.started is None else time.monotonic() - self.started

    def seconds(self) -> float:
        """Wall time since the start, the same in all processes."""
        return self.measured() if self.agreed is None else self.agreed

    def done(self, step: int) -> float:
        """The share that is over, 0 to 1, by whichever bound is nearer."""
        timed = self.seconds() / (self.minutes * 60) if self.minutes else 0.0
        return min(1.0, max(step / self.steps if self.steps > 0 else 1.0, timed))

    def seconds_left(self, step: int) -> float | None:
        """An estimate from the pace so far; None before the first step."""
        done, seconds = self.done(step), self.seconds()
        if step < 1 or done <= 0:
            return None if self.minutes is None else max(0.0, self.minutes * 60 - seconds)
        by_pace = seconds * (self.steps - step) / step
        return by_pace if self.minutes is None else max(0.0, min(by_pace, self.minutes * 60 - seconds))


def factor(done: float, *, warmup: float, decay: Decay) -> float:
    """The learning rate at a share `done` of the training, as a part of its peak, which is at `warmup`.

    Rises linearly from nought; then falls linearly to nought, with the inverse square root (Vaswani et al. 2017), or
    not at all.
    """
    if done < warmup:
        return done / warmup
    if decay == "constant":
        return 1.0
    if decay == "inverse_sqrt":
        return (warmup / done) ** 0.5 if warmup and done else 1.0
    return max(0.0, (1 - done) / (1 - warmup))


def check(warmup: float, decay: str) -> None:
    """Raise ConfigurationError for what `factor` cannot take."""
    if not 0 <= warmup < 1:
        raise ConfigurationError(f"`warmup` must be a share of the training from 0 to below 1, but is {warmup}.")
    if decay not in ("linear", "inverse_sqrt", "constant"):
        raise ConfigurationError(f"`decay` must be 'linear', 'inverse_sqrt' or 'constant', but is {decay!r}.")
