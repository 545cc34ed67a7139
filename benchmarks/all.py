"""Every benchmark in turn, then the tables of `docs/performance.md`: `python -m benchmarks.all`, or `make bench`.

On a quiet machine of two cores it takes some 40 minutes, half of them for long sources. Each benchmark runs in a
process of its own.
"""

import argparse
import os
import subprocess
import sys
import time

from benchmarks.page import RESULTS

BARS = "--source 128 --batch 1,8 --beams 1,4"
PLAN = {
    "ceilings": "ceilings",
    "float32": f"generate {BARS} --rounds 5 --seconds {{25}}",
    "int8": f"generate {BARS} --precision int8 --rounds 5 --seconds {{15}}",
    "long": "generate --size 6_x_384 --size BART-base --source 512,mixed --batch 8,32 --rounds 3 --seconds {5}",
    "growth": "generate --growth --size 6_x_384 --rounds 1",
    "memory": "memory",
    "load": "load --rounds 3",
    "train": "train_step --rounds 3",
}
"""Name of the figures -> command; seconds in braces are those of `--minutes 20`, and grow with it."""


def command(name: str, minutes: float, threads: int) -> list[str]:
    """What is run for one kind of figures."""
    words = [word.replace("_", " ") if "_x_" in word else word for word in PLAN[name].split()]
    words = [f"{float(word[1:-1]) * minutes / 20:.1f}" if word.startswith("{") else word for word in words]
    own = ["--threads", str(threads)] if threads and words[0] in ("generate", "ceilings") else []
    where = ["--json", str(RESULTS / f"{name}.json")]
    return [sys.executable, "-m", f"benchmarks.{words[0]}", *words[1:], *own, *where]


def main() -> None:
    """Run what is asked for; a benchmark that fails is said and the others go on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=list(PLAN), action="append", help="default: all")
    parser.add_argument("--minutes", type=float, default=20.0, help="what the time of each line is scaled to")
    parser.add_argument("--threads", type=int, default=0, help="default: torch's")
    asked = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
    if asked.threads:
        environment["OMP_NUM_THREADS"] = str(asked.threads)
    else:
        environment.pop("OMP_NUM_THREADS", None)  # all cores, as a user has it
    failed = []
    for name in asked.only or PLAN:
        began = time.perf_counter()
        done = subprocess.run(command(name, asked.minutes, asked.threads), env=environment, check=False)
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
        if done.returncode:
            failed.append(name)
    subprocess.run([sys.executable, "-m", "benchmarks.page"], check=True)
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
