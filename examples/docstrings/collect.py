"""Real pairs from what every machine has: the docstrings of the standard library and of the installed packages."""

import ast
import hashlib
import importlib.metadata
import json
import os
import re
import sys
import sysconfig
import warnings
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from examples.docstrings.clean import normal, pair_of
from seqgraft import folders

VERSION = 1
"""Changed when the rules of this file or of `clean.py` change, so that cached pairs are collected anew."""
PAIRS, ENVIRONMENT = "pairs.jsonl", "pairs.environment.json"
CAP = 2500
"""The most pairs of one top-level module, so that none dominates."""
HELD_OUT = 0.1

_SKIPPED_FOLDERS = re.compile(r"(tests?|testing|_vendor|vendored|__pycache__|site-packages|lib2to3|.*\.dist-info)")
_SKIPPED_FILES = re.compile(r"(test_.*|.*_test|conftest|.*_pb2)\.py")


@dataclass(frozen=True)
class Docstring:
    """One pair: `source` is the body, `target` the summary line, `module` the top-level module that it is from."""

    source: str
    target: str
    module: str


def roots() -> list[Path]:
    """The folders of the standard library and of the installed packages."""
    paths = sysconfig.get_paths()
    named = [paths["stdlib"], paths["purelib"], paths["platlib"]]
    return sorted({Path(name).resolve() for name in named if Path(name).is_dir()})


def environment(places: list[Path]) -> dict[str, object]:
    """What the pairs depend on: Python's version, the installed distributions, the folders and this code's rules."""
    held = {f"{d.metadata['Name']}=={d.version}" for d in importlib.metadata.distributions()}
    return {
        "python": sys.version.split()[0],
        "distributions": sorted(held),
        "folders": [str(place) for place in places],
        "rules": [VERSION, CAP],
    }


def files(root: Path) -> Iterator[tuple[str, Path]]:
    """(top-level module, file) of every Python file below a folder, tests and copies of other packages left out."""
    for folder, names, held in os.walk(root):
        names[:] = sorted(n for n in names if not _SKIPPED_FOLDERS.fullmatch(n) and not n.startswith("."))
        for name in sorted(held):
            if name.endswith(".py") and not _SKIPPED_FILES.fullmatch(name):
                path = Path(folder) / name
                yield path.relative_to(root).parts[0].removesuffix(".py"), path


def docstrings(path: Path) -> Iterator[str]:
    """The docstrings of a file's module, classes and functions; the file is parsed and never imported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
        return
    blocks: list[ast.AST] = [tree]
    while blocks:  # statements only: ast.walk would visit every expression too, and be the cost of it all
        node = blocks.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text and "\n\n" in text:
                yield text
        for name in ("finalbody", "handlers", "orelse", "body"):
            blocks.extend(reversed(getattr(node, name, None) or []))


def pairs_of_file(path: Path) -> list[tuple[str, str]]:
    """(body, summary) of every docstring of a file that has both."""
    return [pair for pair in map(pair_of, docstrings(path)) if pair is not None]


def collect(places: list[Path]) -> list[Docstring]:
    """Every pair of the folders; a body or a summary that was seen before is left out, whatever its case and marks.

    The same tree gives the same pairs in the same order. At most CAP are taken of one top-level module, spread over
    its files by hash.
    """
    found: dict[str, list[Docstring]] = defaultdict(list)
    seen: set[str] = set()
    listed = [item for place in places for item in files(place)]
    with ProcessPoolExecutor(os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()) as workers:
        read = workers.map(pairs_of_file, [path for _, path in listed], chunksize=64)
        for (module, _), pairs in zip(listed, read, strict=True):
            for source, target in pairs:
                keys = {"s " + normal(source), "t " + normal(target)}
                if not keys & seen:
                    seen |= keys
                    found[module].append(Docstring(source, target, module))
    kept = [sorted(rows, key=lambda row: digest(row.source))[:CAP] for rows in found.values()]
    return sorted((row for rows in kept for row in rows), key=lambda row: digest(row.source))


def digest(text: str) -> str:
    """A hash that is the same on every machine."""
    return hashlib.sha256(text.encode()).hexdigest()


def split(pairs: list[Docstring]) -> tuple[list[Docstring], list[Docstring]]:
    """(to train on, held out), by top-level module.

    Which side a module is on depends on its name alone, the same on every machine; where that would hold none of
    several modules out, the one that comes nearest is.
    """
    modules = sorted({pair.module for pair in pairs}, key=share)
    held = {module for module in modules if share(module) < HELD_OUT} or set(modules[: len(modules) > 1])
    train = [pair for pair in pairs if pair.module not in held]
    return train, [pair for pair in pairs if pair.module in held]


def share(module: str) -> float:
    return int(digest("split " + module)[:8], 16) / 16**8


def cached(folder: Path, places: list[Path] | None = None) -> tuple[list[Docstring], bool]:
    """The pairs that `folder` keeps, collected anew when the environment has changed; and whether they were there.

    Both files are written together or not at all.
    """
    places = roots() if places is None else places
    wanted = json.loads(json.dumps(environment(places)))
    if (folder / PAIRS).is_file() and (folder / ENVIRONMENT).is_file():
        folders.finish(folder)
        if folders.read_json(folder / ENVIRONMENT) == wanted:
            with (folder / PAIRS).open(encoding="utf-8") as lines:
                return [Docstring(**json.loads(line)) for line in lines], True
    pairs = collect(places)
    with folders.saving(folder) as staged:
        (staged / PAIRS).write_text("".join(json.dumps(asdict(p)) + "\n" for p in pairs), encoding="utf-8")
        folders.write_json(staged / ENVIRONMENT, wanted)
    return pairs, False
