"""Flax pairs against the original Flax classes: states, loss, gradients and tokens that `make oracle` stored."""

import numpy as np
import pytest

from ..oracle import compare, stored
from ..oracle.cases import CASES, LONGEST

pytest.importorskip("jax")
pytest.importorskip("flax")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Name of a case -> our pair, opened from the same PyTorch folder."""
    import seqgraft

    held = {}

    def opened(name):
        if name not in held:
            place = compare.place(name, tmp_path_factory.mktemp("flax"))
            held[name] = seqgraft.FlaxEncoderDecoderModel.from_pretrained(place)
        return held[name]

    return opened


def flat(tree, before=""):
    """Nested dictionaries -> path with slashes -> array."""
    if not hasattr(tree, "items"):
        return {before: np.asarray(tree)}
    return {key: one for name, part in tree.items() for key, one in flat(part, f"{before}/{name}".strip("/")).items()}


@pytest.mark.parametrize("name", compare.cases("flax"))
def test_states_and_loss(pairs, name):
    out = pairs(name)(**CASES[name].inputs(), output_hidden_states=True, output_attentions=True)
    found = {
        "logits": out.logits,
        "encoder_last_hidden_state": out.encoder_last_hidden_state,
        "decoder_hidden_state": out.decoder_hidden_states[-1],
        "cross_attention": out.cross_attentions[-1],
        "loss": out.loss,
    }
    compare.same_figures(name, "flax", found)


@pytest.mark.parametrize("name", compare.cases("flax"))
def test_parameters_have_the_published_names(pairs, name):
    """The tree is the original's: the same paths and shapes, so that trees go from one class to the other."""
    ours = {path: tuple(one.shape) for path, one in flat(pairs(name).params).items()}
    theirs = stored.read(name)["parameters"]["flax"]
    assert {path: tuple(shape) for path, shape in theirs.items() if "pooler" not in path} == {
        path: shape for path, shape in ours.items() if "pooler" not in path
    }


@pytest.mark.parametrize("name", compare.cases("flax"))
def test_gradients(pairs, name):
    import jax

    model, inputs = pairs(name), CASES[name].inputs()
    found = jax.grad(lambda params: model(**inputs, params=params).loss)(model.params)
    compare.same_gradients(name, "flax", flat(found))


@pytest.mark.parametrize(("name", "setting"), compare.settings("flax"))
def test_tokens(pairs, name, setting):
    """Those of the original's PyTorch class; `test_originals_agree` says where its Flax class makes the same."""
    source, options, theirs = compare.asked(name, setting)
    ours = pairs(name).generate(**source, max_length=LONGEST, do_sample=False, **options).sequences
    assert np.array_equal(compare.filled(ours, theirs, CASES[name]), theirs)
