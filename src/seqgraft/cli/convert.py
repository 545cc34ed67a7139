"""`seqgraft convert`: a folder of one framework -> the same model as another one's folder."""

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from seqgraft.cli import flags
from seqgraft.cli.console import note
from seqgraft.cli.places import check_folder
from seqgraft.cli.quantize import tokenizer_of

EPILOG = """[bold]Examples[/bold]

seqgraft convert summarizer --to flax --output summarizer-flax

seqgraft convert summarizer-flax --to torch -o summarizer

seqgraft convert bert-base-uncased --to tensorflow -o bert-tf --safetensors"""


_FRAMEWORKS: dict[str, Literal["pt", "tf", "flax"]] = {"torch": "pt", "flax": "flax", "tensorflow": "tf"}


class Target(str, Enum):
    """Whose files are written."""

    torch = "torch"
    flax = "flax"
    tensorflow = "tensorflow"


def convert(
    model: Annotated[str, typer.Argument(help="A folder or hub name: a pair, or one model.", metavar="MODEL")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write.")],
    to: Annotated[Target, typer.Option(help="The framework whose weight files are written.")],
    safetensors: Annotated[
        bool, typer.Option("--safetensors", help="Write safetensors with the framework's own names.")
    ] = False,
    max_shard_size: Annotated[
        str, typer.Option(metavar="SIZE", help="Larger weights are cut into several files.")
    ] = "10GB",
    force: flags.Force = False,
    json_: flags.Json = False,
) -> None:
    """Write a model of any framework's folder as another one's, bit for bit, with its settings and tokenizers.

    Which framework's files MODEL holds is seen. Flax gets flax_model.msgpack, TensorFlow tf_model.h5 (which knows no
    bfloat16: choose --safetensors), PyTorch model.safetensors. No framework is needed.
    """
    from seqgraft.checkpoints.convert import convertible
    from seqgraft.checkpoints.layout import HDF5, MSGPACK, PICKLE, SAFETENSORS, stale_weights
    from seqgraft.folders import saving

    check_folder(output, force=force)
    found, tokenizer = convertible(model), tokenizer_of(model)
    with saving(output, stale=stale_weights(None, (SAFETENSORS, PICKLE, HDF5, MSGPACK))) as staged:
        framework = _FRAMEWORKS[to.value]
        made = found.write(staged, framework, safetensors=safetensors, max_shard_size=max_shard_size)
        _copy_generation(model, found, staged)
        if tokenizer is not None:
            tokenizer.save_pretrained(staged)
    if json_:
        print(json.dumps({"output": str(output), "files": [path.name for path in made]}, indent=2))
        return
    parts = [path.name for path in made] + ["settings"] + ["tokenizers"] * (tokenizer is not None)
    note(f"Wrote {', '.join(parts)} to {output}.")


def _copy_generation(model: str, found: Any, staged: Path) -> None:
    """The generation settings of what generates."""
    from seqgraft.folders import find
    from seqgraft.generation import GenerationConfig
    from seqgraft.generation.folder import pair_generation

    if found.side is None:
        pair_generation(model, found.origin, found.config).save_pretrained(staged)
    elif find(model, "generation_config.json", found.origin) is not None:
        GenerationConfig.from_pretrained(model).save_pretrained(staged)
