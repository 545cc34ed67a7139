"""What is settled and checked before a training begins."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from seqgraft.errors import ConfigurationError, FolderError
from seqgraft.spec import waiting
from seqgraft.text.files import TARGET
from seqgraft.text.pairing import PairTokenizer
from seqgraft.text.tokenizer import Tokenizer
from seqgraft.torch.model import EncoderDecoderModel


def disk(output: str | os.PathLike[str] | None) -> Path | None:
    """A folder on the disk that is written in the end."""
    if output is None:
        return None
    place = Path(output).expanduser().absolute()
    return next(folder for folder in (place, *place.parents) if folder.is_dir())


def widened(model: EncoderDecoderModel) -> str | None:
    """Half-precision weights would lose the optimizer's small steps: they are trained, and saved, in float32."""
    if model.dtype is torch.float32:
        return None
    told = f"The weights were {str(model.dtype).removeprefix('torch.')}; they are trained and saved in float32."
    model.float()
    return told


def freeze_waiting(model: EncoderDecoderModel) -> str | None:
    """Freeze what only an input reaches that batches of text do not have (Longformer's global attention): it would wait
    for a gradient, and other processes with it. One line that says so, or None.
    """
    found: dict[str, list[str]] = {}
    for side, half in (("encoder", model.encoder), ("decoder", model.decoder)):
        spec = getattr(half, "spec", None)
        for name, given in waiting(spec).items() if spec is not None else ():
            parameter = half.get_parameter(name)
            if parameter.requires_grad:
                parameter.requires_grad = False
                found.setdefault(given, []).append(f"{side}.{name}")
    if not found:
        return None
    told = "; ".join(f"{len(names)} tensors that only `{given}` reaches ({names[0]})" for given, names in found.items())
    return f"Not trained, since batches of text lack the input: {told}."


def preflight(model: EncoderDecoderModel, tokenizer: Tokenizer | PairTokenizer, place: tuple[str, Any]) -> None:
    """Raise what would make the training worthless, seen where it will run."""
    if place[0] == "gpu":
        model.to(f"cuda:{place[1][0]}")
    report = model.check(tokenizer)
    if not report.passed:
        raise ConfigurationError(
            f"The preflight found what would spoil the training (`check=False` or --no-check skips it):\n"
            f"{report.complaint()}"
        )


def check_bounds(**bounds: float | None) -> None:
    """Raise ConfigurationError for a bound that is not above 0; None is no bound."""
    for name, value in bounds.items():
        if value is not None and value <= 0:
            raise ConfigurationError(f"`{name}` must be above 0, but is {value}.")


def check_averaging(checkpoints: int | None, every: int | None, best: str | None) -> None:
    """Refuse impossible numbers of weights to average, and to keep the best ones as well."""
    check_bounds(average_checkpoints=checkpoints, average_every=every)
    if checkpoints is None and every is not None:
        raise ConfigurationError("`average_every` needs `average_checkpoints`, the number of weights to average.")
    if checkpoints is not None and best is not None:
        raise ConfigurationError(
            "`average_checkpoints` keeps the mean of the last weights, so the best ones cannot be kept: the figure "
            f"`best` must be None (--best last), but is {best!r}."
        )


def check_output(folder: Path, tokenizer: Tokenizer | PairTokenizer) -> None:
    """Before hours of training, what would keep their result from being written."""
    if folder.exists() and not folder.is_dir():
        raise FolderError(f"'{folder}' must be a folder to save into, but is a file.")
    if (folder / TARGET).exists() and not isinstance(tokenizer, PairTokenizer):
        raise FolderError(
            f"'{folder}' must not hold {TARGET}/, since this model has one tokenizer for both sides, but does: "
            "choose another folder or remove it."
        )
