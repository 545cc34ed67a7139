"""What a plan says is wrong with a checkpoint -> one error that lists all of it and can still be read."""

import os
import re
from collections.abc import Collection, Iterable

from seqgraft.checkpoints.files import WeightFiles
from seqgraft.checkpoints.headers import FLOATS
from seqgraft.errors import CheckpointError
from seqgraft.families.naming import Plan

_LAYER = re.compile(r"(?:(?<=\.)|^)\d+(?=\.)")


def require(plan: Plan, source: str | os.PathLike[str], *, fresh: Collection[str] = (), files: WeightFiles) -> None:
    """Raise ONE CheckpointError with everything that keeps these files from filling the model, or return.

    `fresh` are the canonical names that may be missing, since the model makes them itself (a graft).
    """
    refuse(source, problems(plan, fresh=fresh, files=files))


def refuse(source: str | os.PathLike[str], found: list[str]) -> None:
    """Raise the problems of one or several plans as one error, if there are any."""
    if found:
        raise misfit(source, found)


def misfit(source: str | os.PathLike[str], found: list[str]) -> CheckpointError:
    """The error of these problems."""
    return CheckpointError(f"The weights of '{os.fspath(source)}' do not fit the model:\n" + "\n".join(found))


def problems(plan: Plan, *, fresh: Collection[str] = (), files: WeightFiles) -> list[str]:
    """Paragraphs on missing, unexpected, misshapen and mistyped tensors, complete; empty when all is well."""
    found: list[str] = []
    missing = [name for name in plan.missing if name not in fresh]
    if missing:
        found.append(_paragraph(f"Missing, {len(missing)} tensors (by the model's names)", grouped(missing)))
        if not plan.pieces and not plan.misshapen:
            found.append("  None of the model's tensors is there: the files are of another family, or of another part.")
    if plan.unexpected:
        title = f"Unexpected, {len(plan.unexpected)} tensors that the model has no place for"
        found.append(_paragraph(title, grouped(plan.unexpected)))
        if any(_LAYER.search(name) for name in plan.unexpected):
            found.append("  Does the configuration name this family, and as many layers as the files hold?")
    if plan.misshapen:
        by_shape: dict[str, list[str]] = {}
        for name, must, has in plan.misshapen:
            by_shape.setdefault(f"must be {list(must)}, but is {list(has)}", []).append(name)
        lines = [f"{line} {shape}" for shape, names in by_shape.items() for line in grouped(names)]
        found.append(_paragraph(f"Of the wrong shape, {len(plan.misshapen)} tensors", lines))
        found.append("  The configuration must have the sizes (vocab_size, hidden_size, ...) that the files have.")
    mistyped: dict[str, list[str]] = {}
    for name in dict.fromkeys(piece.source for piece in plan.pieces.values()):
        dtype = files.headers[name].dtype
        if dtype not in FLOATS:
            mistyped.setdefault(dtype, []).append(name)
    if mistyped:
        lines = [f"{line} must be one of {', '.join(sorted(FLOATS))}, but is {dtype}"
                 for dtype, names in mistyped.items() for line in grouped(names)]  # fmt: skip
        found.append(_paragraph(f"Of the wrong dtype, {sum(map(len, mistyped.values()))} tensors", lines))
        found.append("  Are the weights quantized? Use the checkpoint that they were made from.")
    return found


def grouped(names: Iterable[str]) -> list[str]:
    """Names that differ in the layer's number only, as one: `layers.{0..11}.self_attention.query.weight`."""
    groups: dict[tuple[str, str], list[int]] = {}
    for name in names:
        layer = _LAYER.search(name)
        if layer is None:
            groups.setdefault((name, ""), [])
        else:
            groups.setdefault((name[: layer.start()], name[layer.end() :]), []).append(int(layer.group()))
    return [f"{head}{_ranges(sorted(numbers))}{tail}" for (head, tail), numbers in groups.items()]


def _ranges(numbers: list[int]) -> str:
    """Sorted numbers -> `{0..3,7}`, one number as itself, none as nothing."""
    if len(numbers) < 2:
        return "".join(map(str, numbers))
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return "{" + ",".join(f"{run[0]}..{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs) + "}"


def _paragraph(title: str, lines: list[str]) -> str:
    return f"{title}:" + "".join(f"\n  - {line}" for line in lines)
