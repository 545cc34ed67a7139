"""Tiny pairs of both frameworks, with the same weights."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import seqgraft
from seqgraft.tensorflow.model import TFEncoderDecoderModel

from ..families.rows import VOCABULARY, spread

BERT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 44,
    "max_position_embeddings": 64,
}
GPT2 = {
    "vocab_size": VOCABULARY,
    "n_embd": 24,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
LLAMA = {**BERT, "num_key_value_heads": 2, "pad_token_id": 0}
IDS = {"decoder_start_token_id": 2, "pad_token_id": 0, "eos_token_id": 3}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
BART = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 44,
    "decoder_ffn_dim": 44,
    "max_position_embeddings": 64,
    "dropout": 0.0,
}


def configuration(name: str) -> Any:
    """A pair's configuration: bert+bert; bert+gpt2 with a bridge; shared: its halves tied; bart; a grafted llama."""
    bert = seqgraft.BertConfig(**BERT, **NO_DROPOUT)
    if name == "bart":
        return seqgraft.EncoderDecoderConfig.from_whole(seqgraft.BartConfig(**BART))
    decoder = {
        "bert": seqgraft.BertConfig(**BERT, **NO_DROPOUT),
        "shared": seqgraft.BertConfig(**BERT, **NO_DROPOUT),
        "gpt2": seqgraft.GPT2Config(**GPT2, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0),
        "llama": seqgraft.LlamaConfig(**LLAMA),
    }[name]
    return seqgraft.EncoderDecoderConfig(encoder=bert, decoder=decoder, tie_encoder_decoder=name == "shared", **IDS)


class Pairs:
    """A pair of PyTorch, the folder that it saved, and ours of TensorFlow opened from there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.torch, self.folder = cache(self._torch), cache(self._folder)

    def _torch(self, name: str) -> Any:
        return spread(seqgraft.EncoderDecoderModel(configuration(name)), 0)

    def _folder(self, name: str) -> Path:
        self.torch(name).save_pretrained(self.root / name)
        return self.root / name

    def ours(self, name: str, **kwargs: Any) -> TFEncoderDecoderModel:
        """A new one."""
        return TFEncoderDecoderModel.from_pretrained(self.folder(name), **kwargs)


def batch(time: int = 7, target: int = 5, rows: int = 3) -> dict[str, Any]:
    """A source with padding and labels, int32 numpy."""
    random = np.random.default_rng(3)
    ids, mask = random.integers(4, VOCABULARY, (rows, time)), np.ones((rows, time))
    labels = random.integers(4, VOCABULARY, (rows, target))
    ids[1, 5:], mask[1, 5:], labels[1, 3:] = 0, 0, -100
    made = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return {name: value.astype(np.int32) for name, value in made.items()}


def torched(values: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(value)).long() for name, value in values.items()}
