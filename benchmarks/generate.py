"""Tokens per second of whole `generate` calls, in turns with other programs: `python -m benchmarks.generate`.

Every program has the same random weights in memory and the same sources, and makes the same number of tokens. In
float32 these must be the same. `--precision int8` is ours and the peers' own; transformers stays in float32.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import shutil
import statistics
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

import seqgraft
from benchmarks import cost
from benchmarks.harness import OURS, Line, race, report
from benchmarks.pairs import BART, SIZES, folder, reference, sources
from benchmarks.peers import PEERS, AbsentError, Precision, Program, alike, opened, same_tokens

MIXED = "mixed"
"""Sources of the lengths of real texts, the longest of `LONGEST` tokens."""
LONGEST = 512
GROWTH = (64, 256, 512, 1024)
"""Generated tokens at which a step's cost is looked at."""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what exporters and converters print."""
    logging.disable(logging.WARNING)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def programs(place: Path, peers: Sequence[str], precision: Precision, said: list[str]) -> dict[str, Program]:
    """This library and those peers that are there and run the pair; why others are not is said once."""
    found = {}
    for name in (OURS, *peers):
        try:
            with _quiet():
                found[name] = opened(name, place, precision)
        except AbsentError as error:
            said.append(f"{name}, {place.name}, {precision}: {error}.")
            if name == OURS:
                break
    return found


def lines(size: str, asked: argparse.Namespace, precision: Precision, said: list[str]) -> list[Line]:
    """One size: every batch, source and number of beams that was asked for."""
    place = folder(size)
    specs = specs_of(place)
    running = programs(place, asked.peers, precision, said)
    shutil.rmtree(place.parent)
    if OURS not in running:
        return []
    for run in running.values():  # what is made at the first use is not part of any line
        for beams in asked.beams:
            run(sources(1, 16), 2, beams)
    found = []
    for source in asked.source:
        for batch in asked.batch:
            inputs = sources(batch, LONGEST if source == MIXED else int(source), mixed=source == MIXED)
            for beams in asked.beams:
                how = "greedy" if beams == 1 else f"{beams} beams"
                many = "real lengths" if source == MIXED else f"source {source}"
                line = race(
                    f"{size}, {precision}, {many}, {how}, batch {batch}",
                    {n: lambda r=run, i=inputs, b=beams: r(i, asked.new, b) for n, run in running.items()},
                    same_tokens if precision == "float32" else alike,
                    rounds=asked.rounds,
                    amount=batch * asked.new,
                    unit="tokens",
                    warm=False,
                    budget_seconds=asked.seconds,
                )
                first = race(
                    "to the first token",
                    {n: lambda r=run, i=inputs, b=beams: r(i, 1, b) for n, run in running.items()},
                    lambda a, b: "",
                    rounds=min(asked.rounds, 3),
                    warm=False,
                    budget_seconds=asked.seconds / 4,
                )
                each = 1 if precision == "int8" else 4
                head = 1 if beams == 1 else None  # the best token is looked for in 8 bits (`torch/screen.py`)
                begin, steps = cost.generation(*specs, inputs.lengths, beams, asked.new, each, head)
                line.extra = {
                    "size": size,
                    "precision": precision,
                    "source": source,
                    "batch": batch,
                    "beams": beams,
                    "new": asked.new,
                    "lengths": inputs.lengths,
                    "first": {name: first.median(name) for name in first.seconds},
                    "cost": {"encoder": cost.as_json(begin), "steps": cost.as_json(steps)},
                }
                found.append(line)
                print(f"{line.what}: {line.median(OURS):.3f} s; {line.agree}", file=sys.stderr)
    return found


def specs_of(place: Path) -> tuple[Any, Any]:
    """Of the encoder and the decoder of a folder, without weights."""
    with torch.device("meta"):
        model = seqgraft.EncoderDecoderModel(seqgraft.AutoConfig.from_pretrained(place))
    return model.encoder.spec, model.decoder.spec


