"""The original Flax and TensorFlow classes as oracles: what they compute and write for tiny models, in `expected/`.

`make oracle` makes an environment of their last versions (`constraints.txt`) and fills `expected/` anew. The tests read
`expected/` alone. Each file there says the command, the versions and the digest of the inputs that made it, and
`test_stored.py` fails when the inputs were changed since. A file is JSON, packed, or a zip archive of it and of arrays
and files.
"""

import gzip
import hashlib
import io
import json
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
EXPECTED = HERE / "expected"
CONSTRAINTS = HERE / "constraints.txt"
COMMAND = "make oracle"

MAKERS = {
    "names": ("names.py", "patches.py"),
    "computed": ("cases.py", "originals.py", "patches.py"),
    "files": ("cases.py", "files.py", "patches.py"),
    "opened": ("cases.py", "opened.py", "written.py", "patches.py"),
}
"""Kind of figures -> the files that decide them, beside `constraints.txt`."""


@cache
def digest(kind: str) -> str:
    """Of all that decides what a kind of stored figures holds, as it was when first asked for."""
    together = hashlib.sha256()
    for name in (*MAKERS[kind], CONSTRAINTS.name):
        together.update(f"{name}\n".encode() + (HERE / name).read_bytes())
    return together.hexdigest()


def write(
    kind: str,
    name: str,
    held: dict[str, Any],
    versions: dict[str, str],
    arrays: dict[str, np.ndarray] | None = None,
    files: dict[str, bytes] | None = None,
) -> Path:
    """One file, the same bytes for the same figures."""
    EXPECTED.mkdir(exist_ok=True)
    about = {"kind": kind, "command": COMMAND, "versions": versions, "inputs": digest(kind)}
    text = json.dumps({"about": about, "held": held}, separators=(",", ":"), sort_keys=True).encode()
    if not arrays and not files:
        path = EXPECTED / f"{name}.json.gz"
        path.write_bytes(gzip.compress(text, 9, mtime=0))
        return path
    path = EXPECTED / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr(zipfile.ZipInfo("held.json"), text, zipfile.ZIP_LZMA)
        for key, array in sorted((arrays or {}).items()):
            packed = io.BytesIO()
            np.save(packed, array)
            archive.writestr(zipfile.ZipInfo(f"arrays/{key}.npy"), packed.getvalue(), zipfile.ZIP_LZMA)
        for key, content in sorted((files or {}).items()):
            archive.writestr(zipfile.ZipInfo(f"files/{key}"), content, zipfile.ZIP_LZMA)
    return path


@cache
def load(path: Path) -> dict[str, Any]:
    """A whole file's JSON: `about` and `held`."""
    if path.suffix == ".gz":
        return json.loads(gzip.decompress(path.read_bytes()))  # type: ignore[no-any-return]
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("held.json"))  # type: ignore[no-any-return]


def all_stored() -> list[Path]:
    """Every file of figures."""
    return sorted(path for path in EXPECTED.iterdir() if path.suffix in (".gz", ".zip"))


def fresh(kind: str, name: str) -> bool:
    """Whether figures of this name are there, made from today's inputs."""
    held = [path for path in all_stored() if path.name.rpartition(".json.gz")[0] == name or path.stem == name]
    return bool(held) and load(held[0])["about"]["inputs"] == digest(kind)


def read(name: str) -> dict[str, Any]:
    """What is held under a name."""
    packed = EXPECTED / f"{name}.json.gz"
    return load(packed if packed.exists() else EXPECTED / f"{name}.zip")["held"]  # type: ignore[no-any-return]


@cache
def arrays(name: str) -> dict[str, np.ndarray]:
    """The arrays under a name."""
    with zipfile.ZipFile(EXPECTED / f"{name}.zip") as archive:
        inside = [one for one in archive.namelist() if one.startswith("arrays/")]
        return {
            one.removeprefix("arrays/").removesuffix(".npy"): np.load(io.BytesIO(archive.read(one))) for one in inside
        }


def kinds(path: Path) -> list[str]:
    """The kinds of files in an archive."""
    with zipfile.ZipFile(path) as archive:
        return sorted({one.split("/")[1] for one in archive.namelist() if one.startswith("files/")})


def unpack(name: str, kind: str, where: Path) -> Path:
    """The files under a name whose path begins with `kind/`, put into a folder."""
    start = f"files/{kind}/"
    where.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(EXPECTED / f"{name}.zip") as archive:
        for one in archive.namelist():
            if one.startswith(start):
                (where / one.removeprefix(start)).write_bytes(archive.read(one))
    return where
