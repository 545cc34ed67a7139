"""Parts of which a checkpoint holds one for each language: the one in use, and rows of several languages (X-MOD)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import functional_call

from seqgraft.errors import ConfigurationError
from seqgraft.families.naming import plan_writing
from seqgraft.generation.outputs import ModelOutput
from seqgraft.spec import parameters

if TYPE_CHECKING:
    from seqgraft.torch.half import Half


def known(half: Half, language: str) -> list[str]:
    """The languages that a half has parts for; ConfigurationError when `language` is none of them."""
    languages: list[str] | None = getattr(half.config, "languages", None)
    if languages is None:
        raise ConfigurationError(
            f"A language must be set of a family with parts of each, but '{half.config.model_type}' has none."
        )
    if language not in languages:
        raise ConfigurationError(f"`language` must be one of {', '.join(languages)}, but is {language!r}.")
    return languages


def used(half: Half) -> str:
    """The language whose parts are the half's parameters."""
    languages: list[str] = half.config.languages
    return half.config.default_language or languages[0]


def parts(half: Half, language: str) -> dict[str, tuple[str, str]]:
    """Canonical name -> the file's names of it for the language in use and for another, where they differ."""
    known(half, language)
    config = copy.copy(half.config)
    config.default_language = language
    shapes = parameters(half.spec)
    here, there = (
        {one.parts[0]: one.name for one in plan_writing(names, shapes, headed=True)}
        for names in (half.names(), half._declared(config).names(config))
    )
    found = {name: (here[name], there[name]) for name in here if here[name] != there[name]}
    lacks = [theirs for _, theirs in found.values() if theirs not in half.carried]
    if lacks:
        raise ConfigurationError(
            f"The parts of {language} must come from a checkpoint, but this model has none ({lacks[0]}, ...)."
        )
    return found


@torch.no_grad()
def use(half: Half, language: str) -> None:
    """Let the parts of a language be the half's parameters; those of the one before are kept as they are."""
    for name, (before, now) in parts(half, language).items():
        parameter = half.get_parameter(name)
        value = half.carried.pop(now)
        half.carried[before] = parameter.detach().clone()
        parameter.copy_(value)
    half.config.default_language = language


def by_language(half: Half, ids: Tensor, given: dict[str, Any]) -> ModelOutput:
    """The output of a pass in which each row has the parts of its own language; ids [rows] or [rows, time], alike
    within a row. Training changes only the parts of the language in use.

    Raises ValueError for ids of no language, and for rows of more than one.
    """
    row = ids[:, 0] if ids.dim() == 2 else ids
    if bool((ids.view(len(ids), -1) != row[:, None]).any()):
        raise ValueError("`lang_ids` must be the same for all tokens of a text.")
    languages: list[str] = half.config.languages
    if bool(((row < 0) | (row >= len(languages))).any()):
        raise ValueError(f"`lang_ids` must be from 0 to {len(languages) - 1} ({', '.join(languages)}).")
    outputs, places = [], []
    for index in sorted(set(row.tolist())):
        place = (row == index).nonzero()[:, 0]
        swapped = {}
        if languages[index] != used(half):
            names = parts(half, languages[index])
            swapped = {name: half.carried[now].to(half.device) for name, (_, now) in names.items()}
        own = {name: _rows(value, place, len(row)) for name, value in given.items()}
        outputs.append(functional_call(half, swapped, (), own))
        places.append(place)
    order = torch.cat(places).argsort()
    kind: type[ModelOutput] = type(outputs[0])
    return kind(**{name: _joined([one[name] for one in outputs], order) for name in outputs[0]})


def _rows(value: Any, place: Tensor, rows: int) -> Any:
    return value[place] if isinstance(value, Tensor) and len(value) == rows else value


def _joined(values: list[Any], order: Tensor) -> Any:
    if isinstance(values[0], tuple):
        return tuple(_joined(list(each), order) for each in zip(*values, strict=True))
    return torch.cat(values)[order]
