"""The tiny pairs that the originals ran, their inputs and settings: read by both sides, needs NumPy alone.

A case is stored with the configuration that the original wrote and the shapes of its tensors; the values are drawn from
the tensors' names, so that both sides make the same folder.
"""

import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

SOURCE_VOCABULARY, TARGET_VOCABULARY = 61, 53
SOURCE_LENGTHS, TARGET_LENGTHS = (9, 6, 3), (7, 7, 4)
STEP = 1 / 32
"""Values are multiples of it: they pack well, and bfloat16 holds most of them."""

_BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 40,
}
_GPT2 = {"n_embd": 24, "n_layer": 2, "n_head": 2, "n_inner": 20, "n_positions": 40}
_BART = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 20,
    "decoder_ffn_dim": 20,
    "max_position_embeddings": 40,
    "forced_eos_token_id": None,
}
_SMALL: dict[str, dict[str, Any]] = {
    "bert": _BERT,
    "roberta": {**_BERT, "type_vocab_size": 1},
    "xlm-roberta": {**_BERT, "type_vocab_size": 1},
    "camembert": {**_BERT, "type_vocab_size": 1},
    "roberta-prelayernorm": {**_BERT, "type_vocab_size": 1},
    "electra": {**_BERT, "embedding_size": 12},
    "big_bird": {**_BERT, "attention_type": "original_full"},
    "albert": {**_BERT, "embedding_size": 12},
    "rembert": {**_BERT, "input_embedding_size": 12, "output_embedding_size": 14},
    "mpnet": _BERT,
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 20, "max_position_embeddings": 40},
    "gpt2": _GPT2,
    "bart": _BART,
}


