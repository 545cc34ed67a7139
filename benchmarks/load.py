"""Loading a BERT-base pair, and importing: seconds and peak memory in fresh processes, `python -m benchmarks.load`."""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import OURS, Line, race, report
from benchmarks.pairs import SIZES, folder

_LOAD = """
import json, re, sys, time
import torch
import {library} as library
{quiet}
library.EncoderDecoderModel
def resident(name):
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read()).group(1)) / 1024
before = resident("VmRSS")
began = time.perf_counter()
model = library.EncoderDecoderModel.from_pretrained(sys.argv[1]).eval()
loaded = time.perf_counter() - began
peak = resident("VmHWM") - before
ids = torch.randint(1000, 30000, (1, 16), generator=torch.Generator().manual_seed(1))
with torch.no_grad():
    logits = model(input_ids=ids, decoder_input_ids=ids).logits
ready = time.perf_counter() - began
held = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
print(json.dumps(dict(load=loaded, ready=ready, peak=peak, peak_ready=resident("VmHWM") - before,
                      weights=held, first=float(logits.sum()))))
"""
_QUIET = "library.logging.set_verbosity_error(); library.utils.logging.disable_progress_bar()"
_IMPORT = "import time; began = time.perf_counter(); import {library}; print(time.perf_counter() - began)"


def fresh(code: str, *arguments: str) -> Any:
    """What a program in a process of its own prints, as JSON."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def loaders(place: Path) -> dict[str, Callable[[], dict[str, float]]]:
    """Each program loads the folder in a process of its own."""
    codes = {
        OURS: _LOAD.format(library="seqgraft", quiet=""),
        "transformers": _LOAD.format(library="transformers", quiet=_QUIET),
    }
    return {name: (lambda c=code: fresh(c, str(place))) for name, code in codes.items()}


def measured(size: str, rounds: int) -> list[Line]:
    """Time to load, time to the first logits, and the peak of memory beside the weights."""
    place = folder(size)
    runs: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        for name, load in loaders(place).items():
            runs.setdefault(name, []).append(load())
    shutil.rmtree(place.parent)
    first = {name: held[0]["first"] for name, held in runs.items()}
    apart = abs(first[OURS] - first["transformers"]) / abs(first["transformers"])
    agree = "same logits" if apart < 1e-4 else f"DIFFERENT logits ({apart:.1e})"
    lines = [
        Line(f"{size}, {what}", {name: [run[key] for run in held] for name, held in runs.items()}, agree)
        for key, what in (("load", "from_pretrained"), ("ready", "to the first logits"))
    ]
    for name, held in runs.items():
        lines[0].extra[name] = {k: round(max(run[k] for run in held), 1) for k in ("peak", "peak_ready", "weights")}
    return lines


def main() -> None:
    """Run every line and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=list(SIZES), default="BERT-base")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="file to write the figures to")
    asked = parser.parse_args()
    imports = {name: (lambda n=name: fresh(_IMPORT.format(library=n))) for name in (OURS, "transformers")}
    opened = race("import", imports, lambda a, b: "", rounds=asked.rounds)
    opened.seconds = {name: [run() for _ in range(asked.rounds)] for name, run in imports.items()}
    lines = [*measured(asked.size, asked.rounds), opened]
    report("loading", lines, asked.json)
    for name, held in lines[0].extra.items():
        print(
            f"{name}: peak of memory {held['peak']:.0f} MiB while loading, {held['peak_ready']:.0f} MiB to the first "
            f"logits, for {held['weights']:.0f} MiB of weights"
        )


if __name__ == "__main__":
    main()