class _Clock:
    """A stopping criterion that stops nothing and notes when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        """ids [rows, time] -> False for every row."""
        self.ends.append(time.perf_counter())
        return torch.zeros(len(input_ids), dtype=torch.bool)


def growth(size: str, beams: int, rounds: int) -> dict[str, Any]:
    """Seconds of a step around each of `GROWTH` generated tokens, of ours and of transformers."""
    longest = GROWTH[-1] + 64
    place = folder(size, max_position_embeddings=longest)
    specs = specs_of(place)
    models = {
        OURS: seqgraft.EncoderDecoderModel.from_pretrained(place),
        "transformers": reference().EncoderDecoderModel.from_pretrained(place).eval(),
    }
    shutil.rmtree(place.parent)
    inputs = sources(1, 128)
    seconds: dict[str, list[list[float]]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            clock = _Clock()
            with torch.no_grad():
                model.generate(
                    input_ids=inputs.ids,
                    attention_mask=inputs.mask,
                    max_new_tokens=GROWTH[-1] + 16,
                    num_beams=beams,
                    do_sample=False,
                    stopping_criteria=[clock],
                )
            each = [after - before for before, after in zip(clock.ends, clock.ends[1:], strict=False)]
            seconds[name].append([statistics.median(each[at - 16 : at + 15]) for at in GROWTH])
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in seconds.items()
    }
    work = [cost.as_json(cost.decoder_step(specs[1], inputs.lengths, beams, at)) for at in GROWTH]
    return {"size": size, "beams": beams, "tokens": GROWTH, "seconds": medians, "cost": work}


def _say_growth(found: dict[str, Any]) -> None:
    how = "greedy" if found["beams"] == 1 else f"{found['beams']} beams"
    for name, seconds in found["seconds"].items():
        at = ", ".join(f"{1000 * s:.1f} ms at {n}" for n, s in zip(found["tokens"], seconds, strict=True))
        print(f"a step, {found['size']}, {how}, {name}: {at} generated tokens")


def _listed(kind: Any) -> Any:
    return lambda text: [kind(word) for word in text.split(",") if word]


def main() -> None:
    """Run every line and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=[*SIZES, BART], action="append", help="default: all")
    parser.add_argument("--peers", type=_listed(str), default=list(PEERS), help=f"default: {','.join(PEERS)}")
    parser.add_argument("--precision", choices=["float32", "int8"], action="append", help="default: float32")
    parser.add_argument("--batch", type=_listed(int), default=[1, 8, 32], help="default: 1,8,32")
    parser.add_argument("--source", type=_listed(str), default=["128", "512", MIXED], help="default: 128,512,mixed")
    parser.add_argument("--beams", type=_listed(int), default=[1, 4], help="default: 1,4")
    parser.add_argument("--new", type=int, default=64, help="tokens to generate")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60.0, help="no further round of a line begins after so many")
    parser.add_argument("--threads", type=int, default=0, help="default: torch's")
    parser.add_argument(
        "--growth", action="store_true", help="a step's cost from 64 to 1,024 generated tokens, instead"
    )
    parser.add_argument("--json", help="file to write the figures to")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name in asked.peers:
        if name not in PEERS:
            parser.error(f"--peers must be of {', '.join(PEERS)}, but is {name!r}.")
    warnings.simplefilter("ignore")
    if asked.growth:
        grown = [growth(s, beams, asked.rounds) for s in asked.size or ["6 x 384"] for beams in asked.beams]
        for one in grown:
            _say_growth(one)
        if asked.json:
            Path(asked.json).write_text(json.dumps(grown, indent=2), encoding="utf-8")
        return
    said: list[str] = []
    found: list[Line] = []
    for precision in asked.precision or ["float32"]:
        for size in asked.size or [*SIZES, BART]:
            found += lines(size, asked, precision, said)
    if found:
        report(f"generate, {asked.new} new tokens", found, asked.json, said)
    else:
        Console().print("\n".join(said))


if __name__ == "__main__":
    main()
