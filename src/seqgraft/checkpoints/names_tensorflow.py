"""TensorFlow's names and layouts of published tensors, as the classes of `transformers` 4.57.6 give them:
`bert.encoder.layer.0.output.dense.weight` (out, in) is `bert/encoder/layer_._0/output/dense/kernel:0` (in, out).

Files put a level before them, the class (`tf_bert_model/`), which readers take away again. A safetensors file has the
names without it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seqgraft.checkpoints.kinds import Kind

_SCOPE = re.compile(r"(?:(?<=/)|^)[^/]*___([^/]*)(?=/)")
_ONE_LEVEL = re.compile(r"(^|\.)shared\.weight$")
_EMBEDDINGS = ("esm",)
"""Families whose `word_embeddings` is an ordinary Keras table; the others' has its own kind, with a `weight`."""
_WEIGHTS = ("flaubert", "gptj", "openai-gpt", "opt", "xglm", "xlm", "xlnet")
"""Families whose table of tokens has that kind, though it is not called `word_embeddings`."""
_TOKENS = ("embeddings", "wte", "tokens_embed", "embed_tokens", "word_embedding")
_NUMBERED = {"layers": ".", "ffn": "/"}
"""What stands between these lists and a layer's number, where it is not `_._`."""
_OUTPUTS_AS_TABLES = ("rembert",)
"""Families whose output table is not turned."""


def to_tensorflow(name: str, kind: Kind, model_type: str) -> tuple[str, bool]:
    """A published name, the encoder's with its body's prefix -> (name without the class, whether axes are reversed)."""
    module, _, leaf = name.rpartition(".")
    if _ONE_LEVEL.search(name):  # a table of both halves is outside of them
        return f"{module}/embeddings:0", False
    last = module.rpartition(".")[2]
    if leaf == "weight":
        leaf = _leaf(last, kind, model_type)
    elif leaf == "bias" and kind == "norm":
        leaf = "beta"
    if last == "rel_embeddings" and leaf == "embeddings":  # one variable of the layer above (DeBERTa)
        module, leaf = module.rpartition(".")[0], "rel_embeddings.weight"
    return (f"{_slashed(module)}/{leaf}:0" if module else f"{leaf}:0"), leaf == "kernel"


def _leaf(last: str, kind: Kind, model_type: str) -> str:
    if kind == "map":
        return "weight" if model_type in _OUTPUTS_AS_TABLES and last == "decoder" else "kernel"
    if kind == "table":
        own = last == "word_embeddings" and model_type not in _EMBEDDINGS
        return "weight" if own or (model_type in _WEIGHTS and last in _TOKENS) else "embeddings"
    return "gamma" if kind == "norm" else "weight"


def _slashed(module: str) -> str:
    """`a.layer.0.b` -> `a/layer_._0/b`, and `layers.0` as it is: both are how Keras layers of a list are called."""
    made: list[str] = []
    for part in module.split("."):
        if part.isdecimal() and made:
            made[-1] += f"{_NUMBERED.get(made[-1], '_._')}{part}"
        else:
            made.append("mlm___cls" if part == "cls" else part)
    return "/".join(made)


def leveled(name: str, model: str = "tf_model") -> str:
    """A variable's name with the class before it, as single files and indices have it."""
    if "/" not in name:
        return name
    return in_shard(name) if "." in name.partition("/")[0] else f"{model}/{name}"


def in_shard(name: str) -> str:
    """A variable's name without the class, as shards and safetensors have it: `model.shared` is named twice there."""
    first = name.partition("/")[0]
    return f"{first}/{name}" if "." in first else name


def from_tensorflow(name: str, *, leveled: bool) -> tuple[str, bool]:
    """A variable's name -> (published name, whether the axes are in the opposite order there).

    `leveled`: the class stands before it.
    """
    parts = _SCOPE.sub(r"\1", name.removesuffix(":0")).replace("_._", "/").split("/")
    if len(parts) > 1 and (leveled or ("." in parts[0] and parts[0] == parts[1])):  # `model.shared` is named twice
        parts = parts[1:]
    leaf = parts[-1]
    modern = {"kernel": "weight", "embeddings": "weight", "gamma": "weight", "beta": "bias"}.get(leaf, leaf)
    return ".".join([*parts[:-1], modern]), leaf == "kernel"
