"""Low-rank adapters (Hu et al. 2021) through `peft`: both halves adapted, what is new trained in full."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from torch import nn

from seqgraft.errors import ConfigurationError, MissingExtraError
from seqgraft.folders import Origin, find
from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.training.groups import is_new

FOLDER = "adapter"
"""Where a folder keeps adapters that are not in its weights."""


@dataclass(frozen=True)
class Lora:
    """How a model is adapted."""

    rank: int = 8
    alpha: int = 16
    """The adapters' product is scaled by alpha / rank."""
    dropout: float = 0.0
    targets: Sequence[str] = ("*.self_attention.query", "*.self_attention.value")
    """Patterns of canonical names of linear maps; what is new is never among them."""
    save: Literal["merged", "separate"] = "merged"
    """`merged`: in the weights; `separate`: in `adapter/`, for `peft.PeftModel.from_pretrained(model, ...)`."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigurationError(f"`rank` of adapters must be at least 1, but is {self.rank}.")
        if self.save not in ("merged", "separate"):
            raise ConfigurationError(f"`save` of adapters must be 'merged' or 'separate', but is {self.save!r}.")

    @classmethod
    def of(cls, value: Lora | Mapping[str, Any] | None) -> Lora | None:
        """Settings as they are given to `train`; an unknown one is a ConfigurationError."""
        if value is None or isinstance(value, Lora):
            return value
        unknown = sorted(set(value) - set(cls.__dataclass_fields__))
        if unknown:
            known = ", ".join(cls.__dataclass_fields__)
            raise ConfigurationError(f"`lora` may hold {known}, but holds {', '.join(unknown)}.")
        return cls(**value)


class Adapted:
    """A model while adapters are in it."""

    def __init__(self, model: EncoderDecoderModel, lora: Lora) -> None:
        """Put adapters in; everything else is frozen, but for what is new and was not frozen before.

        Raises MissingExtraError without peft, ConfigurationError when no linear map matches.
        """
        peft = _peft()
        new = {name for name in is_new(model) if model.get_parameter(name).requires_grad}
        held = [
            name
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear)
            and f"{name}.weight" not in new
            and any(fnmatchcase(name, pattern) for pattern in lora.targets)
        ]
        if not held:
            raise ConfigurationError(
                f"`targets` of adapters must match a pretrained linear map, but {', '.join(lora.targets)} matches none."
            )
        self.model, self.lora = model, lora
        made = peft.LoraConfig(
            r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=held, bias="none"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ties, which no target is part of
            self._wrapped = peft.get_peft_model(model, made)
        for name, parameter in model.named_parameters():
            if name in new:
                parameter.requires_grad = True

    def merge(self) -> None:
        """Add the adapters to the weights; the model is a plain one again."""
        self._wrapped.merge_and_unload()

    def drop(self) -> None:
        """Take the adapters out; the model is as it was, but for what was trained in full."""
        self._wrapped.unload()

    def write(self, folder: Path) -> None:
        """Write the adapters' files, and take them out of the model."""
        self._wrapped.save_pretrained(str(folder))
        (folder / "README.md").unlink(missing_ok=True)  # a card of nobody's figures; the folder has its own
        self.drop()

    def take_back(self, folder: Path) -> None:
        """Add written adapters to the weights of the model that they were taken out of."""
        take_in(self.model, folder)


def take_in_own(
    model: EncoderDecoderModel, source: str | os.PathLike[str], origin: Origin | None = None
) -> Path | None:
    """Add the adapters that a folder or hub repository keeps beside its weights; returns where they are, if there.

    Raises MissingExtraError when there are adapters and no peft, since the weights alone are another model.
    """
    found = [find(source, f"{FOLDER}/{name}", origin) for name in ("adapter_config.json", "adapter_model.safetensors")]
    if found[0] is None or found[1] is None:
        return None
    take_in(model, found[0].parent)
    return found[0].parent


def take_in(model: EncoderDecoderModel, folder: Path) -> None:
    """Add adapters that were written separately to a model's weights. Raises MissingExtraError without peft."""
    _peft().PeftModel.from_pretrained(model, str(folder)).merge_and_unload()


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError("Adapters need peft: pip install 'seqgraft[lora]'.") from error
    return peft
