"""Memory that the system may have back: pages of a weight file that nothing will read for a while."""

import contextlib
import ctypes
import mmap
import sys
from bisect import bisect_right
from pathlib import Path

from torch import Tensor

_PAGE_OUT = 21  # MADV_PAGEOUT of Linux 5.4: pages go, and what was written to them does not


class Residence:
    """The parts of this process's memory that are maps of files, as they were when this was made."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        listing = Path("/proc/self/maps")
        if not sys.platform.startswith("linux") or not listing.exists():
            return
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            words = line.split(maxsplit=5)
            if len(words) == 6 and words[5].startswith("/"):
                start, end = (int(word, 16) for word in words[0].split("-"))
                self._starts.append(start)
                self._ends.append(end)

    def let_go(self, weight: Tensor) -> None:
        """The weight's pages need not stay in memory; they are read again when they are wanted.

        Only of a weight mapped from a file: it can be read again, and pages that were written to stay. Where the
        system does not know this, nothing happens.
        """
        if weight.device.type != "cpu" or not self._starts:
            return
        start = weight.data_ptr()
        end = start + weight.untyped_storage().nbytes() - weight.storage_offset() * weight.element_size()
        place = bisect_right(self._starts, start) - 1
        if place < 0 or end > self._ends[place]:
            return
        page = mmap.PAGESIZE
        start, end = -(-start // page) * page, end // page * page
        if end > start:
            with contextlib.suppress(AttributeError, OSError):
                ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _PAGE_OUT)
