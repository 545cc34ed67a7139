"""A name or a folder -> files; files -> a folder, all or none.

Four rooms read folders (configurations, weights, tokenizers, generation settings), so what a name means, what a
path may be and how a folder is replaced stand here once.
"""

import contextlib
import errno
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqgraft.errors import FolderError

_COMMITTED = ".seqgraft-commit-"
_STAGED = ".seqgraft-saving-"
_STALE = ".seqgraft-stale.json"
_TRASH = ".seqgraft-trash-"


@dataclass(frozen=True)
class Origin:
    """Where a hub repository's files come from; a local folder needs only `subfolder`."""

    revision: str | None = None
    cache_dir: str | None = None
    token: str | bool | None = None
    local_files_only: bool = False
    force_download: bool = False
    subfolder: str = ""

    @classmethod
    def take(cls, arguments: dict[str, Any]) -> "Origin":
        """Remove this class's fields from `arguments` (as `from_pretrained` receives them) and build one of them."""
        return cls(**{name: arguments.pop(name) for name in list(arguments) if name in cls.__dataclass_fields__})


def find(source: str | os.PathLike[str], filename: str, origin: Origin | None = None) -> Path | None:
    """The local path of one file of a folder or hub repository, or None when it is not there.

    Raises FolderError when `source` is neither a folder nor a reachable repository, or when `filename` leaves it.
    """
    origin = origin or Origin()
    folder = Path(source).expanduser()
    path = inside(inside(folder, origin.subfolder), filename)
    if folder.is_dir():
        finish(folder)
        return path if path.is_file() else None
    if folder.is_file():
        return folder if folder.name == filename else None
    return _download(os.fspath(source), filename, origin)


def need(source: str | os.PathLike[str], filename: str, origin: Origin | None = None) -> Path:
    """Like `find`, but a missing file is a FolderError that lists what the folder holds instead."""
    path = find(source, filename, origin)
    if path is None:
        folder = Path(source).expanduser()
        if folder.is_file():
            raise FolderError(f"'{source}' must hold {filename}, but is a file.")
        held = ", ".join(sorted(p.name for p in folder.iterdir())[:12]) if folder.is_dir() else "another set of files"
        raise FolderError(f"'{source}' must hold {filename}, but holds {held or 'nothing'}.")
    return path


def inside(folder: Path, filename: str) -> Path:
    """`folder / filename`, refusing what leaves the folder: checkpoint files are not trusted.

    Links of the folder itself may point elsewhere (hub caches are made of them); a name with `..` or a root may not.
    """
    pure = Path(filename)
    if pure.is_absolute() or ".." in pure.parts or "\0" in filename:
        raise FolderError(f"A file of '{folder}' must be named by a path inside it, but is named '{filename}'.")
    return folder / pure


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FolderError(f"{path} must hold JSON, but does not: {error}.") from error
    except RecursionError:
        raise FolderError(f"{path} must hold JSON that can be read, but its brackets are too deep.") from None
    if not isinstance(value, dict):
        raise FolderError(f"{path} must hold a JSON object, but holds a {type(value).__name__}.")
    return value


def write_json(path: Path, value: dict[str, Any], *, sort_keys: bool = True) -> None:
    """Write one JSON object, in the field's layout (two spaces, a newline at the end)."""
    path.write_text(json.dumps(value, indent=2, sort_keys=sort_keys, ensure_ascii=False) + "\n", encoding="utf-8")


