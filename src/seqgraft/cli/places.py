"""Where results go: checked before the work begins, so that an hour of it is not lost at the end."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from seqgraft.errors import FolderError


def check_folder(folder: Path, *, force: bool) -> None:
    """Raise FolderError unless `folder` can be written and is empty or not there; `force` allows a full one."""
    if folder.exists() and not folder.is_dir():
        raise FolderError(f"'{folder}' must be a folder to write into, but is a file.")
    _check_writable(folder)
    there = folder.iterdir() if folder.is_dir() else ()
    held = sorted(path.name for path in there if not path.name.startswith(".seqgraft-"))
    if held and not force:
        what = "a model" if "config.json" in held else "other files"
        raise FolderError(
            f"'{folder}' must be empty or new, but holds {what} ({', '.join(held[:3])}{', ...' if held[3:] else ''}): "
            "choose another folder, or pass --force to write over it."
        )


def check_file(file: Path, *, force: bool) -> None:
    """Raise FolderError unless `file` can be written and is not there; `force` allows one that is."""
    if file.is_dir():
        raise FolderError(f"'{file}' must be a file to write, but is a folder.")
    if not file.parent.is_dir():
        raise FolderError(f"'{file}' must be in a folder that is there, but '{file.parent}' is not.")
    _check_writable(file.parent)
    if file.exists() and not force:
        raise FolderError(f"'{file}' must be new, but is there already: pass --force to write over it.")


def _check_writable(folder: Path) -> None:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise FolderError(f"'{folder}' must be a place where you may write, but '{there}' is not.")


@contextlib.contextmanager
def whole_file(file: Path) -> Iterator[IO[str]]:
    """A file that takes its place when it is complete; until then, and when the work fails, nothing changes."""
    handle, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            yield stream
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
