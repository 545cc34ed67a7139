"""The course of a training as a table (`metrics.csv`) and as a picture (`training.png`)."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CSV, PICTURE = "metrics.csv", "training.png"

_PERCENT = ("rouge1", "rouge2", "rougeL", "bleu", "chrf", "exact")
_COLOURS = ("#c05a1e", "#2a7f62", "#7a4fa3", "#b8860b", "#a33a4f", "#4a6fa5")


def write_csv(path: Path, curve: Sequence[Mapping[str, float]], validation: Sequence[Mapping[str, float]]) -> None:
    """One row a point: `step`, `seconds`, `train_loss` or, at a validation, `validation_*`."""
    named = [{"step": p["step"], "seconds": p["seconds"], "train_loss": p["loss"]} for p in curve]
    for entry in validation:
        figures = {f"validation_{name}": value for name, value in entry.items() if name not in ("step", "seconds")}
        named.append({"step": int(entry["step"]), "seconds": entry["seconds"], **figures})
    columns = list(dict.fromkeys(name for row in named for name in row)) or ["step", "seconds", "train_loss"]
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, columns, lineterminator="\n")
        rows.writeheader()
        rows.writerows(sorted(named, key=lambda row: row["step"]))


def write_picture(path: Path, curve: Sequence[Mapping[str, float]], validation: Sequence[Mapping[str, float]]) -> bool:
    """Draw losses, and figures of 0 to 100 beneath them, over the steps; False where matplotlib is not installed.

    The figure is drawn without a display and touches no state of `pyplot`.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    names = [name for name in _PERCENT if any(name in entry for entry in validation)]
    figure = Figure(figsize=(7, 5.6 if names else 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2 if names else 1, 1, sharex=True, squeeze=False)[:, 0]
    _line(axes[0], [(p["step"], p["loss"]) for p in curve], "training", "#4a6fa5")
    losses = [(entry["step"], entry["loss"]) for entry in validation if "loss" in entry]
    if losses:
        _line(axes[0], losses, "validation", "#c05a1e", marker="o")
    axes[0].set_ylabel("loss, nats per target token")
    for name, colour in zip(names, _COLOURS, strict=False):
        points = [(entry["step"], entry[name]) for entry in validation if name in entry]
        _line(axes[1], points, name, colour, marker="o")
    if names:
        axes[1].set_ylabel("validation, 0 to 100")
    axes[-1].set_xlabel("step")
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        if axis.lines:
            axis.legend(frameon=False, loc="upper right" if axis is axes[0] else "lower right")
    figure.savefig(path, dpi=120, metadata={"Software": None})
    return True


def _line(axis: Any, points: Sequence[tuple[float, float]], label: str, colour: str, **how: Any) -> None:
    axis.plot(*zip(*points, strict=True), label=label, color=colour, markersize=3.5, **how) if points else None