@contextlib.contextmanager
def saving(folder: str | os.PathLike[str], *, stale: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield an empty folder to write into; on a clean exit its files take their places in `folder` together.

    Files of `folder` that match a pattern of `stale` and were not written anew are removed (the shards of an older
    save). Killed before the end, `folder` is as it was; killed while the files move, the next reader finishes the
    move (`finish`), so nobody sees half of it. What a killed save has left behind is removed by the next one.

    Raises FolderError when `folder` is a file, or holds a folder where a file must go or the other way round.
    """
    target = Path(folder).expanduser()
    if target.exists() and not target.is_dir():
        raise FolderError(f"'{target}' must be a folder to save into, but is a file.")
    made = not target.exists()
    target.mkdir(parents=True, exist_ok=True)
    finish(target)
    _sweep(target)
    staged = Path(tempfile.mkdtemp(prefix=f"{_STAGED}{platform.node()}-{os.getpid()}-", dir=target))
    try:
        yield staged
        _check_places(staged, target)
        old = {path.name for pattern in stale for path in target.glob(pattern) if not path.is_dir()}
        write_json(staged / _STALE, {"remove": sorted(name for name in old if not (staged / name).exists())})
        staged.chmod(0o755)
        _flush(staged)
        staged.rename(target / f"{_COMMITTED}{time.time_ns():020d}-{staged.name.rpartition('-')[2]}")
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        if made:
            with contextlib.suppress(OSError):
                target.rmdir()
        raise
    _sync(target)
    finish(target)


def finish(folder: Path) -> None:
    """Complete the saves that were committed but killed before all their files had moved, oldest first.

    Several processes may do so at once: on return every file is in its place, whoever moved it.
    """
    for committed in sorted(folder.glob(_COMMITTED + "*")):
        try:
            _move(committed, folder)
        except FileNotFoundError:
            if (committed / _STALE).exists():
                raise
            # Otherwise another process has finished this save and is removing what is left of it.
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            raise FolderError(
                f"'{folder}' holds a save that was interrupted while its files moved; it must be opened once by "
                f"a user who may write to it, but cannot be written here: {error}."
            ) from error


def _move(committed: Path, folder: Path) -> None:
    listing = committed / _STALE
    try:
        stale = read_json(listing)["remove"]
    except FileNotFoundError:  # another process has finished this save
        shutil.rmtree(committed, ignore_errors=True)
        return
    for path in sorted(committed.rglob("*")):
        if path.name == _STALE or path.name.startswith(_TRASH) or path.is_dir():
            continue
        place = folder / path.relative_to(committed)
        place.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another process has just moved it
            path.replace(place)
    for number, name in enumerate(stale):
        # Moved, not removed: once another process has finished, this fails and cannot hit the file of a newer save.
        with contextlib.suppress(FileNotFoundError):
            inside(folder, name).replace(committed / f"{_TRASH}{number}")
    _sync(folder)
    listing.unlink(missing_ok=True)
    shutil.rmtree(committed, ignore_errors=True)


def _check_places(staged: Path, target: Path) -> None:
    """Nothing may keep the files from moving once the save is committed."""
    for path in staged.rglob("*"):
        place = target / path.relative_to(staged)
        if place.exists() and place.is_dir() != path.is_dir():
            kinds = ("a folder", "a file") if path.is_dir() else ("a file", "a folder")
            raise FolderError(f"'{place}' must be {kinds[0]} for this save, but is {kinds[1]}.")


def _sweep(target: Path) -> None:
    """Remove what saves of this machine's dead processes have left (another machine's cannot be asked)."""
    for staged in target.glob(_STAGED + "*"):
        host, _, pid = staged.name[len(_STAGED) :].rpartition("-")[0].rpartition("-")
        if host == platform.node() and pid.isdecimal() and not _alive(int(pid)):
            shutil.rmtree(staged, ignore_errors=True)


def _alive(pid: int) -> bool:
    if os.name != "posix":  # signal 0 is a real signal elsewhere
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _flush(staged: Path) -> None:
    """Bring everything in `staged` to the disk, so that a power cut after the commit loses nothing."""
    for path in staged.rglob("*"):
        if path.is_dir():
            _sync(path)
        else:
            with path.open("rb" if os.name == "posix" else "r+b") as file:
                os.fsync(file.fileno())
    _sync(staged)


def _sync(folder: Path) -> None:
    if os.name != "posix":  # a folder cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _download(name: str, filename: str, origin: Origin) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        return Path(
            hf_hub_download(
                name,
                filename,
                subfolder=origin.subfolder or None,
                revision=origin.revision,
                cache_dir=origin.cache_dir,
                token=origin.token,
                local_files_only=origin.local_files_only,
                force_download=origin.force_download,
            )
        )
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        if _cached(name, origin):
            return None
        raise FolderError(
            f"'{name}' must be a folder, or a hub repository that is reachable or cached; "
            f"it is no folder here, and the hub did not give {filename}: {error}"
        ) from error
    except EntryNotFoundError:
        return None
    except GatedRepoError as error:
        raise FolderError(
            f"'{name}' must be read with a `token` whose owner has accepted its terms on the hub, but was not: {error}"
        ) from error
    except RepositoryNotFoundError as error:
        raise FolderError(
            f"'{name}' is neither a folder here nor a repository of the hub (private ones need `token`)."
        ) from error
    except HFValidationError as error:
        raise FolderError(f"'{name}' is no folder here, and cannot be the name of a hub repository: {error}") from error
    except (HfHubHTTPError, OSError) as error:
        raise FolderError(f"'{name}': the hub could not be read for {filename}: {error}") from error


def _cached(name: str, origin: Origin) -> bool:
    """Whether the cache holds a snapshot of this repository, so that a missing file means 'not in it'."""
    from huggingface_hub import try_to_load_from_cache

    known = ("config.json", "tokenizer_config.json", "tokenizer.json", "vocab.txt", "model.safetensors")
    files = [f"{origin.subfolder}/{file}" if origin.subfolder else file for file in known]
    return any(
        isinstance(try_to_load_from_cache(name, file, cache_dir=origin.cache_dir, revision=origin.revision), str)
        for file in files
    )
