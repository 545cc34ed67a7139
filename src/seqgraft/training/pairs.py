"""Pairs of texts from files: jsonl, csv or tsv, read a line at a time."""

import csv
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from seqgraft.errors import DataError

FIELDS = (("source", "target"), ("document", "summary"), ("text", "summary"))
"""Names of (source, target) that are looked for, in this order, when a call names none."""

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LINES = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True)
class Pair:
    """What a model reads and what it must write."""

    source: str
    target: str
    place: str = field(default="", compare=False)
    """Where it stands, "file:line", for messages."""


def read_pairs(
    path: str | os.PathLike[str], *, source_field: str | None = None, target_field: str | None = None
) -> Iterator[Pair]:
    """The pairs of a file, one at a time: .jsonl (an object a line), .csv or .tsv (with a line of names).

    Without `source_field` and `target_field` the first of `FIELDS` that the first line has is taken.

    Raises:
        DataError: no such file, another kind of file, or (naming file and line) a line that is no object of texts,
            lacks a field or has an empty side; also for a file without pairs.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in (*_DELIMITERS, *_LINES):
        raise DataError(f"'{path}' must be named .jsonl, .csv or .tsv, since the name says how it is read.")
    if not path.is_file():
        raise DataError(f"'{path}' must be a file of pairs, but is {'a folder' if path.is_dir() else 'not there'}.")
    names: tuple[str, str] | None = None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, row in _rows(path, file):
                place = f"{path}:{line}"
                names = names or _names(row, source_field, target_field, place)
                yield Pair(_text(row, names[0], place), _text(row, names[1], place), place)
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' must be text in UTF-8, but is not: {error}.") from error
    if names is None:
        raise DataError(f"'{path}' must hold pairs, but holds none.")


def _rows(path: Path, file: IO[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(line number, from 1, and its fields) of every line that is not blank."""
    delimiter = _DELIMITERS.get(path.suffix.lower())
    if delimiter is None:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, _object(line, f"{path}:{number}")
        return
    rows = csv.reader(file, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    first = 1
    try:
        for cells in rows:
            if header is None:
                header = cells
            elif cells:
                if len(cells) != len(header):
                    raise DataError(f"{path}:{first}: must have {len(header)} fields, as line 1, but has {len(cells)}.")
                yield first, dict(zip(header, cells, strict=True))
            first = rows.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}:{rows.line_num}: must be a row of fields, but is not: {error}.") from error


def _object(line: str, place: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{place}: must be a JSON object, but is not JSON: {error}.") from error
    if not isinstance(row, dict):
        raise DataError(f"{place}: must be a JSON object, but is a {type(row).__name__}.")
    return row


def _names(row: Mapping[str, Any], source: str | None, target: str | None, place: str) -> tuple[str, str]:
    """The fields' names: what the call says, else the first known pair of names that the row has."""
    found = [pair for pair in FIELDS if (source or pair[0]) in row and (target or pair[1]) in row]
    if found:
        return source or found[0][0], target or found[0][1]
    if source is not None and target is not None:
        return source, target
    tried = ", ".join(f"'{source or pair[0]}' with '{target or pair[1]}'" for pair in FIELDS)
    raise DataError(f"{place}: must have the fields {tried}, or those that you name, but has {_list(row)}.")


def _text(row: Mapping[str, Any], name: str, place: str) -> str:
    if name not in row:
        raise DataError(f"{place}: must have the field '{name}', but has {_list(row)}.")
    value = row[name]
    if not isinstance(value, str):
        raise DataError(f"{place}: the field '{name}' must be a text, but is {value!r:.60}.")
    if not value.strip():
        raise DataError(f"{place}: the field '{name}' must be a text, but is empty.")
    return value


def _list(row: Mapping[str, Any]) -> str:
    return ", ".join(f"'{name}'" for name in row) or "none"
