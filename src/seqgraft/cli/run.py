"""`seqgraft run`: texts from standard input through a model."""

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from seqgraft.cli import flags
from seqgraft.cli.console import misused, note

EPILOG = """[bold]Examples[/bold]

seqgraft run --task summarization --whole < function.py

echo "A long text about plants ..." | seqgraft run --task summarization --model my-pair

seqgraft run --task translation_en_to_de --model my-pair --num-beams 4 --batch-size 8 < english.txt > german.txt

seqgraft run --task summarization --model my-pair --whole --stream < article.txt

seqgraft run --task summarization --model my-pair --framework flax --batch-size 8 < articles.txt"""


def run(
    task: Annotated[
        str,
        typer.Option("--task", "-t", help="summarization, translation, translation_xx_to_yy or text2text-generation."),
    ],
    running: dict[str, Any],
    settings: dict[str, Any],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="A folder, or the name of a hub repository; summarization has a small one of its own."
        ),
    ] = None,
    whole: Annotated[bool, typer.Option("--whole", help="All of the input is one text.")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Show words as they are made.")] = False,
    framework: Annotated[
        str, typer.Option("--framework", metavar="NAME", help="What the model runs on: pt (PyTorch), flax or tf.")
    ] = "pt",
    json_: flags.Json = False,
) -> None:
    """Read texts from standard input, one a line, and write a result for each, one a line.

    An empty line gives an empty line. Line breaks inside a result become spaces; --json keeps them, one object a line.
    """
    flags.check_task(task)
    if model is None:
        flags.check_own(task)
    if stream and (json_ or running["batch_size"] > 1):
        misused("--stream shows one text as it grows: leave out --json and --batch-size.")
    flags.check_framework(framework, {"--stream": stream, "--assistant": running["assistant"]})
    made = flags.settings_of(settings, framework)
    pipe = flags.loaded(task, model, running, made, framework)
    if sys.stdin.isatty():
        note("Reading standard input: " + ("the text" if whole else "one text a line") + ", then Ctrl-D.")
    key = f"{pipe.return_name}_text"
    done = 0
    for texts in _batches(_texts(whole), running["batch_size"]):
        places = [number for number, text in enumerate(texts, start=done + 1) if text.strip()]
        options = {"streamer": _streamer(pipe.tokenizer)} if stream else {}
        results = iter(pipe([text for text in texts if text.strip()], places=places, **options))
        done += len(texts)
        for text in texts:
            result = next(results) if text.strip() else {key: ""}
            records = result if isinstance(result, list) else [result]
            if json_:
                print(json.dumps(result, ensure_ascii=False), flush=True)
            elif not stream or not text.strip():
                print("\t".join(one_line(record[key]) for record in records), flush=True)


def one_line(text: str) -> str:
    """A result that fits a line."""
    return " ".join(text.splitlines()).strip()


def _texts(whole: bool) -> Iterator[str]:
    """The inputs, each as soon as it is there."""
    if whole:
        yield _decoded(sys.stdin.buffer.read(), "").rstrip("\r\n")
        return
    for number, line in enumerate(iter(sys.stdin.buffer.readline, b""), start=1):
        yield _decoded(line, f"line {number} of ").rstrip("\r\n")


def _decoded(data: bytes, place: str) -> str:
    from seqgraft.errors import DataError

    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"Standard input must be UTF-8, but {place}it is not: {error}.") from error


def _batches(texts: Iterator[str], size: int) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _streamer(tokenizer: Any) -> Any:
    from seqgraft.generation import TextStreamer

    class Printed(TextStreamer):
        """Words on one line of stdout, whatever line breaks they bring."""

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            print(" ".join(text.splitlines()) if text.strip("\n") != text else text, end="\n" if stream_end else "")
            sys.stdout.flush()

    return Printed(tokenizer, skip_special_tokens=True)
