"""`seqgraft quantize`: a pair's folder -> the same pair with 8-bit weights."""

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from seqgraft.cli import flags
from seqgraft.cli.console import note, stderr
from seqgraft.cli.places import check_folder

EPILOG = """[bold]Examples[/bold]

seqgraft quantize summarizer --output summarizer-int8

seqgraft quantize summarizer -o summarizer-fp8 --dtype fp8

seqgraft quantize summarizer -o summarizer-int8 --skip "decoder.head.*" """


class Dtype(str, Enum):
    """What weights are stored as."""

    int8 = "int8"
    fp8 = "fp8"


def quantize(
    model: Annotated[str, typer.Argument(help="A pair's folder or hub name.", metavar="MODEL")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write.")],
    dtype: Annotated[
        Dtype, typer.Option(help="int8 computes with whole numbers on a CPU; fp8 is for GPUs.")
    ] = Dtype.int8,
    skip: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Maps that stay floats, such as 'decoder.head.*'. Repeatable."),
    ] = None,
    force: flags.Force = False,
    json_: flags.Json = False,
) -> None:
    """Give a pair 8-bit weights, and save it with its tokenizers: about a quarter of float32's size.

    On a CPU an int8 pair also answers faster, since reading weights is most of the work. Its folder opens in this
    library alone, without the float weights, and is not trained further: keep the one that it was made from.
    """
    from seqgraft.checkpoints.quantized import quantization
    from seqgraft.config import AutoConfig
    from seqgraft.errors import ConfigurationError
    from seqgraft.torch.model import EncoderDecoderModel

    check_folder(output, force=force)
    if quantization(AutoConfig.from_pretrained(model)) is not None:
        raise ConfigurationError(f"'{model}' must hold floats to be quantised, but is quantised already.")
    tokenizer = tokenizer_of(model)
    pair = EncoderDecoderModel.from_pretrained(model)
    before = _size(pair)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task("Quantising")
        pair.quantize(
            dtype.value,
            modules_to_not_convert=skip or (),
            progress=lambda _, done, total: bar.update(task, completed=done, total=total),
        )
    _save(pair, tokenizer, output)
    after = _size(pair)
    if json_:
        made = {"output": str(output), "dtype": dtype.value, "bytes_before": before, "bytes_after": after}
        print(json.dumps(made, indent=2))
        return
    from seqgraft.cli.tables import size
    from seqgraft.torch.product_int8 import described

    note(f"Weights: {size(before)} before, {size(after)} after ({before / max(after, 1):.1f} times less).")
    if dtype is Dtype.int8:
        note(f"Products on this machine's CPU: {described()}.")
    note(f"Saved {output}, which opens in seqgraft alone. Next: seqgraft run --task summarization --model {output}")


def _size(pair: Any) -> int:
    """Bytes of the parameters, shared ones once."""
    return sum(p.numel() * p.element_size() for p in pair.parameters())


def tokenizer_of(model: str) -> Any:
    """The folder's tokenizer; None, told, where it has none."""
    from seqgraft.errors import FolderError, TokenizerError
    from seqgraft.text import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model)
    except (FolderError, TokenizerError) as error:
        note(f"No tokenizer is copied: {error}", "yellow")
        return None


def _save(pair: Any, tokenizer: Any, folder: Path) -> None:
    """Model and tokenizers together, or neither."""
    import shutil

    from seqgraft.checkpoints import STALE_WEIGHTS
    from seqgraft.folders import saving
    from seqgraft.text.files import TARGET

    with saving(folder, stale=STALE_WEIGHTS) as staged:
        pair.save_pretrained(staged)
        if tokenizer is not None:
            tokenizer.save_pretrained(staged)
            if not (staged / TARGET).exists():
                shutil.rmtree(folder / TARGET, ignore_errors=True)
