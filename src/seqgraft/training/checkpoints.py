"""Checkpoints that a training resumes from bit for bit, written whole or not at all."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from seqgraft.errors import ConfigurationError, FolderError
from seqgraft.training.module import Seq2SeqModule

FOLDER = ".seqgraft-training"
"""Inside the output's folder; removed when the training is complete."""
_NAME = "step-{:010d}.ckpt"


def latest(output: str | os.PathLike[str]) -> Path | None:
    """The newest checkpoint of a training into `output`, if there is one."""
    found = sorted((Path(output).expanduser() / FOLDER).glob("step-*.ckpt"))
    return found[-1] if found else None


def remove(output: str | os.PathLike[str]) -> None:
    """Remove the checkpoints of a training into `output`."""
    folder = Path(output).expanduser() / FOLDER
    if folder.is_dir():
        for path in folder.iterdir():
            path.unlink(missing_ok=True)
        folder.rmdir()


def begun(path: Path, identity: dict[str, Any]) -> int:
    """The optimizer step of a checkpoint.

    Raises FolderError for a file that is none, ConfigurationError when it is of other data, another model or other
    settings than `identity` says, since what followed would equal neither training.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["callbacks"][Saver.__qualname__]
    except (RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise FolderError(f"'{path}' must be a checkpoint of a training, but cannot be read as one: {error}") from error
    other = [
        f"`{name}` was {held['identity'].get(name)!r} and is {identity.get(name)!r}"
        for name in sorted({*held["identity"], *identity})
        if held["identity"].get(name) != identity.get(name)
    ]
    if other:
        raise ConfigurationError(
            f"A training is resumed with the settings and the data that it began with, but {'; '.join(other)}. Give "
            "what was given before, or begin anew (--force)."
        )
    return int(held["step"])


def whole(output: str | os.PathLike[str]) -> str:
    """A sentence about what is there to go on from."""
    old = latest(output)
    if old is None:
        return "No checkpoint was written before."
    return f"The last checkpoint, {old.name}, is whole: --resume goes on from it."


class _Noting:
    """A file that keeps what goes wrong when it is written; torch's writer tells something else."""

    def __init__(self, file: IO[bytes], wrong: list[OSError]) -> None:
        self.file, self.wrong = file, wrong

    def write(self, data: Any) -> int:
        """Write, or keep and raise the error."""
        try:
            return self.file.write(data)
        except OSError as error:
            self.wrong.append(error)
            raise

    def flush(self) -> None:
        """As of the file."""
        self.file.flush()


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place, brings it to the disk, and then gives it its name."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Raises FolderError when it cannot be written, on a full disk for one; older checkpoints stay as they are."""
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f".{place.name}.{os.getpid()}")
        wrong: list[OSError] = []
        try:
            with self.opened(beside) as file:
                torch.save(checkpoint, cast("IO[bytes]", _Noting(file, wrong)))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(place)
        except (OSError, RuntimeError) as error:
            beside.unlink(missing_ok=True)
            told = whole(place.parent.parent)
            if latest(place.parent.parent) is None:
                remove(place.parent.parent)
            raise FolderError(
                f"The checkpoint '{place}' must be written, but could not: {wrong[0] if wrong else error}. {told}"
            ) from error
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        folder = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @staticmethod
    def opened(path: Path) -> IO[bytes]:
        """The file that is written."""
        return path.open("wb")


class Saver(Checkpoint):
    """Saves every `every` optimizer steps, and when Ctrl-C ends the training; keeps the newest file.

    It stands last among the callbacks (Lightning puts it there), so that what they do at a step is in the file.
    """

    def __init__(self, output: str | os.PathLike[str], every: int, identity: dict[str, Any]) -> None:
        self.folder = Path(output).expanduser() / FOLDER
        self.every, self.identity = every, identity
        self._step = 0
        self._random: dict[str, Any] | None = None

    @property
    def state_key(self) -> str:
        """Its name in the file."""
        return type(self).__qualname__

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Put the random states back, as late as possible: opening a training draws random numbers."""
        if self._random is not None:
            set_random(self._random)
            self._random = None

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save when it is time, unless the epoch is over: then its end comes first."""
        module: Seq2SeqModule = pl_module
        if module.stepped and not self._closes(trainer):
            self._save(trainer, module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Save when it is time."""
        if self._closes(trainer):
            self._save(trainer, pl_module)

    def _closes(self, trainer: Any) -> bool:
        return bool(trainer.fit_loop.epoch_loop.batch_progress.is_last_batch)

    def _save(self, trainer: Any, module: Seq2SeqModule) -> None:
        step = trainer.global_step
        due = module.interrupted or (step % self.every == 0 and step < module.budget.steps)
        if due and step != self._step:
            self._step = step
            place = self.folder / _NAME.format(step)
            trainer.save_checkpoint(place)
            if trainer.is_global_zero:
                for path in self.folder.glob("step-*.ckpt"):
                    if path != place:
                        path.unlink()

    def state_dict(self) -> dict[str, Any]:
        """Where the training is, which one it is, and every process's random states."""
        own = random_states()
        each: list[Any] = [own]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            each = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(each, own)
        return {"step": self._step, "identity": self.identity, "random": each}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        there = torch.distributed.is_available() and torch.distributed.is_initialized()
        self._step = state_dict["step"]
        self._random = state_dict["random"][torch.distributed.get_rank() if there else 0]


def random_states() -> dict[str, Any]:
    """The global random states of this process, in plain types and tensors."""
    name, keys, *rest = np.random.get_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "python": random.getstate(),
    }


def set_random(states: dict[str, Any]) -> None:
    """Put back what `random_states` gave."""
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    version, inner, last = states["python"]
    random.setstate((version, tuple(inner), last))
