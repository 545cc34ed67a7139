"""`seqgraft generate`: a file of texts -> a file of results."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from seqgraft.cli import flags
from seqgraft.cli.console import misused, note, stderr
from seqgraft.cli.inputs import KINDS, read_texts
from seqgraft.cli.places import check_file, whole_file
from seqgraft.cli.run import one_line

EPILOG = """[bold]Examples[/bold]

seqgraft generate my-pair --input articles.txt --output summaries.txt --batch-size 16

seqgraft generate my-pair -i test.jsonl --field document -o predictions.jsonl --num-beams 4"""

_BATCHES_A_STEP = 8
"""Batches between two steps of the bar: texts of like length are batched within a step."""


def generate(
    model: Annotated[str, typer.Argument(help="A folder or hub name.", metavar="MODEL")],
    input_: Annotated[
        Path, typer.Option("--input", "-i", metavar="FILE", help="txt (a text a line), jsonl, csv or tsv.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="txt (a result a line), jsonl, csv or tsv."),
    ],
    running: dict[str, Any],
    settings: dict[str, Any],
    task: Annotated[
        str, typer.Option("--task", "-t", metavar="TASK", help="As of `seqgraft run`; settings may depend on it.")
    ] = "text2text-generation",
    field: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where the texts are; by default source, document or text.")
    ] = None,
    force: flags.Force = False,
    json_: Annotated[bool, typer.Option("--json", help="Tell of the finished file in JSON.")] = False,
) -> None:
    """Generate from every text of a file. The names of the files say what they hold.

    The output has a line for each text, in order: jsonl, csv and tsv with `source` and `prediction`, txt with the
    prediction alone, its line breaks made spaces. It appears when it is complete. An empty text gives an empty
    prediction.
    """
    flags.check_task(task)
    for name, file in (("--input", input_), ("--output", output)):
        if file.suffix.lower() not in KINDS:
            misused(f"{name} must be named {', '.join(KINDS)}, but is '{file}'.")
    if output.exists() and input_.exists() and output.samefile(input_):
        misused(f"--output must be another file than --input, but both are '{input_}'.")
    check_file(output, force=force)
    made = flags.settings_of(settings)
    texts = read_texts(input_, field)
    pipe = flags.loaded(task, model, running, made)
    with whole_file(output) as stream:
        _write(stream, output.suffix.lower(), texts, _results(pipe, texts, running["batch_size"]))
    if json_:
        print(json.dumps({"output": str(output), "texts": len(texts)}))
    else:
        note(f"Wrote {output}: {len(texts):,} {'result' if len(texts) == 1 else 'results'}.")


def _results(pipe: Any, texts: Sequence[str], batch_size: int) -> Iterator[str]:
    """One result a text, with a bar on stderr."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    key = f"{pipe.return_name}_text"
    step = batch_size * _BATCHES_A_STEP if batch_size > 1 else 1
    columns = ("Generating", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal) as progress:
        bar = progress.add_task("", total=len(texts))
        for at in range(0, len(texts), step):
            some = texts[at : at + step]
            places = [number for number, text in enumerate(some, start=at + 1) if text.strip()]
            made = iter(pipe([text for text in some if text.strip()], places=places))
            for text in some:
                yield _first(next(made))[key] if text.strip() else ""
            progress.advance(bar, len(some))


def _first(records: Any) -> dict[str, str]:
    """With several results of one text (`--set num_return_sequences=2`) the best."""
    record: dict[str, str] = records[0] if isinstance(records, list) else records
    return record


def _write(stream: IO[str], kind: str, texts: Sequence[str], results: Iterator[str]) -> None:
    rows = None
    if kind in (".csv", ".tsv"):
        rows = csv.writer(stream, delimiter="," if kind == ".csv" else "\t", lineterminator="\n")
        rows.writerow(("source", "prediction"))
    for text, result in zip(texts, results, strict=True):
        if rows is not None:
            rows.writerow((text, result))
        elif kind == ".txt":
            stream.write(one_line(result) + "\n")
        else:
            stream.write(json.dumps({"source": text, "prediction": result}, ensure_ascii=False) + "\n")
