"""What works without any training: the summarizer that comes with the package, on texts that it has not seen."""

import sysconfig
import time
from pathlib import Path

from rich.console import Console

from examples.docstrings import code, report
from examples.docstrings.collect import digest
from seqgraft import pipeline

MODULES = ("tarfile", "threading", "sched", "shlex", "socket", "types")
"""Of the standard library, and held out by their names when the summarizer was trained."""
LONGEST = 700
"""In characters, so that an example fits a screen."""


def chosen(each: int = 3) -> list[code.Pair]:
    """`each` pairs of code and of text, picked by hash."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    held = [module for module in MODULES if code.side_of(module) == "held_out"]
    pairs = [code.Pair(*made, module) for module in held for made in code.pairs_of_file(folder / f"{module}.py")]
    pairs = sorted((pair for pair in pairs if len(pair.source) < LONGEST), key=lambda pair: digest(pair.source))
    return [pair for kind in ("code", "text") for pair in [one for one in pairs if one.kind == kind][:each]]


def show(console: Console) -> None:
    """Summarise a few held-out sources, and say how long that took."""
    start = time.monotonic()
    console.print("[bold]At once[/bold]: the summarizer that comes with Seqgraft, on modules that it has not seen")
    pairs = chosen()
    summarizer = pipeline("summarization")
    opened = time.monotonic()
    made = [record["summary_text"] for record in summarizer([pair.source for pair in pairs], batch_size=len(pairs))]
    report.examples(console, pairs, made)
    seconds = f"{opened - start:.1f} s to open it, {time.monotonic() - opened:.1f} s for {len(pairs)} texts"
    console.print(f"\n   {seconds}. The same from Python: seqgraft.pipeline('summarization')(text)", highlight=False)
