"""Texts to generate from: a line each, or a field of jsonl, csv or tsv."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from seqgraft.errors import DataError

FIELDS = ("source", "document", "text")
"""Looked for in this order when no field is named."""
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LINES = (".jsonl", ".ndjson")
KINDS = (".txt", *_LINES, *_DELIMITERS)


def read_texts(file: Path, field: str | None = None) -> list[str]:
    """The texts of a file, in order. Its name says how it is read: .txt, .jsonl, .csv or .tsv.

    Raises DataError for another kind of file, and (naming file and line) for a line that lacks the field.
    """
    kind = file.suffix.lower()
    if kind not in KINDS:
        raise DataError(f"'{file}' must be named {', '.join(KINDS)}, since the name says how it is read.")
    if not file.is_file():
        raise DataError(f"'{file}' must be a file of texts, but is {'a folder' if file.is_dir() else 'not there'}.")
    try:
        with file.open(encoding="utf-8-sig", newline="\n" if kind not in _DELIMITERS else "") as stream:
            if kind == ".txt":
                if field is not None:
                    raise DataError(f"'{file}' has no fields, so --field must be left out, but is '{field}'.")
                return [line.rstrip("\r\n") for line in stream]
            rows = _objects(file, stream) if kind in _LINES else _cells(file, stream, _DELIMITERS[kind])
            return list(_texts(rows, field))
    except UnicodeDecodeError as error:
        raise DataError(f"'{file}' must be text in UTF-8, but is not: {error}.") from error


def _texts(rows: Iterator[tuple[str, Mapping[str, Any]]], field: str | None) -> Iterator[str]:
    for place, row in rows:
        if field is None:
            field = next((name for name in FIELDS if name in row), next(iter(row), None) if len(row) == 1 else None)
        if field is None or field not in row:
            wanted = f"the field '{field}'" if field else f"one of the fields {', '.join(FIELDS)} (or pass --field)"
            raise DataError(f"{place}: must have {wanted}, but has {', '.join(map(repr, row)) or 'none'}.")
        if not isinstance(row[field], str):
            raise DataError(f"{place}: the field '{field}' must be a text, but is {row[field]!r:.60}.")
        yield row[field]


def _objects(file: Path, stream: IO[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{file}:{number}: must be a JSON object, but is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise DataError(f"{file}:{number}: must be a JSON object, but is a {type(row).__name__}.")
        yield f"{file}:{number}", row


def _cells(file: Path, stream: IO[str], delimiter: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    rows = csv.reader(stream, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    try:
        for cells in rows:
            if header is None:
                header = cells
            elif cells:
                if len(cells) != len(header):
                    raise DataError(
                        f"{file}:{rows.line_num}: must have {len(header)} fields, as line 1, but has {len(cells)}."
                    )
                yield f"{file}:{rows.line_num}", dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{file}:{rows.line_num}: must be a row of fields, but is not: {error}.") from error
