"""What the frameworks' checks on several devices share: each runs in a process of its own, which makes its devices."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import seqgraft

ROOT = Path(__file__).parents[2]
IDS = np.random.default_rng(0).integers(4, 64, (8, 6)).astype(np.int32)
LABELS = np.random.default_rng(1).integers(4, 64, (8, 5)).astype(np.int32)
HALF = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
}


def configuration(**more):
    """A pair's, both halves alike."""
    half = seqgraft.BertConfig(**HALF, **more)
    return seqgraft.EncoderDecoderConfig(
        encoder=half, decoder=half, decoder_start_token_id=1, pad_token_id=0, eos_token_id=2
    )


def check(module, name, **environment):
    """Run `python -m module name`; it says on its error stream what was wrong."""
    done = subprocess.run(
        [sys.executable, "-m", module, name],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
