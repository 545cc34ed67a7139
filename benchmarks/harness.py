"""Two or more programs in turn, their agreement, medians and ratios, as a table and as JSON.

Timings on a shared machine drift, so a figure counts only beside the other program's figure from the same minute:
each round runs every program once, the median of the rounds' ratios is what is reported, and the machine's load
before the run is written down with it.
"""

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from seqgraft.torch.product import library

OURS = "seqgraft"
LOAD_BEFORE = os.getloadavg()[0]
"""Of the machine, before anything ran."""


_PAUSE = 0.4
"""Seconds before a program's turn: the threads of the one before wait for more work by spinning, some for 0.2 s."""


@dataclass
class Line:
    """One comparison: what was measured, each program's seconds in the order of the rounds, whether they agree."""

    what: str
    seconds: dict[str, list[float]]
    agree: str
    """How the programs' results compare, in words; begins with "same" when they do."""
    amount: float = 0.0
    """Units of work in one run (tokens, steps), for a rate."""
    unit: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    def median(self, program: str) -> float:
        """Seconds of one run, the middle one."""
        return statistics.median(self.seconds[program])

    def ratio(self, peer: str) -> float:
        """How many times faster than a peer: the median over the rounds."""
        pairs = zip(self.seconds[peer], self.seconds[OURS], strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)


def race(
    what: str,
    programs: dict[str, Callable[[], Any]],
    compare: Callable[[Any, Any], str],
    *,
    rounds: int,
    amount: float = 0.0,
    unit: str = "",
    warm: bool = True,
    budget_seconds: float = math.inf,
) -> Line:
    """Run every program once a round, in turn, and compare each peer's result with ours.

    No further round begins when the budget is spent; there is always one.
    """
    began_all = time.perf_counter()
    results = {name: run() for name, run in programs.items()} if warm else {}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(rounds):
        if turn and time.perf_counter() - began_all > budget_seconds:
            break
        order = list(programs) if turn % 2 == 0 else list(reversed(programs))
        for name in order:
            time.sleep(_PAUSE)
            began = time.perf_counter()
            results[name] = programs[name]()
            seconds[name].append(time.perf_counter() - began)
    said = {name: compare(results[OURS], results[name]) for name in programs if name != OURS}
    alone = len(set(said.values())) <= 1
    return Line(what, seconds, _one(said) if alone else _each(said), amount, unit)


def _one(said: dict[str, str]) -> str:
    return next(iter(said.values()), "")


def _each(said: dict[str, str]) -> str:
    return "; ".join(f"{name}: {word}" for name, word in said.items())


def machine() -> dict[str, Any]:
    """What the figures were measured on, without its name."""
    cpu = platform.processor() or platform.machine()
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        models = [row for row in listing.read_text(encoding="utf-8").splitlines() if row.startswith("model name")]
        cpu = models[0].partition(":")[2].strip() if models else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "product": library(),
        "load_before": round(LOAD_BEFORE, 2),
    }


def report(title: str, lines: list[Line], output: str | None, said: Sequence[str] = ()) -> None:
    """Print the table, and what is `said` of programs that took no part; write the JSON when a file is named."""
    about = machine()
    console = Console(soft_wrap=True)
    peers = list(dict.fromkeys(name for line in lines for name in line.seconds if name != OURS))
    console.width = max(console.width, 110 if len(peers) == 1 else 120 + 35 * (len(peers) - 1))
    table = Table(title=title)
    table.add_column("line", no_wrap=True)
    for name in (OURS, *peers):
        table.add_column(f"{name}, s", justify="right")
    for name in peers:
        table.add_column("times faster" if len(peers) == 1 else f"than {name}", justify="right", style="bold")
    if any(line.amount for line in lines):
        table.add_column("rate", justify="right")
    table.add_column("results")
    for line in lines:
        cells = [line.what, *(f"{line.median(name):.3f}" if name in line.seconds else "-" for name in (OURS, *peers))]
        cells += [f"{line.ratio(name):.2f}" if name in line.seconds else "-" for name in peers]
        if any(one.amount for one in lines):
            cells.append(f"{line.amount / line.median(OURS):,.0f} {line.unit}/s" if line.amount else "")
        table.add_row(*cells, line.agree)
    console.print(table)
    for word in said:
        console.print(word)
    if about["load_before"] > 0.5:
        console.print(f"The machine was busy (load {about['load_before']}): ratios are less sure than they look.")
    if output:
        rows = [
            asdict(line) | {"ratio": {name: line.ratio(name) for name in line.seconds if name != OURS}}
            for line in lines
        ]
        Path(output).write_text(
            json.dumps({"title": title, "machine": about, "lines": rows, "absent": list(said)}, indent=2),
            encoding="utf-8",
        )
        console.print(f"Written: {output}")
