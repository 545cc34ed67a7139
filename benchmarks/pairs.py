"""The pairs that the benchmarks run: random weights in two published sizes, the same in every program."""

import tempfile
from pathlib import Path
from typing import Any

import torch

import seqgraft

SIZES = {
    "6 x 384": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "BERT-base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
START, PAD = 101, 0


def folder(size: str, **changes: Any) -> Path:
    """A saved pair of this size, made once a run.

    Its deviation is that of larger weights than fresh ones, so that greedy choices are clear and no rounding decides.
    """
    torch.manual_seed(0)
    half = {**SIZES[size], "initializer_range": 0.05, **changes}
    config = seqgraft.EncoderDecoderConfig(
        encoder=seqgraft.BertConfig(**half),
        decoder=seqgraft.BertConfig(**half),
        decoder_start_token_id=START,
        pad_token_id=PAD,
    )
    place = Path(tempfile.mkdtemp(prefix="seqgraft-benchmark-")) / size.replace(" ", "")
    seqgraft.EncoderDecoderModel(config).save_pretrained(place)
    return place


def reference() -> Any:
    """`transformers`, silent."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers
