"""What 8-bit weights cost: the measures against torch, rouge-score and the normal law; the command on a tiny pair."""

import json
import math

import pytest
import torch

from benchmarks import quantized
from seqgraft import AutoTokenizer, EncoderDecoderModel
from seqgraft.training.data import TokenizedPairs
from seqgraft.training.metrics import mean_loss, rouge

from ..pipelines.tiny import TEXTS, bert_pair

PAIRS = [(text, text.split(" ", 1)[1]) for text in TEXTS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return bert_pair(tmp_path_factory.mktemp("pair"))


def opened(folder):
    model, tokenizer = EncoderDecoderModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    return model, TokenizedPairs.make(PAIRS, model, tokenizer, max_source_length=24, max_target_length=16)


def test_a_model_does_not_move_from_itself(folder):
    model, data = opened(folder)
    found = quantized.moved(model, model, data)
    assert (found.divergence, found.agreement) == (0, 1)
    assert found.loss[0] == found.loss[1] == pytest.approx(mean_loss(model, data), rel=1e-5)


def test_how_far_it_moves(folder):
    """Pair by pair, by torch's own divergence."""
    model, data = opened(folder)
    other = EncoderDecoderModel.from_pretrained(folder)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    sums, same, tokens = 0.0, 0, 0
    for row in range(len(PAIRS)):
        batch = data[[row]]
        with torch.no_grad():
            one, two = (m(**batch).logits[0].double().log_softmax(-1) for m in (model, other))
        assert bool((batch["labels"] != -100).all())
        sums += float(torch.nn.functional.kl_div(two, one, log_target=True, reduction="sum"))
        same += int((one.argmax(-1) == two.argmax(-1)).sum())
        tokens += len(one)
    found = quantized.moved(model, other, data, rows=2)
    assert found.tokens == tokens
    assert found.divergence == pytest.approx(sums / tokens, rel=1e-4)
    assert found.divergence > 1e-4
    assert found.agreement == pytest.approx(same / tokens)
    assert found.loss[1] == pytest.approx(mean_loss(other, data), rel=1e-5)


def test_rouge_of_each_text():
    made, references = ["a plant makes light", "water", "the model"], ["the plant makes light", "light", "the model"]
    means = quantized.rouge_each(made, references).mean(0).tolist()
    assert dict(zip(quantized.KINDS, means, strict=True)) == pytest.approx(rouge(made, references))


def test_the_interval_is_that_of_the_normal_law():
    differences = torch.randn(2000, 2, generator=torch.Generator().manual_seed(1), dtype=torch.double) + 1
    low, high = quantized.interval(differences)
    error = differences.std(0) / math.sqrt(2000)
    for bound, away in ((low, -1.96), (high, 1.96)):
        assert torch.allclose((bound - differences.mean(0)) / error, torch.tensor(away, dtype=torch.double), atol=0.1)


def test_the_command(folder, tmp_path, capsys):
    lines = [json.dumps({"source": source, "target": target}) for source, target in PAIRS]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    given = [str(folder), str(tmp_path / "pairs.jsonl"), "--beams", "1,2", "--max-source-length", "24"]
    assert quantized.main([*given, "--max-new-tokens", "5", "--json", str(tmp_path / "out.json")]) == 0
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["pairs"] == len(PAIRS)
    assert 0 < figures["divergence"] < 0.1
    assert set(figures["rouge"]) == {f"{kind}, {beams}" for kind in quantized.KINDS for beams in (1, 2)}
    for one in figures["rouge"].values():
        assert one["interval"][0] <= one["quantised"] - one["float"] <= one["interval"][1]
    assert "2 beams: the same text for" in capsys.readouterr().out


def test_the_example_measures_what_it_held_out(tmp_path):
    rows = [{"source": f"s {i}", "target": "t", "module": f"module{i}"} for i in range(40)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    held = quantized.pairs_of(tmp_path / "pairs.jsonl")
    assert 0 < len(held) < 20
    (tmp_path / "plain.jsonl").write_text("\n".join(json.dumps({"source": r["source"], "target": "t"}) for r in rows))
    assert len(quantized.pairs_of(tmp_path / "plain.jsonl")) == 40
