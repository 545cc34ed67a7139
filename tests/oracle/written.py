"""Folders that this library writes, for the originals to open: `python -m tests.oracle.written OUT`.

Runs in the library's own environment; `opened.py` then runs in the originals'.
"""

import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.oracle import stored
from tests.oracle.cases import folder

PAIRS = ("bert+bert", "bert+gpt2", "roberta+roberta")
SHARD = "24KB"


WRITERS: dict[str, dict[str, dict[str, Any]]] = {
    "flax": {
        "flax_model.msgpack": {},
        "flax safetensors": {"safetensors": True},
        "flax shards": {"max_shard_size": SHARD},
    },
    "tf": {
        "tf_model.h5": {},
        "tf safetensors": {"safetensors": True},
        "tf shards": {"max_shard_size": SHARD},
    },
    "pt": {"safetensors": {}},
}
"""The framework whose original opens it -> kind of file -> what our writer is told."""


def write(pair: str, framework: str, kind: str, out: Path) -> Path:
    """One folder of ours, from the PyTorch folder of the case."""
    from seqgraft.checkpoints import open_weights
    from seqgraft.checkpoints.frameworks import framework_writer
    from seqgraft.checkpoints.pair_arrays import pair_tensors, read_pair
    from seqgraft.config import AutoConfig

    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        place = folder(Path(made), stored.read(pair))
        config = AutoConfig.from_pretrained(place)
        arrays = read_pair(config, open_weights(place), place)
        framework_writer(config, framework, **WRITERS[framework][kind])(out, pair_tensors(config, arrays))
        config.save_pretrained(out)
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
