"""The documentation's pipeline and its command, with only the package's name changed (and the CPU where no GPU is)."""

# ruff: noqa: E501

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import seqgraft

pytest.importorskip("seqgraft.pipelines")
pytest.importorskip("seqgraft.cli")

COMMAND = ["run", "--task", "summarization", "--model", "patrickvonplaten/bert2bert-cnn_dailymail-fp16"]
DEVICE = 0 if torch.cuda.is_available() else -1
TEXT = "Plants create energy through a process known as photosynthesis. This involves capturing sunlight and converting carbon dioxide and water into glucose and oxygen."


def test_pipeline(capsys):
    """000, 001, 002."""
    from seqgraft import pipeline

    summarizer = pipeline(
        "summarization",
        model="patrickvonplaten/bert2bert-cnn_dailymail-fp16",
        device=DEVICE
    )  # fmt: skip

    text = "Plants create energy through a process known as photosynthesis. This involves capturing sunlight and converting carbon dioxide and water into glucose and oxygen."
    print(summarizer(text))

    assert "summary_text" in capsys.readouterr().out
    [result] = summarizer(text)
    assert list(result) == ["summary_text"]
    from seqgraft import AutoTokenizer, EncoderDecoderModel

    tokenizer = AutoTokenizer.from_pretrained("patrickvonplaten/bert2bert-cnn_dailymail-fp16")
    model = EncoderDecoderModel.from_pretrained("patrickvonplaten/bert2bert-cnn_dailymail-fp16").to(summarizer.device)
    made = model.generate(**tokenizer(text, return_tensors="pt").to(model.device))
    assert result["summary_text"] == tokenizer.decode(made[0], skip_special_tokens=True)


@pytest.mark.parametrize("device", [DEVICE, None])
def test_command(device):
    """000, 001, 002: `transformers run` and `transformers-cli run`."""
    asked = [] if device is None else ["--device", str(device)]
    done = subprocess.run(
        [sys.executable, "-m", "seqgraft", *COMMAND, *asked],
        input=TEXT + "\n",
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(seqgraft.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
    from seqgraft import pipeline

    [result] = pipeline("summarization", model="patrickvonplaten/bert2bert-cnn_dailymail-fp16", device=DEVICE)(TEXT)
    assert done.stdout.split() == result["summary_text"].split()
    assert "Traceback" not in done.stderr
