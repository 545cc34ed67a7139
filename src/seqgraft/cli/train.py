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
from seqgraft.cli.console import INTERRUPTED, note, stderr
from seqgraft.cli.places import check_folder
from seqgraft.cli.train_settings import about_of, half_of, lora_of, validation_of

EPILOG = """[bold]Examples[/bold]

seqgraft train my-pair --data pairs.jsonl --output my-summarizer --max-minutes 30

seqgraft train my-pair -d train.tsv --validation valid.tsv --metrics bleu,chrf --best bleu --patience 3 -o en-de

seqgraft train my-pair -d pairs.parquet --recipe two-optimizers --lr 'decoder.*.cross_attention.*=1e-3' -o trained

[bold]Recipes[/bold] (docs/training.md has their sources): warm-start, two-optimizers, share, freeze-encoder,
graft-only, lora.

[bold]Ctrl-C[/bold] ends after the step under way and saves what was learned; a second one saves nothing."""

_BOUNDS, _BATCHES, _RATES, _MACHINE = "How long", "Batches", "Learning", "Machine"
_RECIPE, _VALIDATION, _LORA = "Recipe", "Validation", "Adapters"


class Decay(str, Enum):
    """How the learning rate falls."""

    linear = "linear"
    inverse_sqrt = "inverse_sqrt"
    constant = "constant"


