"""`seqgraft` commands as a user runs them, each in a process of its own, with the CPU time that it took."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INTERRUPTED = 130
"""How a command ends that Ctrl-C ended."""


@dataclass(frozen=True)
class Ran:
    """A command that ended well."""

    command: str
    """As a user types it; folders by their names alone."""
    cpu_minutes: float
    """Of the process and those that it started, in the system and out of it."""
    found: Any
    """What it printed, JSON."""
    interrupted: bool = False
    """Whether Ctrl-C ended it, and it had something to say all the same."""


def seqgraft(*words: str | Path, threads: int = 1) -> Ran:
    """Run `seqgraft WORDS --json` with so many threads; raises CalledProcessError where it fails.

    Ctrl-C is for the command, which ends in its own way; this waits for it.
    """
    asked = [str(word) for word in words]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    print("$", shlex.join(["seqgraft", *asked]), flush=True)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as printed:
        argv = [sys.executable, "-m", "seqgraft", *asked, "--json"]
        process = subprocess.Popen(argv, env=environment, stdout=printed)
        status, usage = _ended(process.pid)
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        text = printed.read()
    interrupted = process.returncode == INTERRUPTED and bool(text.strip())
    if process.returncode and not interrupted:
        raise subprocess.CalledProcessError(process.returncode, argv)
    minutes = (usage.ru_utime + usage.ru_stime) / 60
    command = shlex.join(["seqgraft", *map(_shown, asked)])
    return Ran(command, round(minutes, 3), json.loads(text), interrupted)


def _ended(process: int) -> tuple[int, Any]:
    """(status, what it used) of a child, however often Ctrl-C is pressed."""
    while True:
        try:
            _, status, usage = os.wait4(process, 0)
        except KeyboardInterrupt:
            continue
        return status, usage


def flags(settings: Mapping[str, Any]) -> list[str]:
    """name -> value, as words of a command line."""
    return [word for name, value in settings.items() for word in (f"--{name}", str(value))]


def record(path: Path, found: Any) -> None:
    """Keep figures as JSON, a number a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def thin(points: Sequence[Any], most: int = 100) -> list[Any]:
    """At most about so many of the points, evenly, the last one among them."""
    step = max(1, round(len(points) / most))
    return list(points[::-1][::step])[::-1]


def _shown(word: str) -> str:
    return Path(word).name if "/" in word else word
