"""Pairs of texts from files: jsonl, csv, tsv, parquet or a dataset, read a row at a time."""

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from seqgraft.errors import ConfigurationError, DataError
from seqgraft.training.rows import rows

FIELDS = (("source", "target"), ("document", "summary"), ("text", "summary"))
"""Names of (source, target) that are looked for, in this order, when a call names none."""


@dataclass(frozen=True)
class Pair:
    """What a model reads and what it must write."""

    source: str
    target: str
    place: str = field(default="", compare=False)
    """Where it stands, "file:line", for messages."""


_COUNTING = threading.Lock()


@dataclass
class Skipped:
    """Pairs that were left out because something is wrong with them, where that was asked for."""

    count: int = 0
    first: list[str] = field(default_factory=list)
    """What was wrong with the first ones, each with its file and line."""

    def add(self, error: DataError) -> None:
        """Count one more; those who read and those who tokenise are two threads."""
        with _COUNTING:
            self.count += 1
            if len(self.first) < 3:
                self.first.append(str(error))

    def merge(self, other: "Skipped") -> None:
        """Count what another one has counted."""
        with _COUNTING:
            self.count += other.count
            self.first = [*self.first, *other.first][:3]

    def __str__(self) -> str:
        more = [f"{self.count - len(self.first):,} more"] if self.count > len(self.first) else []
        were = "pair was" if self.count == 1 else "pairs were"
        return "\n  ".join([f"{self.count:,} bad {were} left out:", *self.first, *more])


def read_pairs(
    path: str | os.PathLike[str],
    *,
    source_field: str | None = None,
    target_field: str | None = None,
    skipped: Skipped | None = None,
) -> Iterator[Pair]:
    """The pairs of a file or dataset, one at a time (see `rows.rows` for what is read).

    Without `source_field` and `target_field` the first of `FIELDS` that the first row has is taken; a name with a dot
    looks inside (`translation.en`). With `skipped` bad rows are counted there and left out.

    Raises:
        DataError: no such file, another kind of file, or (naming file and line) a line that is no object of texts,
            lacks a field or has an empty side; also for a file without pairs.
        MissingExtraError: pyarrow or datasets is not installed and is needed.
    """
    source = os.fspath(path)
    names: tuple[str, str] | None = None
    any_row = any_pair = False
    for place, row in rows(source):
        any_row = True
        try:
            if isinstance(row, DataError):
                raise row
            names = names or _names(row, source_field, target_field, place)
            pair = Pair(_text(row, names[0], place), _text(row, names[1], place), place)
        except DataError as error:
            if skipped is None:
                raise
            skipped.add(error)
            continue
        any_pair = True
        yield pair
    if not any_pair:
        said = f", but all its rows are bad: {skipped}" if skipped is not None and any_row else ", but holds none."
        raise DataError(f"'{source}' must hold pairs{said}")


def split(pairs: Iterable[Pair], fraction: float, *, seed: int = 0) -> tuple[list[Pair], list[Pair]]:
    """(to train on, to validate on): about `fraction` of the pairs are held out.

    A pair's side is a hash of its source and the seed: pairs with the same source stay together, and a file that
    grows keeps the sides of what it had. Raises ConfigurationError unless 0 < fraction < 1, DataError for an empty
    side.
    """
    _check_fraction(fraction)
    sides: tuple[list[Pair], list[Pair]] = [], []
    for pair in pairs:
        sides[_is_held_out(pair, fraction, seed)].append(pair)
    if not sides[0] or not sides[1]:
        raise DataError(
            f"A fraction of {fraction} must leave pairs on both sides, but leaves {len(sides[0])} to train on and "
            f"{len(sides[1])} to validate on."
        )
    return sides


@dataclass
class PairFiles:
    """The pairs of files and datasets, one after the other, which can be gone through again.

    With `fraction` one side of `split` alone: what is held out, or what is left; neither is kept in memory.
    """

    names: Sequence[str | os.PathLike[str]]
    source_field: str | None = None
    target_field: str | None = None
    skipped: Skipped | None = None
    """Where bad rows are counted, which are left out; None: they are errors."""
    fraction: float | None = None
    seed: int = 0
    held_out: bool = False
    count: int = 0
    """Pairs that were given out the last time."""

    def __post_init__(self) -> None:
        if self.fraction is not None:
            _check_fraction(self.fraction)

    def __iter__(self) -> Iterator[Pair]:
        return self.read(self.skipped)

    def read(self, skipped: Skipped | None) -> Iterator[Pair]:
        """The pairs, with bad rows counted elsewhere."""
        self.count = 0
        for name in self.names:
            for pair in read_pairs(
                name, source_field=self.source_field, target_field=self.target_field, skipped=skipped
            ):
                if self.fraction is None or _is_held_out(pair, self.fraction, self.seed) == self.held_out:
                    self.count += 1
                    yield pair

    def others(self) -> Iterator[Pair]:
        """The other side of a split; bad rows are counted where this side is read. DataError when there are none."""
        found = replace(self, held_out=not self.held_out).read(None if self.skipped is None else Skipped())
        first = next(found, None)
        if first is None:
            raise DataError(
                f"A fraction of {self.fraction} must leave pairs on both sides, but leaves none to "
                f"{'train' if self.held_out else 'validate'} on."
            )
        return chain([first], found)

    def signature(self) -> list[Any] | None:
        """The files by place, size and time of their last change, and what is read of them; None for datasets."""
        files = [Path(name).expanduser() for name in self.names]
        if not all(path.is_file() for path in files):
            return None
        stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        said = [os.fspath(name) for name in self.names]  # as messages name them
        return [stats, said, self.source_field, self.target_field, self.fraction, self.seed, self.held_out]


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise ConfigurationError(f"The fraction to hold out must lie between 0 and 1, but is {fraction}.")


def _is_held_out(pair: Pair, fraction: float, seed: int) -> bool:
    digest = hashlib.blake2b(f"{seed}\n{pair.source}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < fraction * 2**64


def _names(row: Mapping[str, Any], source: str | None, target: str | None, place: str) -> tuple[str, str]:
    """The fields' names: what the call says, else the first known pair of names that the row has."""
    found = [pair for pair in FIELDS if _has(row, source or pair[0]) and _has(row, target or pair[1])]
    if found:
        return source or found[0][0], target or found[0][1]
    if source is not None and target is not None:
        return source, target
    tried = ", ".join(f"'{source or pair[0]}' with '{target or pair[1]}'" for pair in FIELDS)
    raise DataError(f"{place}: must have the fields {tried}, or those that you name, but has {_list(row)}.")


_NOTHING = object()


def _value(row: Mapping[str, Any], name: str) -> Any:
    """A field, or one inside a field: `translation.en`."""
    if name in row:
        return row[name]
    outer, dot, inner = name.partition(".")
    inside = row.get(outer)
    return _value(inside, inner) if dot and isinstance(inside, Mapping) else _NOTHING


def _has(row: Mapping[str, Any], name: str) -> bool:
    return _value(row, name) is not _NOTHING


def _text(row: Mapping[str, Any], name: str, place: str) -> str:
    value = _value(row, name)
    if value is _NOTHING:
        raise DataError(f"{place}: must have the field '{name}', but has {_list(row)}.")
    if not isinstance(value, str):
        raise DataError(f"{place}: the field '{name}' must be a text, but is {value!r:.60}.")
    if not value.strip():
        raise DataError(f"{place}: the field '{name}' must be a text, but is empty.")
    return value


def _list(row: Mapping[str, Any]) -> str:
    return ", ".join(f"'{name}'" for name in row) or "none"
