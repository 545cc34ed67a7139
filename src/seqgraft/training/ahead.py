"""Work that a thread does before its result is asked for."""

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


class _End:
    """The end of what a thread makes, and the error that ended it."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(source: Iterator[T], count: int) -> Iterator[T]:
    """The same items, made by a thread, up to `count` of them before they are asked for.

    An error of `source` is raised where its item would have been; who stops early ends the thread.
    """
    ready: queue.Queue[T | _End] = queue.Queue(count)
    over = threading.Event()

    def put(item: T | _End) -> bool:
        while not over.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for item in source:
                if not put(item):
                    return
            put(_End())
        except BaseException as error:
            put(_End(error))

    thread = threading.Thread(target=make, name="seqgraft-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        over.set()
        thread.join()
