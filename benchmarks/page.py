"""The tables of `docs/performance.md`, made anew from the figures of `benchmarks.all`: `python -m benchmarks.page`.

A table stands between `<!-- name -->` and `<!-- end -->`; those whose figures are not there stay as they are.
"""

import argparse
import json
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import ceilings, cost
from benchmarks.harness import OURS

PAGE = Path(__file__).parent.parent / "docs/performance.md"
RESULTS = Path(__file__).parent / "results"
PEERS = ("transformers", "ctranslate2", "onnxruntime")
Figures = dict[str, Any]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, numbers to the right."""
    head = [f"| {' | '.join(columns)} |", f"| --- |{' ---: |' * (len(columns) - 1)}"]
    return "\n".join(head + [f"| {' | '.join(row)} |" for row in rows])


def the_machine(found: Figures) -> str:
    """What the ceilings are."""
    about, few = found["machine"], found["few_rows"]
    rows = [
        [f"products of large float32 matrices, {name}", f"{r / 1e9:.0f} GFLOP/s"]
        for name, r in found["operations"].items()
    ]
    if found["operations_int8"]:
        rows.append(["the same with int8 weights", f"{found['operations_int8'] / 1e9:.0f} GFLOP/s"])
    rows += [[f"reading {size / 2**20:.0f} MiB over and over", f"{r / 1e9:.0f} GB/s"] for size, r in found["reading"]]
    for name, rates in few.items():
        said = " / ".join(f"{rate / 1e9:.0f}" for rate in rates.values())
        rows.append([f"float32 weights read by a product of {' / '.join(rates)} rows, {name}", f"{said} GB/s"])
    rows.append(["a call: a small product / a small sum", _calls(found)])
    busy = f"; the machine was busy (load {about['load_before']})" if about["load_before"] > 0.5 else ""
    title = f"{about['cpu']}, {about['threads']} threads, torch {about['torch']}, products by {about['product']}{busy}."
    return f"{title}\n\n{table(['', 'measured'], rows)}"


def _calls(found: Figures) -> str:
    return f"{found['product_call'] * 1e6:.1f} / {found['other_call'] * 1e6:.1f} us"


def races(found: Figures) -> str:
    """Ratios of tokens per second, and agreement."""
    lines = found["lines"]
    peers = [name for name in PEERS if any(name in line["ratio"] for line in lines)]
    rows = []
    for line in lines:
        rate = line["amount"] / statistics.median(line["seconds"][OURS])
        ratios = [f"{line['ratio'][name]:.2f}" if name in line["ratio"] else "-" for name in peers]
        rows.append(
            [line["what"], f"{rate:,.0f}", *ratios, f"{1000 * line['extra']['first'][OURS]:.0f}", line["agree"]]
        )
    heads = [f"times {name}" for name in peers]
    shown = table(["", "tokens/s", *heads, "first token, ms", "results"], rows)
    absent = "\n".join(f"- {word}" for word in found.get("absent", []))
    return f"{shown}\n\n{absent}" if absent else shown


def reached(line: Figures, machine: Figures) -> Figures:
    """Of one line: milliseconds measured and the least possible, of the encoder's part and of a step."""
    extra, most = line["extra"], ceilings.ceilings(machine, line["extra"]["precision"])
    whole, first, new = statistics.median(line["seconds"][OURS]), extra["first"][OURS], extra["new"]
    encoder, steps = (cost.from_json(extra["cost"][name]) for name in ("encoder", "steps"))
    each = [part.times(1 / new) for part in steps]
    step = max(whole - first, 0.0) / (new - 1)
    begin = max(first - step, 0.0)
    limits = {
        "encoder": most.limit(encoder, sum(part.read for part in encoder)),
        "step": most.limit(each, sum(part.read for part in each)),
    }
    measured = {"encoder": begin, "step": step}
    least = limits["encoder"] + new * limits["step"]
    return {
        "measured": measured,
        "limits": limits,
        "calls": {"encoder": most.calls(encoder), "step": most.calls(each)},
        "slow_reading": _slow_reading(each, extra["batch"] * extra["beams"], machine, most),
        "fraction": least / whole,
        "whole": whole,
        "new": new,
    }


def _slow_reading(step: Sequence[cost.Part], rows: int, machine: Figures, most: cost.Ceilings) -> float:
    """Seconds of a step by which the library reads weights slower than the limit, where that was measured."""
    rates = machine["few_rows"].get("onednn, packed") or machine["few_rows"]["torch"]
    fits = [rate for count, rate in rates.items() if int(count) >= rows]
    if not fits:
        return 0.0
    weights = [part for part in step if part.name not in ("own past", "source")]
    size = sum(part.read for part in step)
    return max(0.0, sum(part.read for part in weights) / fits[0] - most.limit(weights, size))


