"""Stored expectations: files in `expected/`, each with what made it. Read everywhere, written by `make oracle`."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
EXPECTED = HERE / "expected"
CONSTRAINTS = HERE / "constraints.txt"
COMMAND = "make oracle"

MAKERS = {
    "names": ("names.py", "patches.py"),
}
"""Kind of figures -> the files that decide them, beside `constraints.txt`."""


def digest(kind: str) -> str:
    """Of all that decides what a kind of stored figures holds."""
    together = hashlib.sha256()
    for name in (*MAKERS[kind], CONSTRAINTS.name):
        together.update(f"{name}\n".encode() + (HERE / name).read_bytes())
    return together.hexdigest()


def write(kind: str, name: str, held: dict[str, Any], versions: dict[str, str]) -> Path:
    """One file, the same bytes for the same figures."""
    EXPECTED.mkdir(exist_ok=True)
    path = EXPECTED / f"{name}.json.gz"
    about = {"kind": kind, "command": COMMAND, "versions": versions, "inputs": digest(kind)}
    text = json.dumps({"about": about, "held": held}, separators=(",", ":"), sort_keys=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    return path


def read(name: str) -> dict[str, Any]:
    """What is held under a name."""
    return load(EXPECTED / f"{name}.json.gz")["held"]  # type: ignore[no-any-return]


def load(path: Path) -> dict[str, Any]:
    """A whole file: `about` and `held`."""
    return json.loads(gzip.decompress(path.read_bytes()))  # type: ignore[no-any-return]
