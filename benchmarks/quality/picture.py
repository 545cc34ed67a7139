"""The curves of `warm_start` as a picture: held-out loss against steps, one panel a data set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

COLOURS = ("#c05a1e", "#4a6fa5")


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Write the picture; `found` is what `warm_start` records: data set -> arms -> validation."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for panel, (name, data) in zip(panels, found.items(), strict=True):
        for (arm, run), colour in zip(data["arms"].items(), COLOURS, strict=True):
            points = [(entry["step"], entry["loss"]) for entry in run["validation"]]
            panel.plot(*zip(*points, strict=True), label=arm, color=colour, marker="o", markersize=3)
        panel.set_title(name, fontsize=10)
        panel.set_xlabel("optimizer steps")
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("held-out loss, nats per target token")
    panels[-1].legend(frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
