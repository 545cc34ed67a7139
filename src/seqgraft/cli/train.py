"""`seqgraft train`: a pair and a file of pairs -> a trained pair."""

import contextlib
import dataclasses
import json
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from seqgraft.cli import flags
from seqgraft.cli.console import INTERRUPTED, note
from seqgraft.cli.places import check_folder

EPILOG = """[bold]Examples[/bold]

seqgraft train my-pair --data pairs.jsonl --output my-summarizer --max-minutes 30

seqgraft train my-pair --data train.tsv --valid valid.tsv --source-field en --target-field de -o en-de --epochs 3

[bold]Ctrl-C[/bold] ends after the step under way and saves what was learned; a second one saves nothing."""

_BOUNDS, _BATCHES, _RATES = "How long", "Batches", "Learning"


class Decay(str, Enum):
    """How the learning rate falls."""

    linear = "linear"
    inverse_sqrt = "inverse_sqrt"
    constant = "constant"


class Precision(str, Enum):
    """What products are computed in."""

    float32 = "float32"
    bfloat16 = "bfloat16"


def _option(*names: str, panel: str, metavar: str | None = "N", **how: Any) -> Any:
    return typer.Option(*names, metavar=metavar, rich_help_panel=panel, **how)


def options(
    epochs: Annotated[int, _option(panel=_BOUNDS, help="Times that every pair is seen.")] = 1,
    max_steps: Annotated[int | None, _option(panel=_BOUNDS, help="The most steps.")] = None,
    max_minutes: Annotated[float | None, _option(panel=_BOUNDS, help="The most minutes of training.")] = None,
    tokens_per_batch: Annotated[int, _option(panel=_BATCHES, help="The most tokens, padding and both sides.")] = 4096,
    rows_per_batch: Annotated[
        int | None, _option("--rows-per-batch", "--batch-size", panel=_BATCHES, help="The most pairs.")
    ] = None,
    accumulate: Annotated[int, _option(panel=_BATCHES, help="Batches of one step.")] = 1,
    max_source_length: Annotated[int, _option(panel=_BATCHES, help="In tokens; longer sources are cut.")] = 512,
    max_target_length: Annotated[int, _option(panel=_BATCHES, help="In tokens; longer targets are cut.")] = 128,
    learning_rate: Annotated[float, _option(panel=_RATES, metavar="X", help="Of pretrained weights.")] = 5e-5,
    new_learning_rate: Annotated[
        float | None, _option(panel=_RATES, metavar="X", help="Of new weights; by default ten times as much.")
    ] = None,
    weight_decay: Annotated[float, _option(panel=_RATES, metavar="X", help="Of matrices.")] = 0.01,
    warmup: Annotated[
        float, _option(panel=_RATES, metavar="X", help="Share of the training with a rising rate.")
    ] = 0.1,
    decay: Annotated[
        Decay, _option(panel=_RATES, metavar="HOW", help="The rate falls: linear, inverse_sqrt or constant.")
    ] = Decay.linear,
    label_smoothing: Annotated[float, _option(panel=_RATES, metavar="X", help="0.1 is usual for translation.")] = 0.0,
    gradient_clip: Annotated[float, _option(panel=_RATES, metavar="X", help="Largest norm of the gradients.")] = 1.0,
    freeze: Annotated[
        list[str] | None,
        _option(panel=_RATES, metavar="PATTERN", help="Parameters that stay, such as 'encoder.*'. Repeatable."),
    ] = None,
    no_dropout: Annotated[
        bool, _option("--no-dropout", panel=_RATES, metavar=None, help="Serves short trainings.")
    ] = False,
    output_prior: Annotated[
        bool,
        _option("--output-prior", panel=_RATES, metavar=None, help="Start a fresh head at the labels' frequencies."),
    ] = False,
    precision: Annotated[
        Precision, _option(panel=_RATES, metavar="T", help="Of products: float32 or bfloat16; weights stay float32.")
    ] = Precision.float32,
    device: Annotated[str, _option(panel=_RATES, metavar="D", help="cpu, cuda, a GPU's number, or auto.")] = "auto",
    seed: Annotated[int, _option(panel=_RATES, help="Of the order of the pairs, and of dropout.")] = 0,
    check: Annotated[
        bool,
        _option("--check/--no-check", panel=_RATES, metavar=None, help="What `seqgraft doctor` asks, before training."),
    ] = True,
) -> None:
    """What goes to `seqgraft.training.trainer.train` as it is; a test compares names and defaults."""


