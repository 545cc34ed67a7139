"""Files that the originals write for tiny pairs. Only `make oracle` imports this."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.oracle.cases import CASES, SOURCE_VOCABULARY, folder, values
from tests.oracle.originals import described, opened

PAIRS = ("bert+bert", "bert+gpt2", "roberta+roberta")
SHARDED = "bert+gpt2"
SHARD = "24KB"
PLAIN: dict[str, tuple[str, dict[str, Any]]] = {
    "flax_model.msgpack": ("flax", {}),
    "flax safetensors": ("flax", {"safe_serialization": True}),
    "tf_model.h5": ("tensorflow", {}),
    "tf safetensors": ("tensorflow", {"safe_serialization": True}),
}
SHARDS: dict[str, tuple[str, dict[str, Any]]] = {
    "flax shards": ("flax", {"max_shard_size": SHARD}),
    "tf shards": ("tensorflow", {"max_shard_size": SHARD}),
    "tf safetensors shards": ("tensorflow", {"max_shard_size": SHARD, "safe_serialization": True}),
}
"""Kind of file -> the framework that writes it, and what it is told."""


def written(pair: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """One pair in every kind of file: the case as it is stored, and the bytes by `kind/file name`."""
    held = described(CASES[pair])
    files: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as place:
        models = opened(folder(Path(place) / "torch", held))
        for kind, (framework, told) in (PLAIN | (SHARDS if pair == SHARDED else {})).items():
            where = Path(place) / kind
            models[framework].save_pretrained(where, **told)
            files |= {f"{kind}/{one.name}": one.read_bytes() for one in sorted(where.iterdir()) if _weights(one)}
        if pair == SHARDED:
            held["saved_model"] = _signature(models["tensorflow"], Path(place) / "saved")
    return held, files


def _weights(path: Path) -> bool:
    return path.name not in ("config.json", "generation_config.json")


def _signature(model: Any, where: Path) -> dict[str, Any]:
    """What `saved_model=True` lets be called: name -> inputs and outputs with shapes and types."""
    import tensorflow as tf

    try:
        model.save_pretrained(where, saved_model=True)
    except Exception as error:  # kept: what users of the original had
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    loaded = tf.saved_model.load(str(where / "saved_model" / "1"))
    found = {}
    for name, function in loaded.signatures.items():
        _, inputs = function.structured_input_signature
        found[name] = {
            "inputs": {key: [_shape(one), one.dtype.name] for key, one in sorted(inputs.items())},
            "outputs": {key: [_shape(one), one.dtype.name] for key, one in sorted(function.structured_outputs.items())},
        }
    return found


def _shape(one: Any) -> list[int | None]:
    return list(one.shape)


BERT = {
    "vocab_size": SOURCE_VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 40,
}


def index_checkpoint() -> tuple[dict[str, Any], dict[str, bytes]]:
    """BERT's first release: `model.ckpt.*` of the whole pretraining model, with an optimizer's slots and its step.

    The variables have the names and the (in, out) kernels of that release (Devlin et al. 2019, `modeling.py`). That
    the layout is right is seen by the original's own converter: what it reads equals what was written.
    """
    import tensorflow as tf
    import torch
    import transformers
    from transformers.models.bert.modeling_bert import load_tf_weights_in_bert

    config = transformers.BertConfig(**BERT)
    model = transformers.BertForPreTraining(config)
    tied = ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias")
    wanted = {
        name: values(name, tuple(tensor.shape))
        for name, tensor in model.state_dict().items()
        if name not in tied and tensor.is_floating_point()
    }
    with tempfile.TemporaryDirectory() as place:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            for name, array in wanted.items():
                theirs, turned = _released(name)
                kept = tf.compat.v1.get_variable(theirs, initializer=array.T if turned else array)
                if name.endswith("word_embeddings.weight"):
                    for slot in ("adam_m", "adam_v"):
                        tf.compat.v1.get_variable(f"{theirs}/{slot}", initializer=np.zeros(kept.shape, np.float32))
            tf.compat.v1.get_variable("global_step", initializer=np.int64(1000))
            session.run(tf.compat.v1.global_variables_initializer())
            tf.compat.v1.train.Saver().save(session, f"{place}/model.ckpt", write_meta_graph=False)
        load_tf_weights_in_bert(model, config, f"{place}/model.ckpt")
        for name, array in wanted.items():
            if not np.array_equal(model.state_dict()[name].numpy(), array):
                raise ValueError(f"{name}: the original's converter reads something else.")
        assert torch.equal(model.cls.predictions.bias.data, torch.from_numpy(wanted["cls.predictions.bias"]))
        files = {f"model.ckpt/{one.name}": one.read_bytes() for one in sorted(Path(place).iterdir())}
        variables = {name: list(shape) for name, shape in tf.train.list_variables(f"{place}/model.ckpt")}
    shapes = {name: list(array.shape) for name, array in wanted.items()}
    text = json.loads(config.to_json_string(use_diff=True))
    return {"config": text, "tensors": shapes, "variables": variables}, files


def _released(name: str) -> tuple[str, bool]:
    """A PyTorch name -> the release's, and whether the matrix is (in, out) there."""
    path, _, leaf = name.replace("encoder.layer.", "encoder.layer_").rpartition(".")
    path = path.replace(".", "/")
    if path.endswith("LayerNorm"):
        return f"{path}/{'gamma' if leaf == 'weight' else 'beta'}", False
    if path.endswith("_embeddings"):
        return path, False
    if path in ("cls/predictions", "cls/seq_relationship"):
        return f"{path}/{'output_weights' if leaf == 'weight' else 'output_bias'}", False
    return (f"{path}/kernel", True) if leaf == "weight" else (f"{path}/bias", False)
