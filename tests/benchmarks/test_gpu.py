"""The GPU benchmark in miniature, on the CPU: it runs, agrees and writes down what it promises."""

import json

import pytest
import torch

import seqgraft
from benchmarks import cost, gpu


@pytest.mark.parametrize("size", ["BERT-base", "T5-large"])
def test_in_miniature(size, tmp_path, monkeypatch):
    written = tmp_path / "gpu.json"
    asked = f"gpu --tiny --device cpu --size {size} --batch 1,2 --beams 1,2 --new 6 --rounds 1 --no-compiled"
    monkeypatch.setattr("sys.argv", [*asked.split(), "--json", str(written)])
    gpu.main()
    found = json.loads(written.read_text())
    assert found["checked"] == "same tokens as on a CPU"
    assert found["bandwidth"] > 0
    assert [(one["extra"]["batch"], one["extra"]["beams"]) for one in found["lines"]] == [
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
    ]
    for line in found["lines"]:
        assert set(line["seconds"]) == {"seqgraft", "seqgraft, step by step", "transformers"}
        assert line["agree"] == "same tokens"
        assert set(line["extra"]["fraction_of_bandwidth"]) == set(line["seconds"])
    assert found["absent"] == []


def test_a_peer_that_fails_is_named(monkeypatch):
    said = []

    def fails(*arguments):
        raise ValueError("no static cache here\nand more")

    running = {gpu.OURS: lambda *arguments: None, gpu.COMPILED: fails}
    assert set(gpu.able(running, torch.zeros(1, 1), 2, 1, said, "a line")) == set(running) == {gpu.OURS}
    assert said == ["transformers, compiled, a line: ValueError: no static cache here"]


def test_bytes_of_a_step():
    """Weights once, whatever the rows, and both caches, each in bf16: counted by hand of a small decoder."""
    half = seqgraft.BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=50
    )
    with torch.device("meta"):
        pair = seqgraft.EncoderDecoderModel(seqgraft.EncoderDecoderConfig(encoder=half, decoder=half))
    weights = 8 * 8 * 4 + 2 * 8 * 8 + 2 * 8 * 16 + 8 * 8 + 50 * 8
    past, source, batch, beams = 5, 7, 3, 2
    cached = 2 * 8 * (past * batch * beams + source * batch)
    assert gpu.step_bytes(pair.decoder.spec, batch, source, beams, past, 2) == 2 * (weights + cached)
    assert cost.CACHED == 4
