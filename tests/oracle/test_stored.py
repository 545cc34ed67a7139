"""Stored expectations are those of today's inputs, small, and say what made them."""

import pytest

from tests.oracle import stored

FILES = sorted(stored.EXPECTED.glob("*.json.gz"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_input_was_changed_since(path):
    about = stored.load(path)["about"]
    assert about["inputs"] == stored.digest(about["kind"]), f"{path.name} is stale: run `{stored.COMMAND}`."


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_says_what_made_it(path):
    about = stored.load(path)["about"]
    pinned = dict(
        line.split("==") for line in stored.CONSTRAINTS.read_text(encoding="utf-8").splitlines() if "==" in line
    )
    assert about["command"] == "make oracle"
    assert about["versions"]["transformers"] == pinned["transformers"]
    for library, version in about["versions"].items():
        kept = pinned.get(library, pinned.get(library.replace("_", "-"), version))
        assert version.partition("+")[0] == kept, library


def test_they_are_small():
    assert sum(path.stat().st_size for path in stored.EXPECTED.iterdir()) < 1.5e6


def test_every_kind_is_there():
    assert {stored.load(path)["about"]["kind"] for path in FILES} == set(stored.MAKERS)


@pytest.mark.parametrize("kind", ["flax", "tensorflow"])
def test_every_parameter_is_one_of_pytorch(kind):
    """What the naming rules stand on: a parameter without a PyTorch tensor is a pooler, an idle bias or a made table."""
    known = ("pooler", "predictions/decoder/bias", "embed_positions")
    for name, one in stored.read(f"names_{kind}").items():
        for parameter, (_, holders, lies) in one.get("parameters", {}).items():
            assert holders or any(word in parameter for word in known), (name, parameter)
            assert lies != "other", (name, parameter)
