"""Tiny pairs as numpy arrays, written as folders without any framework."""

from pathlib import Path

import numpy as np

from seqgraft.checkpoints.frameworks import framework_writer
from seqgraft.checkpoints.initial import fresh
from seqgraft.checkpoints.opening import open_pair
from seqgraft.checkpoints.pair_arrays import HalfArrays, PairArrays, fresh_bridge, pair_tensors, read_pair
from seqgraft.checkpoints.written import written_pair
from seqgraft.config import EncoderDecoderConfig, config_class
from seqgraft.families import family
from seqgraft.folders import write_json
from seqgraft.spec import parameters

SIZES = {
    "bert": {"vocab_size": 61, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 20, "max_position_embeddings": 24},
    "electra": {"vocab_size": 61, "embedding_size": 12, "hidden_size": 16, "num_hidden_layers": 2,
                "num_attention_heads": 2, "intermediate_size": 20, "max_position_embeddings": 24},
    "gpt2": {"vocab_size": 53, "n_embd": 24, "n_layer": 2, "n_head": 2, "n_inner": 20, "n_positions": 24},
    "llama": {"vocab_size": 53, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
              "num_key_value_heads": 1, "intermediate_size": 20, "max_position_embeddings": 24},
    "bart": {"vocab_size": 61, "d_model": 16, "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 20,
             "encoder_attention_heads": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 20},
    "t5": {"vocab_size": 61, "d_model": 16, "d_kv": 8, "d_ff": 20, "num_layers": 2, "num_heads": 2,
           "decoder_start_token_id": 0},
}  # fmt: skip
PAIRS = ("bert+bert", "bert+gpt2", "electra+bert", "bert+llama", "gpt2+bert", "bart", "t5")


def a_pair(name: str, **fields) -> tuple[EncoderDecoderConfig, PairArrays]:
    """A pair, or a published encoder-decoder, with fresh weights: biases and norms that differ from one another too."""
    halves = [config_class(one)(**{**SIZES[one], **fields}) for one in name.split("+")]
    config = (
        EncoderDecoderConfig(encoder=halves[0], decoder=halves[1])
        if len(halves) == 2
        else EncoderDecoderConfig.from_whole(halves[0])
    )
    made = []
    for side in ("encoder", "decoder"):
        half = getattr(config, side)
        spec = family(half.model_type).half(side).spec(half)
        made.append(HalfArrays(fresh(spec, parameters(spec), seed=len(made))))
        for number, array in enumerate(made[-1].arrays.values()):
            array += np.float32(number / 8)
    if config.whole is not None:
        made[0].arrays["embed.weight"] = made[1].arrays["embed.weight"]
    return config, PairArrays(*made, fresh_bridge(config))


def written(folder: Path, name: str, framework: str = "pt", **how) -> dict[str, np.ndarray]:
    """Its folder in a framework's files; returns its published tensors."""
    config, pair = a_pair(name, **how.pop("fields", {}))
    tensors = pair_tensors(config, pair)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", written_pair(config, "float32"))
    framework_writer(config, framework, **how)(folder, tensors)
    return tensors


def opened(folder: Path, **how) -> dict[str, np.ndarray]:
    """A folder's published tensors, read through canonical names."""
    found = open_pair(folder, None, how)
    return pair_tensors(found.config, read_pair(found.config, found.files, folder))


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Whether they hold the same names, shapes, dtypes and bits."""
    return set(one) == set(other) and all(
        one[n].dtype == other[n].dtype
        and one[n].shape == other[n].shape
        and np.ascontiguousarray(one[n]).tobytes() == np.ascontiguousarray(other[n]).tobytes()
        for n in one
    )
