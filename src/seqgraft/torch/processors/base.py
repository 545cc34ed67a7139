"""What every processor is, a list of them, and what follows the rows of a batch as some of them leave."""

import inspect
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seqgraft.errors import GenerationError

BANNED = -math.inf


class LogitsProcessor(ABC):
    """Base of the processors; any callable of the same signature serves as well.

    One that keeps something for every row (or source) has `keep`, and `start`, which forgets what `keep` did.
    """

    @abstractmethod
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """ids [rows, time], scores [rows, vocab] -> scores [rows, vocab]; the argument may not be changed in place."""

    def keep(self, rows: Tensor) -> None:  # noqa: B027  # most keep nothing for a row
        """Rows left the batch: `rows [left]` int64 are those that remain, by their places until now."""

    def start(self) -> None:  # noqa: B027
        """A generation begins, and with it a new batch."""


class LogitsProcessorList(list[Any]):
    """Processors that run one after the other."""

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        for processor in self:
            if not kwargs:
                scores = processor(input_ids, scores)
                continue
            wanted = list(inspect.signature(processor.__call__).parameters)[2:]
            missing = [name for name in wanted if name not in kwargs]
            if missing:
                raise GenerationError(f"{type(processor).__name__} needs the arguments {', '.join(missing)}.")
            scores = processor(input_ids, scores, **(kwargs if wanted else {}))
        return scores

    @property
    def fixed(self) -> bool:
        """Whether rows may not leave the batch: a callable of somebody else's may keep something for each of them."""
        return any(not _follows(processor) for processor in self)

    def keep(self, rows: Tensor) -> None:
        """`rows [left]` int64: the rows of the former batch that remain. Not to be called where `fixed`."""
        for processor in self:
            processor.keep(rows)

    def start(self) -> None:
        """A generation begins: our own forget the rows of the one before."""
        for processor in self:
            if isinstance(processor, LogitsProcessor):
                processor.start()


class RowTable:
    """A table `[sources, ...]` (or `[rows, ...]`), read by rows: source-major, and without the rows that left."""

    def __init__(self, table: Tensor) -> None:
        self.table = table
        self._held: Tensor | None = None
        self._left = False  # whether rows have left
        self._times = 1  # rows of each entry

    def of(self, input_ids: Tensor) -> Tensor:
        """What belongs to each row of ids [rows, time], [rows, ...]."""
        rows = len(input_ids)
        if self._held is None or (len(self._held) != rows and not self._left):
            if rows % len(self.table):
                raise GenerationError(
                    f"A processor was made for {len(self.table)} sources: the rows must be a multiple, but are {rows}."
                )
            self._times = rows // len(self.table)
            self._held = self.table.to(input_ids.device).repeat_interleave(self._times, dim=0)
        if len(self._held) != rows:
            raise GenerationError(f"A processor must get the {len(self._held)} rows that are left, but gets {rows}.")
        return self._held

    def keep(self, rows: Tensor) -> None:
        """The rows that remain, by their places until now."""
        held = self.table.to(rows.device).repeat_interleave(self._times, dim=0) if self._held is None else self._held
        self._held, self._left = held[rows], True

    def start(self) -> None:
        """All rows are there again, as many of each entry as before until ids tell otherwise."""
        self._held, self._left = None, False


def merged(made: Sequence[Any], custom: Sequence[Any]) -> list[Any]:
    """`made` with `custom` behind; a custom one of the same class takes the place of the one that was made."""
    result: list[Any] = []
    for default in made:
        own = next((c for c in custom if type(c) is type(default)), None)
        if own is not None:
            warnings.warn(
                f"The {type(own).__name__} passed to generate() replaces the one that the settings ask for.",
                UserWarning,
                stacklevel=4,
            )
        result.append(default if own is None else own)
    return result + [c for c in custom if not any(c is r for r in result)]


def as_ids(value: Any) -> list[int]:
    """One id, several, a tensor of them or None, as a list."""
    if value is None:
        return []
    value = value.tolist() if isinstance(value, Tensor) else value
    return [value] if isinstance(value, int) else list(value)


def ids_below(ids: Sequence[int], vocab: int, device: torch.device) -> Tensor:
    """Those of `ids` that an output layer of `vocab` tokens has, [count] int64."""
    return torch.tensor([i for i in ids if 0 <= i < vocab], dtype=torch.long, device=device)


def only(scores: Tensor, kept: list[int]) -> Tensor:
    """0 for the tokens `kept`, and everything else forbidden, [rows, vocab]."""
    forced = torch.full_like(scores, BANNED)
    forced[:, kept] = 0
    return forced


def _follows(processor: Any) -> bool:
    """Whether a processor is known to follow the rows: one of ours, or one that says itself how."""
    kind = type(processor)
    return isinstance(processor, LogitsProcessor) and ("keep" in vars(kind) or kind.__module__.startswith("seqgraft."))
