"""The embedded summarizer's pairs: code without its docstring, or the docstring's body -> the summary line."""

import ast
import re
import sys
import textwrap
import warnings
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from examples.docstrings.clean import normal, pair_of, summary_of
from examples.docstrings.collect import digest, files, share

CODE_LINES = 40
"""The most lines of code that are kept: a source is cut at some 100 tokens anyway."""
CAPS = {"train": 4000, "validation": 400, "held_out": 400}
"""The most pairs of one top-level module and kind, so that none dominates."""
SHARES = {"held_out": (0.0, 0.1), "validation": (0.1, 0.13)}
"""Which top-level modules are on which side: by a hash of their name alone, as in `collect.split`."""
SHINGLE, OVERLAP = 6, 0.3
"""A source is left out of the measured sides where more than this share of its runs of so many words stand in sources
of the training."""
_PERMISSIVE = re.compile(r"\b(0?BSD|MIT|Apache|PSF|PSFL|Python Software Foundation|ISC|HPND|Zlib|CC0)\b|Apache|BSD")
_OTHER = re.compile(r"\b([AL]?GPL|GNU|MPL|Mozilla|EPL|CDDL|Proprietary)", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """One pair: `kind` is "code" or "text", `module` the top-level module that it is from."""

    source: str
    target: str
    kind: str
    module: str


def collected(places: Iterable[Path], allowed: Container[str]) -> dict[str, list[Pair]]:
    """Side (`train`, `validation`, `held_out`) -> pairs, from the modules that `allowed` holds.

    A source or, within a kind, a summary stands once, whatever its case and marks. The measured sides have none that
    the training has, nor a source that shares more than OVERLAP of its shingles with those of the training.
    """
    listed = sorted((item for place in places for item in files(place)), key=lambda item: (item[0], str(item[1])))
    listed = [(module, path) for module, path in listed if module in allowed]
    with ProcessPoolExecutor(2) as workers:
        read = workers.map(pairs_of_file, [path for _, path in listed], chunksize=64)
        found = [
            Pair(source, target, kind, module)
            for (module, _), made in zip(listed, read, strict=True)
            for source, target, kind in made
        ]
    sides: dict[str, list[Pair]] = {"train": [], "validation": [], "held_out": []}
    for pair in sorted(found, key=lambda pair: digest(pair.source)):
        sides[side_of(pair.module)].append(pair)
    seen: set[str] = set()
    grams: set[int] = set()
    for side, pairs in sides.items():
        counts: Counter[tuple[str, str]] = Counter()
        kept: list[Pair] = []
        for pair in pairs:
            keys = {"s " + normal(pair.source), f"{pair.kind} {normal(pair.target)}"}
            own = list(shingles(pair.source))
            near = side != "train" and sum(one in grams for one in own) > OVERLAP * len(own)
            if keys & seen or near or counts[pair.module, pair.kind] == CAPS[side]:
                continue
            seen |= keys
            counts[pair.module, pair.kind] += 1
            kept.append(pair)
        sides[side] = kept
        if side == "train":
            grams = {one for pair in kept for one in shingles(pair.source)}
    return sides


def side_of(module: str) -> str:
    """The side that a top-level module is on, the same on every machine."""
    return next((side for side, (low, high) in SHARES.items() if low <= share(module) < high), "train")


def shingles(text: str) -> Iterator[int]:
    """Hashes of every SHINGLE words in a row."""
    words = normal(text).split()
    return (hash(tuple(words[at : at + SHINGLE])) for at in range(max(len(words) - SHINGLE + 1, 1)))


def pairs_of_file(path: Path) -> list[tuple[str, str, str]]:
    """(source, summary, kind) of every docstring of a file; the file is parsed and never imported."""
    try:
        text = path.read_bytes().decode("utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
        return []
    lines = text.split("\n")
    found: list[tuple[str, str, str]] = []
    blocks: list[ast.AST] = [tree]
    while blocks:
        node = blocks.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node) or ""
            body = pair_of(docstring)
            summary = summary_of(docstring)
            code = None if summary is None or isinstance(node, ast.Module) else code_of(node, lines)
            found += [] if body is None else [(*body, "text")]
            found += [] if summary is None or code is None else [(code, summary, "code")]
        for name in ("finalbody", "handlers", "orelse", "body"):
            blocks.extend(reversed(getattr(node, name, None) or []))
    return found


def code_of(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> str | None:
    """A definition as it stands in its file, without its docstring and without empty lines, or None.

    None where nothing is in it but `pass` or `...`, or where it stands on one line.
    """
    own, *rest = node.body
    idle = [
        isinstance(one, ast.Pass) or (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)) for one in rest
    ]
    if all(idle) or own.end_lineno is None or own.lineno == node.lineno:
        return None
    kept = [*lines[node.lineno - 1 : own.lineno - 1], *lines[own.end_lineno : node.end_lineno]]
    text = textwrap.dedent("\n".join(line.expandtabs().rstrip() for line in kept if line.strip()))
    return "\n".join(text.split("\n")[:CODE_LINES])


def name_of(source: str) -> str:
    """The words of the name that a piece of code defines: `def _get_file(x)` is "get file"."""
    found = re.search(r"^\s*(?:async def|def|class)\s+(\w+)", source, re.MULTILINE)
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", found[1]) if found else ""
    return " ".join(words.split())


def licences(places: Iterable[Path]) -> dict[str, tuple[str, str]]:
    """Top-level module -> (distribution and version, licence), of the distributions whose licence is permissive.

    By their metadata; the standard library's modules, which are no distribution's, are added.
    """
    found = {name: (f"Python {sys.version.split()[0]}", "PSF-2.0") for name in sys.stdlib_module_names}
    for place in places:
        for metadata in sorted(place.glob("*.dist-info/METADATA")):
            header = metadata.read_text(encoding="utf-8").split("\n\n")[0]
            fields = dict(line.split(": ", 1) for line in header.split("\n") if re.match(r"(Name|Version): ", line))
            said = re.findall(r"^(?:License|License-Expression|Classifier): (.*)$", header, re.MULTILINE)
            said = [one.split(" :: ")[-1] for one in said if " :: " not in one or one.startswith("License")]
            licence = next((one.strip() for one in said if _PERMISSIVE.search(one)), "")
            if not licence or any(_OTHER.search(one) for one in said):
                continue
            record = metadata.with_name("RECORD").read_text(encoding="utf-8").splitlines()
            names = {line.split(",")[0].split("/")[0].removesuffix(".py") for line in record if ".py," in line}
            found |= {name: (f"{fields['Name']} {fields['Version']}", licence) for name in names if name.isidentifier()}
    return found
