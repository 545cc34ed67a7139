"""Peak resident memory of a whole `generate`, each in a fresh process: `python -m benchmarks.memory`.

What is counted is what the process holds at its peak beyond what it held with the library imported, next to the bytes
of the weights and of the keys and values at the end. Weights are maps of the file: those that were never read, or that
were given back after packing, do not count.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness import OURS, machine
from benchmarks.load import fresh
from benchmarks.pairs import BART, SIZES, folder

_GENERATE = """
import json, re, sys
import torch
import {library} as library
{quiet}
library.{kind}
from benchmarks.pairs import sources
place, batch, source, new, beams, threads = sys.argv[1], *map(int, sys.argv[2:])
torch.set_num_threads(threads)
def resident(name):
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read()).group(1)) * 1024
x = torch.randn(64, 256)
(x @ x.t()).sum(), torch.nn.functional.linear(x, x)  # what the product libraries hold for themselves
inputs = sources(batch, source)
before = resident("VmRSS")
model = library.{kind}.from_pretrained(place).eval()
with torch.no_grad():
    model.generate(input_ids=inputs.ids, attention_mask=inputs.mask, max_new_tokens=new, num_beams=beams,
                   do_sample=False)
weights = {{p.data_ptr(): p.numel() * p.element_size() for p in model.parameters()}}
print(json.dumps(dict(peak=resident("VmHWM") - before, mapped=resident("RssFile"), after=resident("VmRSS") - before,
                      weights=sum(weights.values()))))
"""
_QUIET = "library.logging.set_verbosity_error(); library.utils.logging.disable_progress_bar()"


def code(name: str, size: str) -> str:
    """A program that generates once and prints what it held."""
    kind = "EncoderDecoderModel"
    if name == OURS:
        return _GENERATE.format(library="seqgraft", quiet="", kind=kind)
    kind = "BartForConditionalGeneration" if size == BART else kind
    return _GENERATE.format(library=name, quiet=_QUIET, kind=kind)


def measured(size: str, batch: int, source: int, new: int, beams: int, threads: int) -> dict[str, Any]:
    """Bytes at the peak of this library and of transformers, of the weights, and of keys and values."""
    from benchmarks import cost
    from benchmarks.generate import specs_of

    place = folder(size)
    numbers = [str(number) for number in (batch, source, new, beams, threads)]
    programs = {name: fresh(code(name, size), str(place), *numbers) for name in (OURS, "transformers")}
    held = cost.held(*specs_of(place), [source] * batch, beams, new)
    shutil.rmtree(place.parent)
    must = programs[OURS]["weights"] + held
    ratios = {name: run["peak"] / must for name, run in programs.items()}
    setup = {"size": size, "batch": batch, "source": source, "new": new, "beams": beams}
    return {**setup, "programs": programs, "caches": held, "ratio": ratios}


def main() -> None:
    """Every size, greedy and 4 beams."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=[*SIZES, BART], action="append", help="default: all")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--source", type=int, default=128)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--json", help="file to write the figures to")
    asked = parser.parse_args()
    threads = int(machine()["threads"])
    found = [
        measured(size, asked.batch, asked.source, asked.new, beams, threads)
        for size in asked.size or [*SIZES, BART]
        for beams in (1, 4)
    ]
    table = Table(
        title=f"peak memory of a generate, batch {asked.batch}, source {asked.source}, {asked.new} new tokens"
    )
    for name in ("pair", "beams", "weights and caches, MiB", f"{OURS}, MiB", "times", "transformers, MiB", "times"):
        table.add_column(name, justify="left" if name == "pair" else "right")
    for one in found:
        runs, must = one["programs"], one["programs"][OURS]["weights"] + one["caches"]
        cells = [f"{must / 2**20:.0f}"]
        for name in (OURS, "transformers"):
            cells += [f"{runs[name]['peak'] / 2**20:.0f}", f"{one['ratio'][name]:.2f}"]
        table.add_row(one["size"], str(one["beams"]), *cells)
    Console(width=110).print(table)
    if asked.json:
        Path(asked.json).write_text(json.dumps({"machine": machine(), "lines": found}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
