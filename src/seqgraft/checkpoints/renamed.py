"""The names and layouts of other frameworks' files -> PyTorch's: a matter of headers alone, no data is read."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from seqgraft.checkpoints.headers import Header, turned
from seqgraft.checkpoints.names_bert_release import from_bert_release
from seqgraft.checkpoints.names_flax import from_flax
from seqgraft.checkpoints.names_tensorflow import from_tensorflow
from seqgraft.errors import CheckpointError

Reading = Callable[[str], tuple[str, bool] | None]
"""A stored name -> (published name, whether the axes are in the opposite order); None for what is no weight."""


def reading(format: str | None, *, leveled: bool) -> Reading | None:
    """How names are read of a file that says it is of this format: pt, tf, flax, bert; None where they are published.

    `leveled`: TensorFlow's names have the class before them.
    """
    if format == "tf":
        return lambda name: from_tensorflow(name, leveled=leveled)
    return {"flax": from_flax, "bert": from_bert_release}.get(format or "pt")


def published(headers: Mapping[str, Header], how: Reading, file: Path) -> dict[str, Header]:
    """The headers of a file by their published names, and in the published layout."""
    found: dict[str, Header] = {}
    for stored, header in headers.items():
        try:
            place = how(stored)
        except ValueError:
            raise CheckpointError(
                f"{file} must have the original BERT release's names (bert/... and cls/...), but names '{stored}': "
                "checkpoints of other layouts are read as tf_model.h5 or safetensors alone."
            ) from None
        if place is None:
            continue
        name, reverse = place
        if name in found:
            raise CheckpointError(f"{file} must name every tensor once, but '{stored}' is a second '{name}'.")
        if name.endswith(".bias") and len(header.shape) == 2 and header.shape[0] == 1:  # of TensorFlow's `Conv1D`
            header = replace(header, shape=header.shape[1:], strides=header.strides and header.strides[1:])
        found[name] = turned(header) if reverse else header
    return found
