"""What families since Llama ask of fresh weights, gates and scalings that no table of names shows."""

from typing import Any

import pytest
import torch

from seqgraft import AutoConfig
from seqgraft.torch.auto import model_class

from ..families.rows import BY_NAME
from .test_grafts import INPUTS, compose, opened


def test_fresh_norms_multiply_by_one() -> None:
    """Gemma stores its weights minus one."""
    for model_type, value in (("gemma2", 0.0), ("olmo2", 1.0)):
        config = AutoConfig.for_model(model_type, **BY_NAME[model_type].config)
        model = model_class(BY_NAME[model_type].causal)(config)
        norms = {n: p for n, p in model.named_parameters() if n.endswith("norm.weight")}
        assert len(norms) >= 7
        assert all(bool((p == value).all()) for p in norms.values())


@pytest.mark.parametrize("name", ["gemma2", "glm4", "olmo2", "exaone4", "llama"])
@torch.no_grad()
def test_a_gate_opens_little_by_little(made: Any, name: str) -> None:
    """Also where a norm follows the block: a gate before it would be open as soon as it is not shut."""
    pair = compose(made, BY_NAME[name])
    shut = pair(**INPUTS).logits
    moved = [float((opened(pair, value)(**INPUTS).logits - shut).abs().max()) for value in (1e-4, 1e-3, 0.8)]
    assert 0 < moved[0] < 1e-2
    assert 5 * moved[0] < moved[1] < 20 * moved[0]
    assert moved[2] > 50 * moved[1]
