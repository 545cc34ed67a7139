"""Where pairs come from: jsonl, csv, tsv, parquet, or a dataset of `datasets` -> rows with their places."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from seqgraft.errors import DataError, MissingExtraError

Row = Mapping[str, Any] | DataError
"""The fields of a row, or what is wrong with it."""

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LINES = (".jsonl", ".ndjson", ".json")
_PARQUET = (".parquet",)
KINDS = (*_LINES, *_DELIMITERS, *_PARQUET)
_DATASET = re.compile(r"(?P<name>[\w.-]+(/[\w.-]+)?)(:(?P<config>[\w.+-]+))?(@(?P<split>[\w\[\]:%+-]+))?")


def rows(source: str) -> Iterator[tuple[str, Row]]:
    """("file:line", row) of a file, a folder or a dataset's name, one at a time; blank lines are no rows.

    A file is read by its name's ending. Anything else is a dataset for `datasets`: `NAME[:CONFIG][@SPLIT]`, where
    NAME is of the hub or a local folder (of data files, or as `save_to_disk` wrote it), and SPLIT is `train` unless
    said.

    Raises DataError for a source that cannot be read at all, MissingExtraError when what reads it is not installed.
    """
    path = Path(source).expanduser()
    kind = path.suffix.lower()
    if kind in KINDS:
        if not path.is_file():
            raise DataError(f"'{path}' must be a file of pairs, but is {'a folder' if path.is_dir() else 'not there'}.")
        return _parquet(path) if kind in _PARQUET else _lines(path, kind)
    if path.is_file():
        raise DataError(f"'{path}' must be named {', '.join(KINDS)}, since the name says how it is read.")
    return _dataset(source)


def _lines(path: Path, kind: str) -> Iterator[tuple[str, Row]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _cells(path, file, _DELIMITERS[kind]) if kind in _DELIMITERS else _objects(path, file)
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' must be text in UTF-8, but is not: {error}.") from error


def _objects(path: Path, file: IO[str]) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            place = f"{path}:{number}"
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                yield place, DataError(f"{place}: must be a JSON object, but is not JSON: {error}.")
                continue
            if not isinstance(row, dict):
                row = DataError(f"{place}: must be a JSON object, but is a {type(row).__name__}.")
            yield place, row


def _cells(path: Path, file: IO[str], delimiter: str) -> Iterator[tuple[str, Row]]:
    cells_of = csv.reader(file, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    first = 1
    try:
        for cells in cells_of:
            place = f"{path}:{first}"
            if header is None:
                header = cells
            elif cells and len(cells) != len(header):
                yield place, DataError(f"{place}: must have {len(header)} fields, as line 1, but has {len(cells)}.")
            elif cells:
                yield place, dict(zip(header, cells, strict=True))
            first = cells_of.line_num + 1
    except csv.Error as error:  # where the next row begins is not known
        raise DataError(f"{path}:{cells_of.line_num}: must be a row of fields, but is not: {error}.") from error


def _parquet(path: Path) -> Iterator[tuple[str, Row]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingExtraError("Parquet files need pyarrow: pip install 'seqgraft[data]'.") from error
    try:
        number = 0
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=2000):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}:{number}", row
    except (ArrowException, OSError) as error:
        raise DataError(f"'{path}' must be a Parquet file, but cannot be read as one: {error}") from error


def _dataset(source: str) -> Iterator[tuple[str, Row]]:
    folder, _, split = source.partition("@")
    here = Path(folder).expanduser()
    found = _DATASET.fullmatch(source)
    if not here.is_dir() and found is None:
        raise DataError(
            f"'{source}' must be a file named {', '.join(KINDS)}, a folder, or a dataset NAME[:CONFIG][@SPLIT], but is "
            "none of them."
        )
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(
            f"'{source}' is no file here; as a dataset it needs datasets: pip install 'seqgraft[data]'."
        ) from error
    split = split or "train"
    try:
        if here.is_dir() and ((here / "state.json").is_file() or (here / "dataset_dict.json").is_file()):
            held = datasets.load_from_disk(str(here))
            if isinstance(held, dict):
                if split not in held:
                    raise DataError(f"'{folder}' must have the split '{split}', but has {', '.join(held)}.")
                held = held[split]
        elif here.is_dir() or found is None:
            held = datasets.load_dataset(str(here), split=split)
        else:
            held = datasets.load_dataset(found["name"], found["config"], split=split)
    except DataError:
        raise
    except Exception as error:  # of whatever the loader met: the network, a schema, a split
        raise DataError(f"'{source}' could not be read as a dataset: {error}") from error
    for number, row in enumerate(held, 1):
        yield f"{source}:{number}", row