def train(
    model: Annotated[str, typer.Argument(help="A pair's folder or hub name.", metavar="MODEL")],
    data: Annotated[list[Path], typer.Option("--data", "-d", metavar="FILE", help="jsonl, csv or tsv. Repeatable.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write.")],
    options: dict[str, Any],
    valid: Annotated[Path | None, typer.Option(metavar="FILE", help="Pairs that the loss is measured on.")] = None,
    source_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of sources; by default source, document or text.")
    ] = None,
    target_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of targets; by default target or summary.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder or hub name; by default the model's.")
    ] = None,
    force: flags.Force = False,
    json_: flags.Json = False,
) -> None:
    """Fine-tune a pair on sources and targets, and save it: weights, tokenizers, special ids and training.json.

    The first bound of epochs, steps and minutes that is reached ends the training; the learning rate falls towards it.
    """
    check_folder(output, force=force)
    try:
        from seqgraft.training.trainer import train as trained
    except ModuleNotFoundError as error:
        from seqgraft.errors import MissingExtraError

        raise MissingExtraError("Training needs lightning: pip install 'seqgraft[train]'.") from error
    from seqgraft.pipelines.device import as_device
    from seqgraft.text import AutoTokenizer
    from seqgraft.torch.model import EncoderDecoderModel
    from seqgraft.training.pairs import read_pairs

    fields = {"source_field": source_field, "target_field": target_field}
    options["device"] = str(as_device(options["device"]))
    options |= {name: value.value for name, value in options.items() if isinstance(value, Enum)}
    options["freeze"] = options["freeze"] or ()
    options["dropout"] = not options.pop("no_dropout")
    pairs = [pair for file in data for pair in read_pairs(file, **fields)]
    held_out = None if valid is None else list(read_pairs(valid, **fields))
    note(f"{len(pairs):,} pairs" + (f", {len(held_out):,} held out" if held_out else "") + ".")
    made = EncoderDecoderModel.from_pretrained(model, dtype="float32")
    opened = AutoTokenizer.from_pretrained(tokenizer or model)
    _set_length(made, options["max_target_length"])
    with contextlib.redirect_stdout(sys.stderr):  # the bar is no result
        result = trained(made, opened, pairs, output=output, valid_pairs=held_out, **options)
    if json_:
        print(json.dumps(dataclasses.asdict(result), indent=2))
    else:
        _show(result)
        note(f"Saved {output}. Next: seqgraft run --task summarization --model {output}")
    if result.interrupted:
        note("Interrupted: what was learned until then is saved.")
        raise typer.Exit(INTERRUPTED)


def _set_length(model: Any, longest: int) -> None:
    """Outputs may be as long as the targets were, unless the folder says how long they may be."""
    from seqgraft.config import decoder_spec

    settings = model.generation_config
    if settings.max_length is None and settings.max_new_tokens is None:
        positions = decoder_spec(model.config.decoder).positions
        settings.max_new_tokens = longest if positions is None else min(longest, positions.longest - 1)
        settings._from_model_config = None  # which would have readers make it again
        note(f"Outputs will have at most {settings.max_new_tokens} tokens (max_new_tokens in generation_config.json).")


def _show(result: Any) -> None:
    from seqgraft.cli import tables

    facts = [
        ("steps", f"{result.steps:,} with {result.pairs:,} pairs in {result.seconds:,.1f} seconds"),
        ("speed", f"{result.target_tokens_per_second:,.0f} target tokens per second"),
        ("loss", f"{result.train_loss:.3f} in the last steps"),
    ]
    if result.valid_loss is not None:
        facts.append(("held-out loss", f"{result.valid_loss:.3f}"))
    Console(highlight=False).print(tables.facts(facts))
    for line in result.notes:
        note(line)
