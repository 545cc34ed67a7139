"""Flags that several commands have."""

import json
from typing import Annotated, Any

import typer

from seqgraft.cli.console import misused

_SEARCH, _SAMPLING, _MODEL = "What is generated", "Sampling", "How the model runs"

Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
Force = Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")]


def generation(
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="The most tokens of an output.", rich_help_panel=_SEARCH)
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(min=1, help="The same, its start token counted.", rich_help_panel=_SEARCH)
    ] = None,
    min_new_tokens: Annotated[
        int | None, typer.Option(min=0, help="The fewest tokens of an output.", rich_help_panel=_SEARCH)
    ] = None,
    min_length: Annotated[
        int | None, typer.Option(min=0, help="The same, its start token counted.", rich_help_panel=_SEARCH)
    ] = None,
    num_beams: Annotated[
        int | None, typer.Option(min=1, help="Beams of the search; 1 is greedy.", rich_help_panel=_SEARCH)
    ] = None,
    length_penalty: Annotated[
        float | None, typer.Option(help="Above 0 favours long beams, below 0 short ones.", rich_help_panel=_SEARCH)
    ] = None,
    early_stopping: Annotated[
        bool | None,
        typer.Option("--early-stopping/--no-early-stopping", help="Stop at the first full set of beams.", rich_help_panel=_SEARCH),
    ] = None,
    no_repeat_ngram_size: Annotated[
        int | None, typer.Option(min=0, help="No n tokens in a row come twice.", rich_help_panel=_SEARCH)
    ] = None,
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Above 1 makes tokens that were there less likely.", rich_help_panel=_SEARCH)
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting of generate; VALUE is JSON.", rich_help_panel=_SEARCH),
    ] = None,
    do_sample: Annotated[
        bool | None, typer.Option("--do-sample/--no-do-sample", help="Draw tokens at random.", rich_help_panel=_SAMPLING)
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Below 1 favours likely tokens.", rich_help_panel=_SAMPLING)
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(min=0, help="Draw from the k likeliest tokens.", rich_help_panel=_SAMPLING)
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest tokens of this probability.", rich_help_panel=_SAMPLING)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Makes a draw repeatable.", rich_help_panel=_SAMPLING)
    ] = None,
) -> None:
    """Settings of `generate`; `settings_of` makes them out of the flags."""


def running(
    device: Annotated[
        str, typer.Option(help="cpu, cuda, the number of a GPU, or auto.", rich_help_panel=_MODEL)
    ] = "auto",
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16; else the checkpoint's.", rich_help_panel=_MODEL)
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="A folder or hub name; else the model's.", rich_help_panel=_MODEL)
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Texts that run together.", rich_help_panel=_MODEL)
    ] = 1,
    truncation: Annotated[
        bool,
        typer.Option("--truncation/--no-truncation", help="Read the beginning of a text that is too long for the encoder (and say so), or fail.", rich_help_panel=_MODEL),
    ] = True,
) -> None:
    """How the model of a pipeline is loaded and fed."""


def settings_of(flags: dict[str, Any]) -> dict[str, Any]:
    """The settings that were given, by the names of `generate`; seeds torch if a seed was."""
    from seqgraft.generation.fields import PUBLISHED

    given = {name: value for name, value in flags.items() if value is not None and name not in ("set_", "seed")}
    for text in flags["set_"] or ():
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name not in PUBLISHED:
            misused(f"--set must be NAME=VALUE with a setting of generate, but is {text!r}.")
        given[name] = _value(value)
    if flags["seed"] is not None:
        import torch

        torch.manual_seed(flags["seed"])
    return given


def _value(text: str) -> Any:
    """JSON, or the text itself: `--set early_stopping=never` needs no quotes."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def loaded(task: str, model: str, running: dict[str, Any], settings: dict[str, Any]) -> Any:
    """The pipeline that `run` and `generate` use."""
    from seqgraft.pipelines import pipeline

    return pipeline(
        task,
        model=model,
        tokenizer=running["tokenizer"],
        device=running["device"],
        dtype=running["dtype"],
        batch_size=running["batch_size"],
        truncation=running["truncation"],
        **settings,
    )


def task_named(task: str) -> str:
    """A task's name, or a usage error that lists them."""
    from seqgraft.errors import ConfigurationError
    from seqgraft.pipelines.tasks import pipeline_class

    try:
        pipeline_class(task)
    except ConfigurationError as error:
        misused(str(error).replace("`task`", "--task"))
    return task
