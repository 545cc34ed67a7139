"""What ends a training before its pairs do: the clock, and Ctrl-C."""

import signal
import threading
from types import FrameType
from typing import Any

import lightning

from seqgraft.training.module import Seq2SeqModule


class Stopper(lightning.Callback):
    """Ends at the bound of minutes, and on Ctrl-C after the step that is under way.

    A second Ctrl-C is a KeyboardInterrupt at once. Signals are handled while the training runs, and only where it
    runs in the main thread (elsewhere Python does not allow it).
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._before: Any = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock and take the signal."""
        module: Seq2SeqModule = pl_module
        module.budget.start()
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._asked)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stop when it is time."""
        if self.interrupted or pl_module.budget.done(trainer.global_step) >= 1:
            trainer.should_stop = True

    def release(self) -> None:
        """Give the signal back to whoever had it."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
