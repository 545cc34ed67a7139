"""Compose two real checkpoints, fine-tune on docstrings, measure, save, and summarise from the command line."""

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from examples.docstrings import at_once, collect, models, report
from seqgraft import AutoTokenizer, EncoderDecoderModel, folders
from seqgraft.errors import SeqgraftError
from seqgraft.training.special import settle_special_ids
from seqgraft.training.trainer import train

TEXT = (
    "Plants create energy through a process known as photosynthesis. This involves capturing sunlight and "
    "converting carbon dioxide and water into glucose and oxygen."
)
"""The text of the README."""

LENGTHS = {"max_source_length": 128, "max_target_length": 32}
RECIPE: dict[str, Any] = {
    "tokens_per_batch": 1024,
    "learning_rate": 2e-4,
    "new_learning_rate": 1e-3,
    "warmup": 0.06,
    "dropout": False,
    "freeze": ["encoder.*"],
    "checkpoint_every": None,
}
"""Found by short runs of equal cost. With the encoder frozen a step costs six tenths, and after two CPU minutes the
held-out loss is 4.99 instead of 5.25; dropout costs a fifth more and has nothing to prevent in less than an epoch."""
_REPORT = "report.json"


def arguments(given: list[str] | None) -> argparse.Namespace:
    """The command line of the example."""
    parser = argparse.ArgumentParser("python -m examples.docstrings", description=__doc__)
    parser.add_argument("--minutes", type=float, default=4.0, help="of training (default: 4)")
    parser.add_argument("--seconds-for-tests", type=float, metavar="S", help="of training, instead of --minutes")
    parser.add_argument("--limit", type=int, help="the most pairs to train on")
    parser.add_argument("--evaluate", type=int, default=200, metavar="N", help="held-out pairs to measure on (200)")
    parser.add_argument("--fresh", action="store_true", help="train anew although a trained model is there")
    parser.add_argument("--more", action="store_true", help="train the model that is there for as long again")
    parser.add_argument("--tiny", action="store_true", help="a tiny random model, to see that everything runs")
    parser.add_argument("--code", type=Path, action="append", metavar="DIR", help="take docstrings from here only")
    parser.add_argument("--folder", type=Path, default=Path("runs/docstrings"), help="where everything is kept")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Run the example; returns the exit code (130 after Ctrl-C)."""
    options = arguments(given)
    console = Console()
    try:
        return _run(options, console)
    except KeyboardInterrupt:
        console.print("\nInterrupted. What was saved before is whole; running this again takes it up.")
        return 130
    except SeqgraftError as error:
        console.print(f"Error: {error}", style="red", highlight=False, markup=False)
        return 1


def _run(options: argparse.Namespace, console: Console) -> int:
    say = console.print
    at_once.show(console)
    say("\n[bold]1. Pairs[/bold]: docstring body -> summary line, from the Python files of this machine")
    training, held_out = _pairs(options, console)
    folder = options.folder / "model"
    minutes = options.minutes if options.seconds_for_tests is None else options.seconds_for_tests / 60
    past = {} if options.fresh else _past(options.folder)
    there = bool(past) and (folder / "training.json").is_file()
    if there:
        left = _minutes_left(past, minutes, options.more)
        say(f"\n[bold]2. The pair[/bold]: {folder} is there, trained on {past['pairs']:,} pairs.")
        say(
            "   --more trains it further, --fresh starts anew." if not left else f"   Training goes on: {left:.1f} min."
        )
        minutes = left
        model, tokenizer = EncoderDecoderModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    else:
        say("\n[bold]2. The pair[/bold]: " + ("tiny random halves" if options.tiny else "MiniLM reads, MiniLM writes"))
        model, tokenizer = models.compose(tiny=options.tiny)
        settle_special_ids(model, tokenizer)
        past = {"pairs": 0, "seconds": 0.0, "minutes": minutes}
    say(f"   {model.num_parameters() / 1e6:.1f} million parameters")
    if "before" not in past:
        say(f"   measuring it before training, on {len(held_out)} held-out pairs")
        past["before"] = report.measure(model, tokenizer, held_out, LENGTHS)[0].to_dict()
    if minutes:
        say(f"\n[bold]3. Training[/bold] for {minutes:.1f} minutes; Ctrl-C ends it and keeps what was learned")
        pairs = [(pair.source, pair.target) for pair in training]
        recipe = {**LENGTHS, **RECIPE, "output_prior": not there, "epochs": 1000, "max_minutes": minutes}
        result = train(model, tokenizer, pairs, output=folder, **recipe)
        past["pairs"] += result.pairs
        past["seconds"] += result.seconds
        past["minutes"] = past["seconds"] / 60 + (minutes - result.seconds / 60 if result.interrupted else 0.0)
        _keep(options.folder, past)
        rate = f"{result.target_tokens_per_second:,.0f} target tokens per second"
        say(f"   {result.pairs:,} pairs seen in {result.seconds:.0f} s, {rate}, {result.waste:.1%} padding")
        if result.interrupted:
            say(f"Interrupted: what was learned is saved in {folder}; running this again goes on from there.")
            return 130
    say("\n[bold]4. Measured[/bold]")
    after, made = report.measure(model, tokenizer, held_out, LENGTHS)
    rows = {"before training": report.Scores(**past["before"]), "after": after, "lead sentence": report.lead(held_out)}
    say(report.table(rows, len(held_out)))
    report.examples(console, held_out[:5], made[:5])
    hour = round(past["pairs"] / past["seconds"] * 3600)
    say(
        f"\nAn hour at this pace sees about {hour:,} pairs, {hour / len(training):.1f} times all of them: --minutes 60."
    )
    return _command_line(folder, console)


def _pairs(options: argparse.Namespace, console: Console) -> tuple[list[collect.Docstring], list[collect.Docstring]]:
    """(to train on, to measure on), with a line about each."""
    start = time.monotonic()
    found, there = collect.cached(options.folder, options.code)
    how = f"as collected before ({options.folder / collect.PAIRS})" if there else f"{time.monotonic() - start:.0f} s"
    training, held_out = collect.split(found)
    own, other = ({pair.module for pair in side} for side in (training, held_out))
    if own & other:
        raise SeqgraftError(f"No module may be on both sides of the split, but {sorted(own & other)} are.")
    if not training or not held_out:
        raise SeqgraftError(f"There must be pairs on both sides, but there are {len(training)} and {len(held_out)}.")
    shown = held_out[: options.evaluate]
    console.print(f"   {len(found):,} pairs ({how}), no text twice")
    console.print(
        f"   {len(training):,} of {len(own)} modules to train on; {len(held_out):,} of {len(other)} others held out, "
        f"of which {len(shown)} are measured; no module on both sides",
        highlight=False,
    )
    return training[: options.limit], shown


def _past(folder: Path) -> dict[str, Any]:
    """What the last run has written down."""
    path = folder / _REPORT
    return folders.read_json(path) if path.is_file() else {}


def _keep(folder: Path, past: dict[str, Any]) -> None:
    with folders.saving(folder) as staged:
        folders.write_json(staged / _REPORT, past)


def _minutes_left(past: dict[str, Any], minutes: float, more: bool) -> float:
    """How long to train a model that is there: again, to the end of what was interrupted, or not at all."""
    left = past["minutes"] - past["seconds"] / 60
    return minutes if more else left if left > 0.01 else 0.0


def _command_line(folder: Path, console: Console) -> int:
    """Open the folder in a fresh process, and say how to do all this with other files."""
    console.print("\n[bold]5. In a fresh process[/bold], through the command line")
    command = ["seqgraft", "run", "--task", "summarization", "--model", str(folder), "--whole"]
    console.print(f"   echo {shlex.quote(TEXT)} | {shlex.join(command)}", highlight=False, markup=False, soft_wrap=True)
    done = subprocess.run(
        [sys.executable, "-m", *command], input=TEXT, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode:
        console.print(done.stderr, style="red", highlight=False, markup=False)
        return done.returncode
    console.print(f"   {done.stdout.strip()}", style="bold", highlight=False, markup=False)
    console.print("\nThe same with your own files (source and target in each line of pairs.jsonl):\n")
    for line in (
        f"seqgraft train {shlex.quote(str(folder))} --data pairs.jsonl -o my-model",
        "seqgraft run --task summarization --model my-model < texts.txt",
    ):
        console.print("   " + line, highlight=False, markup=False, soft_wrap=True)
    return 0