def limits(found: Figures, machine: Figures) -> str:
    """What each line reaches of what the machine could do."""
    rows = []
    for line in found["lines"]:
        of = reached(line, machine)
        cells = [line["what"]]
        for name in ("encoder", "step"):
            measured, least = of["measured"][name], of["limits"][name]
            cells += [f"{1000 * least:.2f}", f"{1000 * measured:.2f}"]
        cells.insert(3, f"{1000 * (of['limits']['step'] + of['calls']['step']):.2f}")
        cells[3], cells[4] = cells[4], cells[3]  # limit, limit with calls, measured
        rows.append([*cells, f"{of['fraction']:.0%}"])
    heads = ["encoder limit, ms", "measured", "step limit, ms", "with calls", "measured", "of the limit"]
    return table(["", *heads], rows)


def gap(found: Figures, machine: Figures) -> str:
    """The line and the part of it with the largest share of time above the limit, and what that time goes into."""
    worst: tuple[float, Figures, str, Figures] | None = None
    for line in found["lines"]:
        of = reached(line, machine)
        for name, count in (("encoder", 1), ("step", of["new"])):
            share = count * (of["measured"][name] - of["limits"][name]) / of["whole"]
            if worst is None or share > worst[0]:
                worst = share, line, name, of
    if worst is None:
        return "Nothing was measured."
    share, line, name, of = worst
    above = 1000 * (of["measured"][name] - of["limits"][name])
    causes = {"calls of the library": of["calls"][name]}
    if name == "step":
        causes["weights read by products slower than memory allows"] = of["slow_reading"]
    rest = max(0.0, above / 1000 - sum(causes.values()))
    causes["what the model does not name (search, norms and sums over rows, products short of the ceiling)"] = rest
    said = ", ".join(f"{1000 * value:.2f} ms {what}" for what, value in sorted(causes.items(), key=lambda c: -c[1]))
    part = "its steps take" if name == "step" else "its encoder takes"
    each = "a step" if name == "step" else "a call"
    return (
        f"The largest gap: {line['what']}, where {share:.0%} of the time is what {part} above the limit, "
        f"{above:.2f} ms {each}. By the model: {said}."
    )


def growth(found: Sequence[Figures], machine: Figures) -> str:
    """A step's milliseconds by generated tokens."""
    rows, most = [], ceilings.ceilings(machine)
    for one in found:
        how = f"{one['size']}, {'greedy' if one['beams'] == 1 else str(one['beams']) + ' beams'}"
        parts = [cost.from_json(work) for work in one["cost"]]
        least = [1000 * most.limit(work, sum(part.read for part in work)) for work in parts]
        rows.append([f"{how}, limit", *(f"{value:.2f}" for value in least)])
        for name, seconds in one["seconds"].items():
            rows.append([f"{how}, {name}", *(f"{1000 * value:.2f}" for value in seconds)])
    return table(["ms a step at so many generated tokens", *(f"{n:,}" for n in found[0]["tokens"])], rows)


def memory(found: Figures) -> str:
    """Peak beside the weights and caches."""
    rows = []
    for one in found["lines"]:
        must = one["programs"][OURS]["weights"] + one["caches"]
        how = "greedy" if one["beams"] == 1 else f"{one['beams']} beams"
        peaks = [f"{one['programs'][n]['peak'] / 2**20:.0f} ({one['ratio'][n]:.2f})" for n in (OURS, "transformers")]
        rows.append([f"{one['size']}, {how}, batch {one['batch']}", f"{must / 2**20:.0f}", *peaks])
    return table(["", "weights and caches, MiB", "peak, MiB (times that)", "transformers"], rows)


def plain(found: Figures) -> str:
    """Seconds and ratios of lines without rates."""
    rows = [
        [line["what"], f"{statistics.median(line['seconds'][OURS]):.3f}", f"{line['ratio']['transformers']:.2f}"]
        for line in found["lines"]
    ]
    return table(["", "seconds", "times transformers"], rows)


def tables(results: Path) -> dict[str, str]:
    """Name -> text, of every table whose figures are there."""
    held = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))}
    made: dict[str, str] = {}
    one: dict[str, Callable[[Any], str]] = {
        "ceilings": the_machine,
        "float32": races,
        "int8": races,
        "long": races,
        "memory": memory,
        "load": plain,
        "train": plain,
    }
    for name, show in one.items():
        if name in held:
            made[name] = show(held[name])
    if "ceilings" in held:
        for name in ("float32", "int8", "long"):
            if name in held:
                made[f"{name} limits"] = limits(held[name], held["ceilings"])
        if "float32" in held:
            made["gap"] = gap(held["float32"], held["ceilings"])
        if "growth" in held:
            made["growth"] = growth(held["growth"], held["ceilings"])
    return made


def filled(page: str, made: dict[str, str]) -> str:
    """The page with these tables; ValueError for one that it has no place for."""
    for name, text in made.items():
        place = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not place.search(page):
            raise ValueError(f"docs/performance.md must have a place `<!-- {name} -->`, but has none.")
        page = place.sub(lambda found, text=text: f"{found[1]}{text}\n{found[2]}", page)
    return page


def main() -> None:
    """Fill the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of JSON files")
    parser.add_argument("--page", type=Path, default=PAGE)
    asked = parser.parse_args()
    made = tables(asked.results)
    asked.page.write_text(filled(asked.page.read_text(encoding="utf-8"), made), encoding="utf-8")
    print(f"{asked.page}: {', '.join(made) or 'no figures'}")


if __name__ == "__main__":
    main()
