"""`seqgraft doctor`: whether a pair works as a pair, before it costs a training run."""

import json
from typing import Annotated

import typer
from rich.console import Console

from seqgraft.cli import flags
from seqgraft.cli.console import FAILED, note

EPILOG = """[bold]Examples[/bold]

seqgraft doctor my-pair

seqgraft doctor my-pair --tokenizer bert-base-cased --target-tokenizer gpt2 --json"""


def doctor(
    model: Annotated[str, typer.Argument(help="A pair's folder or hub name.", metavar="MODEL")],
    tokenizer: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder or hub name; by default the model's.")
    ] = None,
    target_tokenizer: Annotated[
        str | None, typer.Option(metavar="DIR", help="Of the targets, where it is another one.")
    ] = None,
    json_: flags.Json = False,
) -> None:
    """Check that a pair works: the encoder is seen, the future is not, padding and caching change nothing, all learns.

    Special ids, vocabularies, lengths and ties are held against the tokenizers. Ends with 1 if a check fails, and says
    what to do. Takes seconds; `seqgraft train` does the same before its first step.
    """
    from seqgraft.errors import FolderError, TokenizerError
    from seqgraft.text import AutoTokenizer
    from seqgraft.torch.model import EncoderDecoderModel

    opened = None
    try:
        opened = AutoTokenizer.from_pretrained(tokenizer or model)
    except (FolderError, TokenizerError) as error:
        if tokenizer is not None:
            raise
        note(f"No tokenizer was found, so what the ids mean in it is not checked: {error}")
    target = None if target_tokenizer is None else AutoTokenizer.from_pretrained(target_tokenizer)
    report = EncoderDecoderModel.from_pretrained(model).check(opened, target)
    if json_:
        print(json.dumps({"source": model, **report.to_dict()}, indent=2, ensure_ascii=False))
    else:
        Console(highlight=False).print(report)
    if not report.passed:
        count = len(report.failures)
        note(f"{count} of {len(report.findings)} checks failed: {', '.join(f.name for f in report.failures)}.")
        raise typer.Exit(FAILED)
