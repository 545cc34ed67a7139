"""Tokenised pairs that are kept on the disk, for the next training and for the processes of this one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seqgraft.text.pairing import PairTokenizer
from seqgraft.text.tokenizer import Tokenizer
from seqgraft.training.pairs import PairFiles, Skipped
from seqgraft.training.special import sides
from seqgraft.training.store import Rows

if TYPE_CHECKING:
    from seqgraft.training.data import TokenizedPairs

_VERSION = 1
"""Of what lies in an entry and of how it is made: another number is another key."""
_ABOUT, _PIECES = "about.json", ("sources.ids", "sources.ends", "targets.ids", "targets.ends", "kept", "lines")
_UNREAD_DAYS = 30


def place(folder: str | os.PathLike[str] | None) -> Path:
    """Where tokenised pairs are kept: `folder`, or `$SEQGRAFT_CACHE`, or `seqgraft` in the user's caches."""
    if folder is not None:
        return Path(folder).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("SEQGRAFT_CACHE") or f"{caches}/seqgraft").expanduser() / "pairs"


def key(pairs: PairFiles, tokenizer: Tokenizer | PairTokenizer, settings: dict[str, Any]) -> str | None:
    """What an entry is found by: the files as they are now, the tokenizers, the settings. None: not to be kept."""
    files = pairs.signature()
    if files is None:
        return None
    found = hashlib.sha256(json.dumps([_VERSION, files, settings], sort_keys=True, default=str).encode())
    with tempfile.TemporaryDirectory() as written:
        tokenizer.save_pretrained(written)
        for path in sorted(path for path in Path(written).rglob("*") if path.is_file()):
            found.update(path.relative_to(written).as_posix().encode() + path.read_bytes())
    for side in sides(tokenizer):
        found.update(
            repr([type(side).__name__, *(getattr(side, f"{end}_lang", None) for end in ("src", "tgt"))]).encode()
        )
    return found.hexdigest()[:32]


def kept(
    folder: Path,
    name: str,
    skipped: Skipped | None,
    make: Callable[[Skipped | None], TokenizedPairs],
    current: Callable[[], bool],
) -> TokenizedPairs:
    """The entry of this name, or what `make` gives, which is then kept. Of several processes one makes it.

    It is not kept when the name is no longer `current` then, since somebody wrote to the files meanwhile. An entry that
    is broken is made again; a folder that cannot be written, or is full, is no error: nothing is kept then.
    """
    entry = folder / name
    with _alone(folder, name):
        found = _opened(entry, skipped)
        if found is not None:
            return found
        own = None if skipped is None else Skipped()
        made = make(own)
        if skipped is not None and own is not None:
            skipped.merge(own)
        with contextlib.suppress(OSError):
            if not current():
                return made
            _write(made, entry, own)
            _forget(folder)
        return made


def _opened(entry: Path, skipped: Skipped | None) -> TokenizedPairs | None:
    """What lies in an entry, mapped; None where there is none, or not all of it as it was written."""
    from seqgraft.training.data import TokenizedPairs

    try:
        about = json.loads((entry / _ABOUT).read_text(encoding="utf-8"))
        pieces: dict[str, Any] = {}
        for name in _PIECES:
            kind = np.int32 if name.endswith("ids") else np.int64
            size = about["sizes"][name]
            if (entry / name).stat().st_size != size * np.dtype(kind).itemsize:
                return None
            pieces[name] = np.memmap(entry / name, kind, "r") if size else np.zeros(0, kind)
        made = TokenizedPairs(about["source_pad"])
        made.sources = Rows.of(pieces["sources.ids"], pieces["sources.ends"])
        made.targets = Rows.of(pieces["targets.ids"], pieces["targets.ends"])
        made.kept, made.lines = pieces["kept"], pieces["lines"]
        made.files = [(first, file) for first, file in about["files"]]
        made.cut_sources, made.cut_targets = about["cut"]
        made.read = about["read"]
        if [made.digest(), _digest(made)] != about["digests"]:
            return None
        left_out = Skipped(about["skipped"]["count"], about["skipped"]["first"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if skipped is not None:
        skipped.merge(left_out)
    with contextlib.suppress(OSError):
        os.utime(entry)  # it was read
    return made


def _write(made: TokenizedPairs, entry: Path, skipped: Skipped | None) -> None:
    """Write an entry beside its place and then give it its name; nothing is left of one that could not be written."""
    beside = Path(tempfile.mkdtemp(prefix=".", dir=entry.parent))
    try:
        sizes = {}
        for name in _PIECES:
            side, _, what = name.partition(".")
            held: Any = getattr(made, name) if not what else getattr(made, side).flat(what)
            sizes[name] = len(held)
            with (beside / name).open("wb") as file:
                file.write(memoryview(held))
        about = {
            "source_pad": made.source_pad,
            "files": made.files,
            "cut": [made.cut_sources, made.cut_targets],
            "read": made.read,
            "sizes": sizes,
            "digests": [made.digest(), _digest(made)],
            "skipped": vars(skipped or Skipped()),
        }
        (beside / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
        if entry.exists():
            shutil.rmtree(entry)
        beside.rename(entry)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _digest(made: TokenizedPairs) -> str:
    """A hash of which pairs they are, and where they stand."""
    return hashlib.sha256(made.kept.tobytes() + made.lines.tobytes()).hexdigest()[:16]


def _forget(folder: Path) -> None:
    """Remove entries that nobody read for a month."""
    for path in folder.iterdir():
        if path.is_dir() and time.time() - path.stat().st_mtime > _UNREAD_DAYS * 86400:
            shutil.rmtree(path, ignore_errors=True)
            path.with_suffix(".lock").unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """Keep other processes of this machine waiting, where files can be locked."""
    with contextlib.ExitStack() as held:
        try:
            import fcntl

            folder.mkdir(parents=True, exist_ok=True)
            lock = held.enter_context((folder / f"{name}.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        except (ImportError, OSError):
            pass
        yield
