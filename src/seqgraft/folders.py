"""A name or a folder -> files; files -> a folder, all or none.

Four rooms read folders (configurations, weights, tokenizers, generation settings), so what a name means, what a
path may be and how a folder is replaced stand here once.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqgraft.errors import FolderError

_COMMITTED = ".seqgraft-commit-"
_STAGED = ".seqgraft-saving-"
_STALE = ".seqgraft-stale.json"


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
    if folder.is_dir():
        finish(folder)
        path = inside(folder, os.path.join(origin.subfolder, filename))
        return path if path.is_file() else None
    if folder.is_file() and folder.name == filename:
        return folder
    return _download(os.fspath(source), filename, origin)


def need(source: str | os.PathLike[str], filename: str, origin: Origin | None = None) -> Path:
    """Like `find`, but a missing file is a FolderError that lists what the folder holds instead."""
    path = find(source, filename, origin)
    if path is None:
        folder = Path(source).expanduser()
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
    move (`finish`), so nobody sees half of it.
    """
    target = Path(folder).expanduser()
    if target.exists() and not target.is_dir():
        raise FolderError(f"'{target}' must be a folder to save into, but is a file.")
    made = not target.exists()
    target.mkdir(parents=True, exist_ok=True)
    finish(target)
    staged = Path(tempfile.mkdtemp(prefix=_STAGED, dir=target))
    try:
        yield staged
        for path in staged.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        old = [p.name for pattern in stale for p in target.glob(pattern) if not (staged / p.name).exists()]
        (staged / _STALE).write_text(json.dumps(old), encoding="utf-8")
        staged.chmod(0o755)
        staged.rename(target / staged.name.replace(_STAGED, _COMMITTED))
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        if made:
            with contextlib.suppress(OSError):
                target.rmdir()
        raise
    finish(target)


def finish(folder: Path) -> None:
    """Complete a save that was committed but killed before all its files had moved."""
    for committed in sorted(folder.glob(_COMMITTED + "*")):
        try:
            _move(committed, folder)
        except FileNotFoundError:  # another process finishes the same save
            continue
        except PermissionError as error:
            raise FolderError(f"'{folder}' holds an unfinished save that must be completed by its owner.") from error


def _move(committed: Path, folder: Path) -> None:
    for path in sorted(committed.rglob("*")):
        if path.is_file() and path.name != _STALE:
            place = folder / path.relative_to(committed)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
    listing = committed / _STALE
    if listing.exists():
        for name in json.loads(listing.read_text(encoding="utf-8")):
            inside(folder, name).unlink(missing_ok=True)
    shutil.rmtree(committed, ignore_errors=True)


def _download(name: str, filename: str, origin: Origin) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
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
    except RepositoryNotFoundError as error:
        raise FolderError(f"'{name}' is neither a folder here nor a repository of the hub (private ones need `token`).") from error
    except HFValidationError as error:
        raise FolderError(f"'{name}' is no folder here, and cannot be the name of a hub repository: {error}") from error
    except (HfHubHTTPError, OSError) as error:
        raise FolderError(f"'{name}': the hub could not be read for {filename}: {error}") from error


def _cached(name: str, origin: Origin) -> bool:
    """Whether the cache holds a snapshot of this repository, so that a missing file means 'not in it'."""
    from huggingface_hub import try_to_load_from_cache

    known = ("config.json", "tokenizer_config.json", "tokenizer.json", "vocab.txt")
    return any(
        isinstance(try_to_load_from_cache(name, f, cache_dir=origin.cache_dir, revision=origin.revision), str)
        for f in known
    )
