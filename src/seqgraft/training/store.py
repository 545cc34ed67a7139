"""Many rows of ids in one flat array, in memory while it is small and in a mapped file when it is not."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

_MOST = 1 << 24
"""Ids of the rows that are kept in memory: 64 MiB."""
_PIECE = 1 << 20

Ids = np.ndarray[Any, np.dtype[np.int32]]


class Rows:
    """Rows of unequal length. What is more than `most` ids goes to a file without a name, which ends with this object.

    Where each row ends stays in memory, 8 bytes a row.

    Args:
        folder: where that file is; None: where temporary files are, which some machines keep in memory.
    """

    def __init__(self, folder: Path | None = None, most: int = _MOST) -> None:
        self._folder, self._most = folder, most
        self._recent = array("i")
        self._ends: Any = array("q", [0])
        self._file: IO[bytes] | None = None
        self._written = 0
        self._mapped: Ids | None = None

    @classmethod
    def of(cls, ids: Ids, ends: np.ndarray[Any, np.dtype[np.int64]]) -> Rows:
        """Rows that lie in arrays already, mapped files for some; nothing is appended to them."""
        made = cls()
        made._ends, made._mapped = ends, ids
        return made

    def append(self, ids: Sequence[int]) -> None:
        """Add one row."""
        self._recent.extend(ids)
        self._ends.append(self._ends[-1] + len(ids))
        self._mapped = None
        if len(self._recent) >= (self._most if self._file is None else _PIECE):
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
            self._spill(self._file)

    def _spill(self, file: IO[bytes]) -> None:
        file.write(memoryview(self._recent))
        self._written += len(self._recent)
        self._recent = array("i")

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> Ids:
        return self._flat()[self._ends[index] : self._ends[index + 1]]

    def _flat(self) -> Ids:
        if self._mapped is not None:
            return self._mapped
        if self._file is None:
            return np.frombuffer(self._recent, np.int32)
        self._spill(self._file)
        self._file.flush()
        self._mapped = np.memmap(self._file, np.int32, "r", shape=(self._written,))
        return self._mapped

    def flat(self, what: str) -> Any:
        """`ids` of all rows one after the other, or where each row `ends`."""
        return self._flat() if what == "ids" else self._ends

    def pieces(self) -> Iterator[bytes]:
        """Everything, for a hash: the rows' ends, then the ids."""
        yield self._ends.tobytes()
        flat = self._flat()
        for first in range(0, len(flat), _PIECE):
            yield flat[first : first + _PIECE].tobytes()

    def lengths(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The length of every row."""
        ends = np.frombuffer(self._ends, np.int64)
        return ends[1:] - ends[:-1]

    def padded(self, indexes: Sequence[int], fill: int) -> Tensor:
        """Rows -> ids [rows, longest], filled on the right."""
        rows = [self[index] for index in indexes]
        out = np.full((len(rows), max(map(len, rows))), fill, np.int64)
        for place, row in zip(out, rows, strict=True):
            place[: len(row)] = row
        return torch.from_numpy(out)
