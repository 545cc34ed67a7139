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
        self._spent = 0.0
        self._module: Seq2SeqModule | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock and take the signal."""
        module: Seq2SeqModule = pl_module
        module.budget.start(self._spent)
        self._module = module
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._asked)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stop when it is time, with the step that is under way done."""
        module: Seq2SeqModule = pl_module
        if module.stepped:
            self.interrupted = module.interrupted
            if self.interrupted or module.budget.done(trainer.global_step) >= 1:
                trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """The time that is spent."""
        return {"seconds": 0.0 if self._module is None else self._module.budget.seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self._spent = state_dict["seconds"]

    def release(self) -> None:
        """Give the signal back to whoever had it."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self._module is None or self._module.asked:
            raise KeyboardInterrupt
        self._module.asked = True
