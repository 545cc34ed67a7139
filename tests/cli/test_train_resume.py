"""`seqgraft train` where a checkpoint is."""

import json

import pytest

from ..pipelines.tiny import TEXTS

checkpoints = pytest.importorskip("seqgraft.training.checkpoints")
trainer = pytest.importorskip("seqgraft.training.trainer")
FLAGS = ("--max-steps", 4, "--rows-per-batch", 5, "--device", "cpu", "--no-check", "--checkpoint-every", 2, "--json")


@pytest.fixture
def data(tmp_path):
    file = tmp_path / "pairs.jsonl"
    rows = [{"source": text, "target": " ".join(text.split()[:2])} for text in TEXTS * 4]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_a_training_that_failed_goes_on(seqgraft, folder, data, tmp_path, monkeypatch):
    true, out = trainer.save_folder, tmp_path / "out"

    def fails(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trainer, "save_folder", fails)
    assert seqgraft("train", folder, "-d", data, "-o", out, *FLAGS).exit_code == 1
    monkeypatch.setattr(trainer, "save_folder", true)
    assert checkpoints.latest(out).name == "step-0000000002.ckpt"
    refused = seqgraft("train", folder, "-d", data, "-o", out, *FLAGS)
    assert refused.exit_code == 1
    assert "--resume" in refused.stderr
    resumed = seqgraft("train", folder, "-d", data, "-o", out, "--resume", *FLAGS)
    assert resumed.exit_code == 0, resumed.stderr
    told = json.loads(resumed.stdout)
    assert told["steps"] == 4
    assert "Resumed from step 2." in told["notes"]
    assert not (out / checkpoints.FOLDER).exists()
    afresh = seqgraft("train", folder, "-d", data, "-o", tmp_path / "afresh", "--resume", *FLAGS)
    assert afresh.exit_code == 0, afresh.stderr  # there is nothing to resume: from the start
    one, two = ((place / "model.safetensors").read_bytes() for place in (out, tmp_path / "afresh"))
    assert one == two
    assert seqgraft("train", folder, "-d", data, "-o", out, "--resume", *FLAGS).exit_code == 1  # a model is there


def test_force_begins_anew(seqgraft, folder, data, tmp_path):
    place = tmp_path / "out" / checkpoints.FOLDER / "step-0000000001.ckpt"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"nothing")
    out = ("-o", tmp_path / "out")
    assert "cannot be read" in seqgraft("train", folder, "-d", data, *out, "--resume", *FLAGS).stderr
    done = seqgraft("train", folder, "-d", data, *out, "--force", *FLAGS)
    assert done.exit_code == 0, done.stderr
    assert not place.exists()
