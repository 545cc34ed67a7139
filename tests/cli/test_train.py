"""`seqgraft train`."""

import inspect
import json

import pytest

import seqgraft as library

from ..pipelines.tiny import LONGEST, TEXTS

trainer = pytest.importorskip("seqgraft.training.trainer")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = [{"source": text, "target": " ".join(text.split()[:2])} for text in TEXTS * 4]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_flags_have_the_names_and_defaults_of_train():
    from enum import Enum

    from seqgraft.cli.train import options

    own = {name: p.default for name, p in inspect.signature(options).parameters.items()}
    own = {name: value.value if isinstance(value, Enum) else value for name, value in own.items()}
    assert own.pop("no_dropout") is False
    assert own.pop("freeze") is None
    theirs = {n: p.default for n, p in inspect.signature(trainer.train).parameters.items() if p.default is not p.empty}
    for name in ("valid_pairs", "progress", "dropout", "freeze"):
        theirs.pop(name)
    assert own == theirs


def test_train(seqgraft, folder, data, tmp_path):
    out = tmp_path / "trained"
    flags = ("--max-steps", 60, "--rows-per-batch", 5, "--epochs", 40, "--learning-rate", 0.003, "--no-dropout")
    done = seqgraft("train", folder, "-d", data, "--valid", data, "-o", out, *flags, "--device", "cpu", "--json")
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["steps"] == 60
    assert result["pairs"] == 60 * 5
    assert result["valid_loss"] < result["curve"][0]["loss"] / 2
    assert "20 pairs, 20 held out." in done.stderr
    assert "step 60" in done.stderr  # progress is no result
    settings = json.loads((out / "training.json").read_text())["settings"]
    assert (settings["learning_rate"], settings["dropout"]) == (0.003, False)
    model = library.EncoderDecoderModel.from_pretrained(out)
    assert model.generation_config.max_new_tokens == LONGEST - 1
    assert f"at most {LONGEST - 1} tokens" in done.stderr
    again = seqgraft("run", "-t", "summarization", "-m", out, stdin="\n".join(TEXTS))
    assert again.exit_code == 0
    assert again.stderr == ""


def test_train_shows_what_it_did(seqgraft, folder, data, tmp_path):
    flags = ("--max-steps", 2, "--rows-per-batch", 2, "--device", "cpu", "--freeze", "encoder.*", "--decay", "constant")
    done = seqgraft("train", folder, "-d", data, "-d", data, "-o", tmp_path / "out", *flags)
    assert done.exit_code == 0, done.stderr
    assert "2 with 4 pairs" in done.stdout
    assert "40 pairs." in done.stderr
    assert f"Saved {tmp_path / 'out'}" in done.stderr
    settings = json.loads((tmp_path / "out" / "training.json").read_text())["settings"]
    assert settings["freeze"] in (["encoder.*"], ("encoder.*",))
    assert settings["decay"] == "constant"


def test_interrupted_training_is_saved_and_told(seqgraft, folder, data, tmp_path, monkeypatch):
    train = trainer.train

    def interrupted(*arguments, **options):
        result = train(*arguments, **options)
        result.interrupted = True
        return result

    monkeypatch.setattr(trainer, "train", interrupted)
    done = seqgraft("train", folder, "-d", data, "-o", tmp_path / "out", "--max-steps", 1, "--device", "cpu")
    assert done.exit_code == 130
    assert (tmp_path / "out" / "model.safetensors").exists()
    assert "is saved" in done.stderr


def test_refusals_come_before_the_work(seqgraft, folder, bert, data, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    done = seqgraft("train", folder, "-d", data, "-o", tmp_path / "full")
    assert done.exit_code == 1
    assert "--force" in done.stderr
    out = ("-o", tmp_path / "out")
    assert "not there" in seqgraft("train", folder, "-d", tmp_path / "no.jsonl", *out).stderr
    done = seqgraft("train", folder, "-d", data, "--source-field", "body", "--target-field", "target", *out)
    assert done.exit_code == 1
    assert f"{data}:1" in done.stderr
    assert "'body'" in done.stderr
    done = seqgraft("train", bert, "-d", data, *out)
    assert done.exit_code == 1
    assert "encoder-decoder" in done.stderr
    assert seqgraft("train", folder, "-d", data, *out, "--decay", "sudden").exit_code == 2
    assert seqgraft("train", folder, "-d", data, *out, "--device", "99").exit_code == 1
    assert not (tmp_path / "out").exists()