@dataclass(frozen=True)
class Case:
    """One pair, the frameworks whose originals have it, and how many settings of generation it is asked for."""

    encoder: str
    decoder: str
    frameworks: tuple[str, ...] = ("flax", "tensorflow")
    whole: bool = False
    """Whether every setting of generation is asked for, and not `SHORT` alone."""
    pad: int = 0
    more: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def start(self) -> int:
        """The id that the decoder starts with."""
        return 2

    def halves(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Fields of both configurations."""
        same = {"pad_token_id": self.pad, "bos_token_id": self.start, "eos_token_id": None}
        return (
            {"vocab_size": SOURCE_VOCABULARY, **same, **_SMALL[self.encoder], **self.more.get("encoder", {})},
            {"vocab_size": TARGET_VOCABULARY, **same, **_SMALL[self.decoder], **self.more.get("decoder", {})},
        )

    def inputs(self) -> dict[str, np.ndarray]:
        """ids and masks [3, longest], padded at the right; labels with -100 in the middle and at the end."""
        maker = np.random.default_rng(zlib.crc32(f"{self.encoder} {self.decoder}".encode()))
        ids = maker.integers(5, SOURCE_VOCABULARY, (3, max(SOURCE_LENGTHS)))
        mask = np.arange(ids.shape[1])[None] < np.array(SOURCE_LENGTHS)[:, None]
        labels = maker.integers(5, TARGET_VOCABULARY, (3, max(TARGET_LENGTHS)))
        labels[1, 3] = -100
        counts = np.arange(labels.shape[1])[None] < np.array(TARGET_LENGTHS)[:, None]
        labels = np.where(counts, labels, -100)
        shifted = np.concatenate([np.full((3, 1), self.start), labels[:, :-1]], axis=1)
        decoder_ids = np.where(shifted == -100, self.pad, shifted)
        return {
            "input_ids": np.where(mask, ids, self.pad).astype(np.int32),
            "attention_mask": mask.astype(np.int32),
            "decoder_input_ids": decoder_ids.astype(np.int32),
            "decoder_attention_mask": (shifted != -100).astype(np.int32),
            "labels": labels.astype(np.int32),
        }


CASES = {
    "bert+bert": Case("bert", "bert", whole=True),
    "bert+gpt2": Case("bert", "gpt2", whole=True),
    "roberta+roberta": Case("roberta", "roberta", whole=True, pad=1),
    "xlm-roberta+xlm-roberta": Case("xlm-roberta", "xlm-roberta", pad=1),
    "roberta-prelayernorm+bert": Case("roberta-prelayernorm", "bert", pad=1),
    "electra+bert": Case("electra", "bert"),
    "electra+electra": Case("electra", "electra", ("flax",)),
    "distilbert+bert": Case("distilbert", "bert"),
    "albert+gpt2": Case("albert", "gpt2"),
    "big_bird+big_bird": Case("big_bird", "big_bird", ("flax",)),
    "bert+bart": Case("bert", "bart", ("flax",), pad=1),
    "camembert+rembert": Case("camembert", "rembert", ("tensorflow",), pad=1),
    "mpnet+bert": Case("mpnet", "bert", ("tensorflow",), pad=1),
}

LONGEST = 14
"""Tokens of a generated row, with the first."""
SHORT: dict[str, dict[str, Any]] = {
    "greedy": {},
    "greedy, an end": {"eos_token_id": "likely"},
    "4 beams, an end": {"num_beams": 4, "eos_token_id": "likely"},
}
SETTINGS: dict[str, dict[str, Any]] = {
    **SHORT,
    "greedy, several ends": {"eos_token_id": ["likely", "later"]},
    "greedy, a shortest length": {"eos_token_id": "likely", "min_length": 9},
    "greedy, forced first and last": {"forced_bos_token_id": 7, "forced_eos_token_id": 9},
    "greedy, ids never chosen": {"suppress_tokens": ["likely", "later"], "begin_suppress_tokens": [11, 12, 13]},
    "4 beams": {"num_beams": 4},
    "4 beams, short ones liked": {"num_beams": 4, "eos_token_id": "likely", "length_penalty": 0.3},
    "4 beams, long ones liked": {"num_beams": 4, "eos_token_id": "likely", "length_penalty": 2.5},
    "4 beams, stopping early": {"num_beams": 4, "eos_token_id": "likely", "early_stopping": True},
    "4 beams, never early": {
        "num_beams": 4,
        "eos_token_id": "likely",
        "early_stopping": "never",
        "length_penalty": 1.5,
    },
    "4 beams, a shortest length": {"num_beams": 4, "eos_token_id": "likely", "min_length": 9},
    "4 beams, 3 of them": {"num_beams": 4, "eos_token_id": "likely", "num_return_sequences": 3},
    "greedy, no pair of tokens twice": {"no_repeat_ngram_size": 2},
    "greedy, repeating costs": {"repetition_penalty": 1.8},
    "greedy, bad words": {"bad_words_ids": [["likely"], ["first", "second"]]},
    "4 beams, no pair of tokens twice": {"num_beams": 4, "eos_token_id": "likely", "no_repeat_ngram_size": 2},
    "4 beams, bad words": {"num_beams": 4, "bad_words_ids": [["likely"], ["first", "second"]]},
}
TENSORFLOW_ALONE = ("eos_token_id", "no_repeat_ngram_size", "repetition_penalty", "bad_words_ids")
"""What the Flax class ignores or refuses; of `eos_token_id`, a list."""


def in_flax(options: dict[str, Any]) -> bool:
    """Whether the original Flax class can be asked for this."""
    return not any(
        name in options and (name != "eos_token_id" or isinstance(options[name], list)) for name in TENSORFLOW_ALONE
    )


def settings(case: Case) -> dict[str, dict[str, Any]]:
    """What a case is asked to generate with."""
    return SETTINGS if case.whole else SHORT


def named(options: dict[str, Any], greedy: np.ndarray) -> dict[str, Any]:
    """The settings with ids for words: tokens that the first greedy row, [time], came by, so that they matter."""
    later = [int(one) for one in greedy[1:]]
    words = {"first": later[0], "second": later[1], "likely": later[4], "later": later[7]}

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(one) for one in value]
        return words.get(value, value) if isinstance(value, str) else value

    return {name: filled(value) for name, value in options.items()}


def values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor [shape] drawn by its PyTorch name."""
    draw = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    table = any(word in name for word in ("embeddings.weight", "wte", "wpe", "shared", "embed_tokens"))
    norm = any(word in name for word in ("LayerNorm", "layer_norm", "ln_", "layernorm")) and name.endswith(".weight")
    held = 1 + 0.2 * draw if norm else (0.6 if table else 0.35) * draw
    return (np.round(held / STEP) * STEP).astype(np.float32)


def folder(where: Path, stored: dict[str, Any]) -> Path:
    """The PyTorch folder of a stored case: its configuration and its weights."""
    from safetensors.numpy import save_file

    where.mkdir(parents=True, exist_ok=True)
    (where / "config.json").write_text(json.dumps(stored["config"]), encoding="utf-8")
    tensors = {name: values(name, tuple(shape)) for name, shape in stored["tensors"].items()}
    save_file(tensors, where / "model.safetensors", {"format": "pt"})
    return where
