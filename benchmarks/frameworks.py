"""Flax and TensorFlow against the original classes, and against our own torch: `python -m benchmarks.frameworks`.

Greedy, float32, source 128, 64 new tokens, the same weights. Each program runs in a process of its own, which stays and
takes its turns; only the programs of one comparison are there at a time. The originals need the environment that
`make oracle` sets up, whose Python is `--oracle`. What a program compiles once is the warm-up's and no part of the
figures; the original Flax class compiles at every call unless its user wraps it in `jax.jit` (`flax-jit`).
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import OURS, Line, report
from benchmarks.pairs import SIZES, folder

ROOT = Path(__file__).parent.parent
SOURCE, NEW = 128, 64
PAUSE = 0.4
"""Seconds before a program's turn: the threads of the one before may still spin."""
COMPARISONS = {
    "flax": ("ours-flax", "original-flax", tuple(SIZES), (1, 8)),
    "flax-jit": ("ours-flax", "original-flax-jit", tuple(SIZES), (1, 8)),
    "tensorflow": ("ours-tensorflow", "original-tensorflow", tuple(SIZES), (1, 8)),
    "tensorflow-graph": ("ours-tensorflow-graph", "original-tensorflow", tuple(SIZES), (1, 8)),
    "torch": ("ours-flax", "ours-torch", ("BERT-base",), (1,)),
}
"""Name -> our program, the other one, sizes, batches. `torch` is our Flax against our own torch, `tensorflow` is
compiled by XLA and `tensorflow-graph` is not."""
TITLES = {
    "original-flax": "original Flax",
    "original-flax-jit": "original Flax in jit",
    "original-tensorflow": "original TensorFlow",
    "ours-torch": "our torch",
}


class Worker:
    """A program in a process of its own."""

    def __init__(self, program: str, place: Path, oracle: str) -> None:
        python = oracle if program.startswith("original") else sys.executable
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "CUDA_VISIBLE_DEVICES": ""}
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.framework_worker", program, str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        self.start = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.said.seek(0)
            raise RuntimeError(f"{self.process.args} ended: {self.said.read()[-2000:]}")
        return json.loads(line)  # type: ignore[no-any-return]

    def __call__(self, batch: int, new: int = NEW) -> dict[str, Any]:
        """One generation: `seconds`, `tokens`, `memory`."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"batch": batch, "source": SOURCE, "new": new}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Let it go."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)


@contextlib.contextmanager
def workers(programs: tuple[str, ...], place: Path, oracle: str) -> Iterator[dict[str, Worker]]:
    """The programs of one comparison, ended afterwards."""
    running: dict[str, Worker] = {}
    try:
        for program in programs:
            running[program] = Worker(program, place, oracle)
        yield running
    finally:
        for worker in running.values():
            worker.end()


def speeds(
    programs: tuple[str, str], what: str, running: dict[str, Worker], batches: list[int], rounds: int
) -> list[Line]:
    """Our program against the other one, in turns, a line a batch."""
    titles = {programs[0]: OURS, programs[1]: TITLES[programs[1]]}
    lines = []
    for batch in batches:
        first = {program: running[program](batch) for program in programs}  # compiles
        seconds: dict[str, list[float]] = {titles[program]: [] for program in programs}
        for turn in range(rounds):
            for program in programs if turn % 2 == 0 else programs[::-1]:
                time.sleep(PAUSE)
                seconds[titles[program]].append(running[program](batch)["seconds"])
        same = first[programs[0]]["tokens"] == first[programs[1]]["tokens"]
        line = Line(
            f"{what}, batch {batch}", seconds, "same tokens" if same else "DIFFERENT tokens", batch * NEW, "tokens"
        )
        line.extra = {
            "compile": {titles[p]: first[p]["seconds"] - statistics.median(seconds[titles[p]]) for p in programs},
            "memory": {titles[p]: running[p](batch)["memory"] for p in programs},
        }
        lines.append(line)
        print(f"{line.what}: {line.ratio(titles[programs[1]]):.2f} times; {line.agree}", file=sys.stderr, flush=True)
    return lines


def loads(size: str, place: Path, oracle: str, programs: list[str], rounds: int) -> dict[str, dict[str, Any]]:
    """Seconds to load after importing, and memory before, after, and after one generation, in fresh processes.

    `needed` is the weights and the caches of that generation, in MiB.
    """
    half = SIZES[size]
    cache = 2 * 4 * half["num_hidden_layers"] * half["hidden_size"] * (SOURCE + NEW + 1) / 2**20
    weights = (place / "model.safetensors").stat().st_size / 2**20
    found: dict[str, dict[str, Any]] = {}
    for _ in range(rounds):
        for program in programs:
            with workers((program,), place, oracle) as running:
                worker = running[program]
                held = found.setdefault(program, {"load": [], "import": []})
                for key in ("load", "import"):
                    held[key].append(worker.start[key])
                held["before"], held["loaded"] = worker.start["before"], worker.start["memory"]
                worker(1)
                held["used"] = worker(1)["memory"]
                held["needed"] = weights + cache
    return found


def say_loads(found: dict[str, dict[str, Any]]) -> list[str]:
    """Each program's loading and memory as a line of text."""
    said = []
    for program, one in found.items():
        more = one["used"]["resident"] - one["before"]["resident"]
        said.append(
            f"{program}: loads in {statistics.median(one['load']):.2f} s "
            f"(import {statistics.median(one['import']):.1f} s); resident {one['used']['resident']:.0f} MiB, "
            f"{more:.0f} more than after importing, which is {more / one['needed']:.2f} times weights and caches "
            f"({one['needed']:.0f} MiB); peak {one['used']['peak']:.0f} MiB"
        )
    return said


def main() -> None:
    """Run every comparison that is asked for and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=[*COMPARISONS, "load"], action="append", help="default: all")
    parser.add_argument("--size", choices=list(SIZES), action="append", help="default: all")
    parser.add_argument("--batch", type=int, action="append", help="default: 1 and 8")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--oracle", default=str(ROOT / ".oracle/bin/python"), help="Python of the originals")
    parser.add_argument("--json", help="file to write the figures to")
    asked = parser.parse_args()
    if not Path(asked.oracle).exists():
        parser.error(
            f"--oracle must be the Python of the environment that `make oracle` sets up, but is {asked.oracle}."
        )
    chosen = asked.only or [*COMPARISONS, "load"]
    lines: list[Line] = []
    found: dict[str, dict[str, Any]] = {}
    for size in asked.size or SIZES:
        place = folder(size)
        for name in chosen:
            ours, theirs, sizes, batches = COMPARISONS.get(name, ("", "", (), ()))
            if size not in sizes:
                continue
            wanted = [batch for batch in batches if not asked.batch or batch in asked.batch]
            with workers((ours, theirs), place, asked.oracle) as running:
                what = f"{name} greedy, {size}" if name != "torch" else f"Flax against our torch, {size}"
                lines += speeds((ours, theirs), what, running, wanted, asked.rounds)
        if "load" in chosen and size == "BERT-base":
            programs = ["ours-flax", "original-flax", "ours-tensorflow", "original-tensorflow"]
            found = loads(size, place, asked.oracle, programs, min(asked.rounds, 3))
        shutil.rmtree(place.parent)
    if lines:
        report("Flax and TensorFlow", lines, asked.json, say_loads(found))
    else:
        print(*say_loads(found), sep="\n")
    if asked.json and found:
        path = Path(asked.json)
        held = json.loads(path.read_text(encoding="utf-8")) if lines else {}
        path.write_text(json.dumps(held | {"loading": found}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