class Precision(str, Enum):
    """What products are computed in."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class Strategy(str, Enum):
    """What each of several processes holds."""

    ddp = "ddp"
    fsdp = "fsdp"


class Saving(str, Enum):
    """Where adapters go."""

    merged = "merged"
    separate = "separate"


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
    max_source_length: Annotated[
        int | None,
        _option(panel=_BATCHES, help="In tokens; longer sources are cut. By default too long for the model is bad."),
    ] = None,
    max_target_length: Annotated[int, _option(panel=_BATCHES, help="In tokens; longer targets are cut.")] = 128,
    skip_bad: Annotated[
        bool,
        _option("--skip-bad", panel=_BATCHES, metavar=None, help="Leave bad lines out, counted, instead of ending."),
    ] = False,
    cache_dir: Annotated[
        Path | None,
        _option(panel=_BATCHES, metavar="DIR", help="Keep the files' tokens there; none keeps them nowhere."),
    ] = None,
    learning_rate: Annotated[
        float | None, _option(panel=_RATES, metavar="X", help="Of pretrained weights; by default the recipe's.")
    ] = None,
    new_learning_rate: Annotated[
        float | None, _option(panel=_RATES, metavar="X", help="Of new weights; by default ten times as much.")
    ] = None,
    weight_decay: Annotated[float, _option(panel=_RATES, metavar="X", help="Of matrices.")] = 0.01,
    warmup: Annotated[
        float | None, _option(panel=_RATES, metavar="X", help="Share of the training with a rising rate.")
    ] = None,
    decay: Annotated[
        Decay | None, _option(panel=_RATES, metavar="HOW", help="The rate falls: linear, inverse_sqrt or constant.")
    ] = None,
    average_checkpoints: Annotated[
        int | None,
        _option(panel=_RATES, min=1, help="Keep the mean of the weights after the last N epochs (--best last)."),
    ] = None,
    average_every: Annotated[
        int | None, _option(panel=_RATES, min=1, help="Average those after every N-th step, not after epochs.")
    ] = None,
    label_smoothing: Annotated[
        float | None, _option(panel=_RATES, metavar="X", help="By default the recipe's, 0.1.")
    ] = None,
    adam_beta2: Annotated[float | None, _option(panel=_RATES, metavar="X", help="Of AdamW.")] = None,
    z_loss: Annotated[
        float, _option(panel=_RATES, metavar="X", help="Keeps logits near 0; 1e-4 is usual where it is used.")
    ] = 0.0,
    gradient_clip: Annotated[float, _option(panel=_RATES, metavar="X", help="Largest norm of the gradients.")] = 1.0,
    freeze: Annotated[
        list[str] | None,
        _option(panel=_RATES, metavar="PATTERN", help="Parameters that stay, such as 'encoder.*'. Repeatable."),
    ] = None,
    rates: Annotated[
        list[str] | None,
        _option("--lr", panel=_RATES, metavar="PATTERN=X", help="A rate by names; the last that matches. Repeatable."),
    ] = None,
    no_dropout: Annotated[
        bool, _option("--no-dropout", panel=_RATES, metavar=None, help="Serves short trainings.")
    ] = False,
    output_prior: Annotated[
        bool,
        _option("--output-prior", panel=_RATES, metavar=None, help="Start a fresh head at the labels' frequencies."),
    ] = False,
    precision: Annotated[
        Precision, _option(panel=_MACHINE, metavar="T", help="Of products: float32 or bfloat16; weights stay float32.")
    ] = Precision.float32,
    gradient_checkpointing: Annotated[
        bool, _option("--gradient-checkpointing", panel=_MACHINE, metavar=None, help="Less memory, more time.")
    ] = False,
    compile: Annotated[
        bool, _option("--compile", panel=_MACHINE, metavar=None, help="Compile the layers; serves long trainings.")
    ] = False,
    device: Annotated[str, _option(panel=_MACHINE, metavar="D", help="cpu, cuda, a GPU's number, or auto.")] = "auto",
    devices: Annotated[
        int | None, _option(panel=_MACHINE, help="Processes that train together; by default 1, or as torchrun says.")
    ] = None,
    nodes: Annotated[int, _option(panel=_MACHINE, help="Machines that train together.")] = 1,
    strategy: Annotated[
        Strategy | None,
        _option(panel=_MACHINE, metavar="HOW", help="Of several processes: ddp (the default), or fsdp, in shards."),
    ] = None,
    seed: Annotated[int, _option(panel=_RATES, help="Of the order of the pairs, and of dropout.")] = 0,
    checkpoint_every: Annotated[
        int | None, _option(panel=_MACHINE, help="Steps between checkpoints that --resume goes on from.")
    ] = 500,
    resume: Annotated[
        bool, _option("--resume", panel=_MACHINE, metavar=None, help="Go on from DIR's checkpoint, if there is one.")
    ] = False,
    check: Annotated[
        bool,
        _option("--check/--no-check", panel=_RATES, metavar=None, help="What `seqgraft doctor` asks, before training."),
    ] = True,
    save_dtype: Annotated[
        str | None, _option(panel=_RATES, metavar="T", help="Of the weights in the folder; float16 halves it.")
    ] = None,
    tensorboard: Annotated[
        Path | None, _option(panel=_VALIDATION, metavar="DIR", help="Write TensorBoard's files there.")
    ] = None,
) -> None:
    """What goes to `seqgraft.training.trainer.train` as it is; a test compares names and defaults."""


def validating(
    validation: Annotated[
        str | None,
        _option("--validation", "--valid", panel=_VALIDATION, metavar="FILE", help="Held-out pairs, as --data."),
    ] = None,
    validation_fraction: Annotated[
        float | None, _option(panel=_VALIDATION, metavar="X", help="Hold this share of --data out instead.")
    ] = None,
    metrics: Annotated[
        str | None,
        _option(panel=_VALIDATION, metavar="NAMES", help="rouge,bleu,chrf,exact,perplexity; they generate."),
    ] = None,
    eval_steps: Annotated[int | None, _option(panel=_VALIDATION, help="Validate so often; else every epoch.")] = None,
    eval_pairs: Annotated[int | None, _option(panel=_VALIDATION, help="The most pairs to generate from.")] = None,
    eval_beams: Annotated[int, _option(panel=_VALIDATION, help="Beams of that; 1 is greedy.")] = 1,
    best: Annotated[
        str | None,
        _option(panel=_VALIDATION, metavar="FIGURE", help="Keep its best weights (loss, bleu, rougeL, ...) or: last."),
    ] = None,
    patience: Annotated[
        int | None, _option(panel=_VALIDATION, help="Stop after so many validations that are no better.")
    ] = None,
) -> None:
    """What is measured while the model trains."""


def adapting(
    lora_rank: Annotated[int | None, _option(panel=_LORA, help="Of --recipe lora; 8 unless said.")] = None,
    lora_alpha: Annotated[int | None, _option(panel=_LORA, help="Its scale times the rank; 16.")] = None,
    lora_dropout: Annotated[float | None, _option(panel=_LORA, metavar="X", help="Of adapters' inputs; 0.")] = None,
    lora_target: Annotated[
        list[str] | None,
        _option(panel=_LORA, metavar="PATTERN", help="Linear maps; '*.self_attention.query' and value. Repeatable."),
    ] = None,
    lora_save: Annotated[
        Saving | None, _option(panel=_LORA, metavar="HOW", help="merged (into the weights) or separate (adapter/).")
    ] = None,
) -> None:
    """How adapters are made."""


def train(
    model: Annotated[str, typer.Argument(help="A pair's folder or hub name.", metavar="MODEL")],
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            "-d",
            metavar="FILE",
            help="jsonl, csv, tsv, parquet, or a dataset NAME[:CONFIG][@SPLIT]. Repeatable.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write.")],
    options: dict[str, Any],
    validating: dict[str, Any],
    adapting: dict[str, Any],
    recipe: Annotated[
        str, _option(panel=_RECIPE, metavar="NAME", help="What the settings are unless given.")
    ] = "warm-start",
    unfreeze_at: Annotated[
        float | None,
        _option(panel=_RECIPE, metavar="X", help="Train what the recipe freezes too, after this share."),
    ] = None,
    init: Annotated[
        list[str] | None,
        _option(
            panel=_RECIPE,
            metavar="HALF=scratch",
            help="Random weights for encoder or decoder; scratch alone for both, of which config.json is enough.",
        ),
    ] = None,
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
    """Fine-tune a pair on sources and targets, and save it: weights, tokenizers, special ids, a card and the curves.

    The first bound of epochs, steps and minutes that is reached ends the training; the learning rate falls towards it.
    """
    try:
        from seqgraft.training import checkpoints
        from seqgraft.training.trainer import train as trained
    except ModuleNotFoundError as error:
        from seqgraft.errors import MissingExtraError

        raise MissingExtraError("Training needs lightning: pip install 'seqgraft[train]'.") from error
    from seqgraft.cli.train_tables import rates_table, result_table
    from seqgraft.training.processes import rank

    resumes = options["resume"] and checkpoints.latest(output) is not None
    check_folder(output, force=force or resumes)
    if force and not options["resume"] and rank() == 0:
        checkpoints.remove(output)
    from seqgraft.pipelines.device import as_device
    from seqgraft.text import AutoTokenizer
    from seqgraft.torch.model import EncoderDecoderModel
    from seqgraft.training import recipes
    from seqgraft.training.pairs import PairFiles, Skipped

    recipes.named(recipe)
    afresh = [side for text in init or () for side in half_of(text)]
    plan = validation_of(validating, options)
    fields: dict[str, Any] = {"source_field": source_field, "target_field": target_field}
    skipped = Skipped() if options["skip_bad"] else None
    options["device"] = str(as_device(options["device"]))
    options |= {name: value.value for name, value in options.items() if isinstance(value, Enum)}
    options["dropout"] = not options.pop("no_dropout")
    options["lora"] = lora_of(adapting)
    settings = recipes.settings(recipe, unfreeze_at=unfreeze_at, **options)
    settings["skip_bad"] = skipped if skipped is not None else False

    part = {"fraction": validating["validation_fraction"], "seed": options["seed"]}
    pairs = PairFiles(data, **fields, skipped=skipped, **part)
    held_out: list[Any] | None = None
    if validating["validation"] is not None:
        held_out = list(PairFiles([validating["validation"]], **fields, skipped=skipped))
    elif pairs.fraction is not None:
        held_out = list(pairs.others())
    opened = AutoTokenizer.from_pretrained(tokenizer or model)
    if afresh:
        import torch

        torch.manual_seed(options["seed"])
    if set(afresh) == {"encoder", "decoder"}:
        from seqgraft.training.initial import untrained

        made = untrained(model)
        note(f"Both halves start from scratch: {made.num_parameters():,} random parameters.")
    else:
        made = EncoderDecoderModel.from_pretrained(model, dtype="float32")
        for line in [recipes.start_afresh(made, side) for side in afresh]:
            note(line)
    _set_length(made, options["max_target_length"])
    for line in recipes.prepare(made, recipe):
        note(line)

    def tell(lines: Any) -> None:
        if rank() > 0:
            return
        note(f"{pairs.count:,} pairs" + (f", {len(held_out):,} held out" if held_out else "") + ".")
        stderr.print(rates_table(lines, recipe))

    about = about_of(model, recipe, data, validating)
    with contextlib.redirect_stdout(sys.stderr):  # the bar is no result
        watch = {"valid_pairs": held_out, "validation": plan, "about": about, "tell": tell}
        result = trained(made, opened, pairs, output=output, **watch, **settings)
    if rank() > 0:
        return
    if json_:
        print(json.dumps(dataclasses.asdict(result), indent=2))
    else:
        Console(highlight=False).print(result_table(result))
        for line in result.notes:
            note(line)
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
