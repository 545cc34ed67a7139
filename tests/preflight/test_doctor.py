"""`seqgraft doctor`, and the same before training."""

import json

import pytest

import seqgraft as library
from seqgraft.errors import ConfigurationError

from ..cli.conftest import folder, seqgraft, two  # noqa: F401
from .test_check import made


def test_a_sound_folder(seqgraft, folder, two):  # noqa: F811
    for place in (folder, two):
        done = seqgraft("doctor", place)
        assert done.exit_code == 0, done.stdout + done.stderr
        assert "cache" in done.stdout
        assert "FAILED" not in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_folder_with_a_fault(seqgraft, folder, tmp_path):  # noqa: F811
    model = library.EncoderDecoderModel.from_pretrained(folder)
    model.config.pad_token_id = 7
    model.save_pretrained(tmp_path)
    library.AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    done = seqgraft("doctor", tmp_path)
    assert done.exit_code == 1
    assert "FAILED" in done.stdout
    assert "1 of 10 checks failed: special ids." in done.stderr
    report = json.loads(seqgraft("doctor", tmp_path, "--json").stdout)
    assert not report["passed"]
    assert [f["name"] for f in report["findings"] if f["passed"] is False] == ["special ids"]
    assert seqgraft("doctor", tmp_path / "nowhere").exit_code == 1


def test_without_a_tokenizer(seqgraft, folder, tmp_path):  # noqa: F811
    library.EncoderDecoderModel.from_pretrained(folder).save_pretrained(tmp_path)
    done = seqgraft("doctor", tmp_path)
    assert done.exit_code == 0, done.stdout
    assert "No tokenizer was found" in done.stderr
    assert seqgraft("doctor", tmp_path, "--tokenizer", folder).exit_code == 0


def test_training_asks_first():
    from seqgraft.training.trainer import train

    pair = made()
    pair.model.config.pad_token_id = 7
    texts = [("the cat sat", "cat"), ("a dog ran", "dog")]
    with pytest.raises(ConfigurationError, match=r"preflight(.|\n)*pad_token_id is 7"):
        train(pair.model, pair.tokenizer, texts, output=None, max_steps=1, freeze=["encoder.*"], device="cpu")
    assert all(parameter.requires_grad for parameter in pair.model.parameters())
    asked = {"output": None, "max_steps": 1, "device": "cpu", "progress": False}
    assert train(pair.model, pair.tokenizer, texts, check=False, **asked).steps == 1
