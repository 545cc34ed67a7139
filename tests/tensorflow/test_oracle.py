"""TensorFlow pairs against the original TensorFlow classes: what `make oracle` stored of them."""

import numpy as np
import pytest

from ..oracle import compare, stored
from ..oracle.cases import CASES, LONGEST

tf = pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Name of a case -> our pair, opened from the same PyTorch folder."""
    import seqgraft

    held = {}

    def opened(name):
        if name not in held:
            place = compare.place(name, tmp_path_factory.mktemp("tensorflow"))
            held[name] = seqgraft.TFEncoderDecoderModel.from_pretrained(place)
        return held[name]

    return opened


def given(name):
    return {key: tf.constant(one) for key, one in CASES[name].inputs().items()}


@pytest.mark.parametrize("name", compare.cases("tensorflow"))
def test_states_and_loss(pairs, name):
    out = pairs(name)(**given(name), output_hidden_states=True, output_attentions=True, training=False)
    assert out.loss.shape == (1,)
    found = {
        "logits": out.logits,
        "encoder_last_hidden_state": out.encoder_last_hidden_state,
        "decoder_hidden_state": out.decoder_hidden_states[-1],
        "cross_attention": out.cross_attentions[-1],
        "loss": out.loss,
    }
    compare.same_figures(name, "tensorflow", found)


@pytest.mark.parametrize("name", compare.cases("tensorflow"))
def test_gradients(pairs, name):
    """Norms, the largest first: our variables are named canonically, and a stacked one is several here."""
    model = pairs(name)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(**given(name), training=False).loss)
    found = [one for one in tape.gradient(loss, model.trainable_variables) if one is not None]
    ours = np.sqrt(sum(float(np.square(tf.convert_to_tensor(one).numpy()).sum()) for one in found))
    theirs = np.sqrt(sum(norm**2 for norm in stored.read(name)["gradients"]["tensorflow"].values()))
    assert abs(ours - theirs) <= 1e-4 * theirs
    each = sorted(float(np.linalg.norm(tf.convert_to_tensor(one))) for one in found)
    stacked = "gpt2" in name
    if not stacked:
        used = sorted(norm for norm in stored.read(name)["gradients"]["tensorflow"].values() if norm > 0)
        assert np.allclose(each[-len(used) :], used, atol=1e-4 * theirs)


@pytest.mark.parametrize(("name", "setting"), compare.settings("tensorflow"))
def test_tokens(pairs, name, setting):
    """Those of the original's PyTorch class; `test_originals_agree` says where its TensorFlow class makes the same."""
    source, options, theirs = compare.asked(name, setting)
    source = {key: tf.constant(one) for key, one in source.items()}
    ours = pairs(name).generate(**source, max_length=LONGEST, do_sample=False, **options)
    ours = getattr(ours, "sequences", ours)
    assert np.array_equal(compare.filled(ours, theirs, CASES[name]), theirs)
