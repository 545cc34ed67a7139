"""Our PyTorch pair against what the original Flax and TensorFlow classes computed: one truth for three frameworks."""

import numpy as np
import pytest
import torch

from ..oracle import compare, stored
from ..oracle.cases import CASES, LONGEST


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Name of a case -> our pair."""
    from seqgraft import EncoderDecoderModel

    held = {}

    def opened(name):
        if name not in held:
            place = compare.place(name, tmp_path_factory.mktemp("torch"))
            held[name] = EncoderDecoderModel.from_pretrained(place).eval()
        return held[name]

    return opened


@pytest.mark.parametrize(("name", "framework"), [(n, f) for f in ("flax", "tensorflow") for n in compare.cases(f)])
def test_states_and_loss(pairs, name, framework):
    inputs = {key: torch.from_numpy(one).long() for key, one in CASES[name].inputs().items()}
    with torch.no_grad():
        out = pairs(name)(**inputs, output_hidden_states=True, output_attentions=True)
    found = {
        "logits": out.logits,
        "encoder_last_hidden_state": out.encoder_last_hidden_state,
        "decoder_hidden_state": out.decoder_hidden_states[-1],
        "cross_attention": out.cross_attentions[-1],
        "loss": out.loss,
    }
    compare.same_figures(name, framework, found)


@pytest.mark.parametrize(("name", "setting"), sorted({*compare.settings("flax"), *compare.settings("tensorflow")}))
def test_tokens(pairs, name, setting):
    source, options, theirs = compare.asked(name, setting)
    source = {key: torch.from_numpy(one).long() for key, one in source.items()}
    ours = pairs(name).generate(**source, max_length=LONGEST, do_sample=False, **options)
    assert np.array_equal(compare.filled(ours, theirs, CASES[name]), theirs)


def test_gradients(pairs):
    """The whole gradient's norm: a tied table is one parameter in all three."""
    for name, framework in (("bert+bert", "flax"), ("bert+bert", "tensorflow"), ("bert+gpt2", "tensorflow")):
        model = pairs(name)
        model.zero_grad()
        model(**{key: torch.from_numpy(one).long() for key, one in CASES[name].inputs().items()}).loss.backward()
        ours = float(sum(one.grad.double().square().sum() for one in model.parameters() if one.grad is not None)) ** 0.5
        theirs = float(np.sqrt(sum(norm**2 for norm in stored.read(name)["gradients"][framework].values())))
        assert abs(ours - theirs) <= 1e-5 * theirs, (name, framework)
