"""Every program that is timed does the same work: tiny pairs, the same tokens."""

import shutil

import pytest

from benchmarks import generate, pairs
from benchmarks.harness import OURS
from benchmarks.peers import AbsentError, opened, same_tokens

TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
TINY |= {"vocab_size": 120, "max_position_embeddings": 64}
BART = {"vocab_size": 120, "d_model": 48, "encoder_layers": 2, "decoder_layers": 2, "max_position_embeddings": 64}


@pytest.fixture(scope="module", params=["pair", "bart"])
def place(request):
    """A folder of tiny weights, and its kind."""
    found = pairs.folder(pairs.BART, **BART) if request.param == "bart" else pairs.folder("6 x 384", **TINY)
    yield request.param, found
    shutil.rmtree(found.parent)


def inputs(mixed):
    """Ids of the tiny vocabulary."""
    found = pairs.sources(5, 24, mixed=mixed)
    return type(found)(found.ids % 110 + 5, found.mask)


def agree(place, peer):
    ours = opened(OURS, place, "float32")
    for beams, mixed in ((1, False), (1, True), (3, False), (3, True)):
        given = inputs(mixed)
        expected = ours(given, 6, beams)
        assert expected.shape == (5, 6)
        assert same_tokens(expected, peer(given, 6, beams)) == "same tokens", (beams, mixed)


def test_transformers(place):
    agree(place[1], opened("transformers", place[1], "float32"))


def test_ctranslate2(place):
    kind, folder = place
    if kind == "pair":
        with pytest.raises(AbsentError, match=r"not installed|does not run a pair"):
            opened("ctranslate2", folder, "float32")
        return
    pytest.importorskip("ctranslate2")
    agree(folder, opened("ctranslate2", folder, "float32"))


@pytest.mark.long
def test_onnxruntime(place):
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name)
    agree(place[1], opened("onnxruntime", place[1], "float32"))
    given = inputs(True)
    assert opened("onnxruntime", place[1], "int8")(given, 6, 3).shape == (5, 6)


def test_a_peer_that_is_absent_is_said_and_the_others_run(place, monkeypatch):
    def absent(name, folder, precision):
        if name == "onnxruntime":
            raise AbsentError("not installed (onnx)")
        return name

    monkeypatch.setattr(generate, "opened", absent)
    said = []
    found = generate.programs(place[1], ["onnxruntime", "transformers"], "float32", said)
    assert list(found) == [OURS, "transformers"]
    assert len(said) == 1
    assert said[0].endswith("not installed (onnx).")


def test_growth_is_measured_at_the_tokens_asked_for(monkeypatch):
    monkeypatch.setattr(generate, "GROWTH", (80, 100))
    monkeypatch.setattr(pairs, "SIZES", {"tiny": {k: v for k, v in TINY.items() if k != "max_position_embeddings"}})
    monkeypatch.setattr(generate, "sources", lambda batch, longest: inputs(False))
    found = generate.growth("tiny", 2, 1)
    assert {name: len(seconds) for name, seconds in found["seconds"].items()} == {OURS: 2, "transformers": 2}
    assert all(second > 0 for seconds in found["seconds"].values() for second in seconds)
    past = [{part["name"]: part for part in parts}["own past"]["read"] for parts in found["cost"]]
    assert past[1] / past[0] == 100 / 80
