"""Folders that this library writes, for the originals to open: `python -m tests.oracle.written OUT`.

Runs in the library's own environment; `opened.py` then runs in the originals'.
"""

import hashlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.oracle import stored
from tests.oracle.cases import folder

PAIRS = ("bert+bert", "bert+gpt2", "roberta+roberta")
SHARD = "24KB"


def _saved(kind: str, **told: Any) -> Callable[[Path, Path], None]:
    def save(place: Path, out: Path) -> None:
        import seqgraft

        getattr(seqgraft, kind).from_pretrained(place).save_pretrained(out, **told)

    return save


WRITERS: dict[str, dict[str, Callable[[Path, Path], None]]] = {
    "flax": {
        "flax_model.msgpack": _saved("FlaxEncoderDecoderModel", safe_serialization=False),
        "flax safetensors": _saved("FlaxEncoderDecoderModel", safe_serialization=True),
        "flax shards": _saved("FlaxEncoderDecoderModel", safe_serialization=False, max_shard_size=SHARD),
    },
    "tensorflow": {
        "tf_model.h5": _saved("TFEncoderDecoderModel", safe_serialization=False),
        "tf safetensors": _saved("TFEncoderDecoderModel", safe_serialization=True),
        "tf shards": _saved("TFEncoderDecoderModel", safe_serialization=False, max_shard_size=SHARD),
    },
    "torch": {"safetensors": _saved("EncoderDecoderModel")},
}
"""The framework whose original opens it -> kind of file -> what writes it, from one PyTorch folder."""


def write(pair: str, framework: str, kind: str, out: Path) -> Path:
    """One folder of ours."""
    with tempfile.TemporaryDirectory() as place:
        WRITERS[framework][kind](folder(Path(place) / "torch", stored.read(pair)), out)
    return out


def hashes(place: Path) -> dict[str, str]:
    """File -> digest, of all weight files in a folder and what lists them."""
    weights = [one for one in sorted(place.iterdir()) if not one.name.endswith("config.json")]
    return {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in weights}


def main() -> None:
    """Everything, one folder each."""
    out = Path(sys.argv[1])
    for pair in PAIRS:
        for framework, kinds in WRITERS.items():
            for kind in kinds:
                write(pair, framework, kind, out / pair / framework / kind)
    print(f"Written: {out}")


if __name__ == "__main__":
    main()
