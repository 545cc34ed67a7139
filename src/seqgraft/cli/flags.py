"""Flags that several commands have. They arrive as a dictionary: see `console.guarded`."""

import json
import warnings
from typing import Annotated, Any

import typer

from seqgraft.cli.console import misused

SEARCH, SAMPLING, MODEL = "What is generated", "Sampling", "How the model runs"

Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
Force = Annotated[bool, typer.Option("--force", help="Write over what is there.")]


def _option(*names: str, panel: str, metavar: str | None = None, **how: Any) -> Any:
    return typer.Option(*names, metavar=metavar, rich_help_panel=panel, **how)


def generation(
    max_new_tokens: Annotated[
        int | None, _option(panel=SEARCH, metavar="N", help="The most tokens of an output.")
    ] = None,
    max_length: Annotated[int | None, _option(panel=SEARCH, metavar="N", help="The same, the start counted.")] = None,
    min_new_tokens: Annotated[
        int | None, _option(panel=SEARCH, metavar="N", help="The fewest tokens of an output.")
    ] = None,
    min_length: Annotated[int | None, _option(panel=SEARCH, metavar="N", help="The same, the start counted.")] = None,
    num_beams: Annotated[int | None, _option(panel=SEARCH, metavar="N", help="Beams; 1 is greedy search.")] = None,
    length_penalty: Annotated[
        float | None, _option(panel=SEARCH, metavar="X", help="Above 0 favours long beams, below 0 short ones.")
    ] = None,
    early_stopping: Annotated[
        bool | None, _option("--early-stopping", panel=SEARCH, help="Stop at the first full set of beams.")
    ] = None,
    no_repeat_ngram_size: Annotated[
        int | None, _option(panel=SEARCH, metavar="N", help="No N tokens in a row come twice.")
    ] = None,
    repetition_penalty: Annotated[
        float | None, _option(panel=SEARCH, metavar="X", help="Above 1 makes used tokens less likely.")
    ] = None,
    num_return_sequences: Annotated[
        int | None, _option(panel=SEARCH, metavar="N", help="Outputs of each text; files get the first.")
    ] = None,
    stop_strings: Annotated[
        list[str] | None, _option("--stop-string", panel=SEARCH, metavar="TEXT", help="End here. Repeatable.")
    ] = None,
    prompt_lookup_num_tokens: Annotated[
        int | None,
        _option("--prompt-lookup", panel=SEARCH, metavar="N", help="Faster where outputs copy: N tokens at once."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        _option("--set", panel=SEARCH, metavar="NAME=VALUE", help="Any other setting; VALUE is JSON. Repeatable."),
    ] = None,
    do_sample: Annotated[bool | None, _option("--do-sample", panel=SAMPLING, help="Draw tokens at random.")] = None,
    temperature: Annotated[
        float | None, _option(panel=SAMPLING, metavar="X", help="Below 1 favours likely tokens.")
    ] = None,
    top_k: Annotated[int | None, _option(panel=SAMPLING, metavar="N", help="Draw from the N likeliest tokens.")] = None,
    top_p: Annotated[
        float | None, _option(panel=SAMPLING, metavar="X", help="Draw from the likeliest tokens of this probability.")
    ] = None,
    min_p: Annotated[
        float | None, _option(panel=SAMPLING, metavar="X", help="Only tokens at least X times as likely as the best.")
    ] = None,
    typical_p: Annotated[
        float | None, _option(panel=SAMPLING, metavar="X", help="Draw from the most typical of this probability.")
    ] = None,
    seed: Annotated[int | None, _option(panel=SAMPLING, metavar="N", help="Makes the draw repeatable.")] = None,
) -> None:
    """Settings of `generate`; `settings_of` makes them out of the flags."""


def running(
    device: Annotated[str, _option(panel=MODEL, metavar="D", help="cpu, cuda, a GPU's number, or auto.")] = "auto",
    dtype: Annotated[
        str | None,
        _option(panel=MODEL, metavar="T", help="float32, bfloat16 or float16; by default the checkpoint's."),
    ] = None,
    tokenizer: Annotated[
        str | None, _option(panel=MODEL, metavar="DIR", help="Folder or hub name; by default the model's.")
    ] = None,
    assistant: Annotated[
        str | None,
        _option(panel=MODEL, metavar="DIR", help="A smaller model that drafts tokens: faster, the same result."),
    ] = None,
    batch_size: Annotated[int, _option(panel=MODEL, metavar="N", min=1, help="Texts that run together.")] = 1,
    src_lang: Annotated[
        str | None, _option(panel=MODEL, metavar="CODE", help="Language of the texts, of models with many.")
    ] = None,
    tgt_lang: Annotated[str | None, _option(panel=MODEL, metavar="CODE", help="Language to write in.")] = None,
    no_truncation: Annotated[
        bool,
        _option("--no-truncation", panel=MODEL, help="Fail at a text that is too long; else its beginning is read."),
    ] = False,
) -> None:
    """How the model of a pipeline is loaded and fed."""


def settings_of(flags: dict[str, Any], framework: str = "pt") -> dict[str, Any]:
    """The settings that were given, by the names of `generate`; a seed is torch's own, or a setting of the others."""
    from seqgraft.errors import GenerationError
    from seqgraft.generation import GenerationConfig
    from seqgraft.generation.fields import PUBLISHED

    given = {
        name: value for name, value in flags.items() if value not in (None, []) and name not in ("setting", "seed")
    }
    for text in flags["setting"] or ():
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name not in PUBLISHED:
            misused(f"--set must be NAME=VALUE with a setting of generate, but is {text!r}.")
        given[name] = _value(value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is idle depends on the model's own settings too
            GenerationConfig(**given)
    except GenerationError as error:
        misused(str(error))
    if flags["seed"] is not None and framework != "pt":
        given["seed"] = flags["seed"]
    elif flags["seed"] is not None:
        import torch

        torch.manual_seed(flags["seed"])
    return given


def _value(text: str) -> Any:
    """JSON, or the text itself: `--set early_stopping=never` needs no quotes."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def loaded(
    task: str, model: str | None, running: dict[str, Any], settings: dict[str, Any], framework: str = "pt"
) -> Any:
    """The pipeline that `run` and `generate` use."""
    from seqgraft.pipelines import pipeline

    options = {name: running[name] for name in ("tokenizer", "device", "dtype", "batch_size")}
    options |= {"assistant_model": running["assistant"]} if running["assistant"] is not None else {}
    options |= {name: running[name] for name in ("src_lang", "tgt_lang") if running[name] is not None}
    options |= {"framework": framework, "truncation": not running["no_truncation"]}
    return pipeline(task, model=model, **options, **settings)


def check_task(task: str) -> None:
    """A usage error that lists the tasks, unless this is one."""
    from seqgraft.errors import ConfigurationError
    from seqgraft.pipelines.tasks import pipeline_class

    try:
        pipeline_class(task)
    except ConfigurationError as error:
        misused(str(error).replace("`task`", "--task"))


def check_own(task: str) -> None:
    """A usage error unless this task has a model of its own, which serves without --model."""
    from seqgraft.pipelines.default import TASK

    if task != TASK:
        misused(f"--model must be given: only {TASK} has a model of its own, but --task is '{task}'.")


def check_framework(name: str, idle: dict[str, Any]) -> None:
    """A usage error unless this is a framework's name and, but for PyTorch, none of the flags in `idle` is given."""
    from seqgraft.pipelines.compiled import FRAMEWORKS

    if name not in FRAMEWORKS:
        misused(f"--framework must be one of {', '.join(FRAMEWORKS)}, but is '{name}'.")
    given = [flag for flag, value in idle.items() if value]
    if name != "pt" and given:
        misused(f"{', '.join(given)} must be left out with --framework {name}, whose search is one program.")
