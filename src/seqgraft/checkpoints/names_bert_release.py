"""The names of the original BERT release's checkpoints -> the published names of PyTorch's.

`bert/encoder/layer_0/attention/self/query/kernel` (in, out) is `bert.encoder.layer.0.attention.self.query.weight`
(https://github.com/google-research/bert).
"""

import re

_LEAVES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "output_bias": "bias",
    "output_weights": "weight",
    "word_embeddings": "word_embeddings.weight",
    "position_embeddings": "position_embeddings.weight",
    "token_type_embeddings": "token_type_embeddings.weight",
}
_OPTIMIZER = re.compile(r"(^|/)(adam_[mv]|Adam(_1)?|AdamWeightDecayOptimizer(_1)?|global_step)$")
_NUMBER = re.compile(r"(?<=/layer)_(\d+)(?=/)")


def from_bert_release(name: str) -> tuple[str, bool] | None:
    """A variable's name -> (published name, whether the axes are in the opposite order); None for an optimizer's.

    Raises ValueError for a name of another layout.
    """
    if _OPTIMIZER.search(name):
        return None
    if not name.startswith(("bert/", "cls/")):
        raise ValueError(name)
    module, _, leaf = _NUMBER.sub(r".\1", name).rpartition("/")
    return f"{module}/{_LEAVES.get(leaf, leaf)}".replace("/", "."), leaf == "kernel"
