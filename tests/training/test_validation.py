"""Validation along the way: it changes nothing, keeps the best, stops in time, and is written down whole."""

import csv
import json

import pytest
import torch
import transformers

import seqgraft
from seqgraft.errors import ConfigurationError, FolderError, SeqgraftError
from seqgraft.training import curves, module
from seqgraft.training.data import TokenizedPairs
from seqgraft.training.metrics import mean_loss, pair_losses
from seqgraft.training.pairs import Pair
from seqgraft.training.special import settle_special_ids
from seqgraft.training.trainer import train
from seqgraft.training.validation import Validation

FAST = {"learning_rate": 5e-3, "new_learning_rate": 5e-3, "rows_per_batch": 3, "progress": False, "device": "cpu"}
PNG = b"\x89PNG\r\n\x1a\n"


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_losses_of_pairs_are_those_of_the_model(make, pairs):
    made = make("bert", "gpt2")
    settle_special_ids(made.model, made.tokenizer)
    data = TokenizedPairs.make(pairs, made.model, made.tokenizer)
    found = pair_losses(made.model, data, tokens_per_batch=64)
    for index, (loss, count) in enumerate(found):
        one = made.model(**data[[index]])
        assert loss / count == pytest.approx(float(one.loss.detach()), rel=1e-5)
    assert sum(loss for loss, _ in found) / sum(n for _, n in found) == pytest.approx(
        mean_loss(made.model, data), rel=1e-5
    )


def test_validation_changes_no_weight(make, pairs):
    """Dropout is drawn, and orders are shuffled, as without it; sampling in `generate` moves no random state."""

    def trained(**more):
        made = make()
        train(made.model, made.tokenizer, pairs, output=None, epochs=3, valid_pairs=pairs, **{**FAST, **more})
        return weights(made.model)

    sampled = Validation(metrics=("exact",), every=1, generation={"do_sample": True, "max_new_tokens": 4})
    assert torch.equal(trained(), trained(validation=sampled))


def test_the_best_weights_are_kept(make, pairs, tmp_path):
    made = make()
    seen = []

    class Watch(Validation):
        def run(self, model, tokenizer, data, held):
            seen.append(weights(model))
            return {"loss": [3.0, 1.0, 2.0, 4.0][len(seen) - 1]}

    plan = Watch(best="loss", every=2)
    options = {**FAST, "rows_per_batch": 6, "output": tmp_path, "valid_pairs": pairs, "validation": plan}
    result = train(made.model, made.tokenizer, pairs, epochs=8, **options)
    assert [entry["step"] for entry in result.validation] == [2, 4, 6, 8]
    assert result.best == result.validation[1]
    assert result.valid_loss == 1.0
    assert torch.equal(weights(made.model), seen[1])
    assert torch.equal(weights(seqgraft.EncoderDecoderModel.from_pretrained(tmp_path)), seen[1])
    assert not torch.equal(seen[1], seen[3])


def test_patience(make, pairs):
    values = iter([5.0, 6.0, 7.0, 6.5, 6.0, 6.0, 6.0])

    class Falling(Validation):
        def run(self, model, tokenizer, data, held):
            return {"loss": 0.0, "bleu": next(values)}

    plan = Falling(metrics=("bleu",), best="bleu", patience=2, every=1)
    made = make()
    options = {**FAST, "rows_per_batch": 6, "output": None, "valid_pairs": pairs, "validation": plan}
    result = train(made.model, made.tokenizer, pairs, epochs=50, **options)
    assert (result.stopped_early, result.steps, result.best["bleu"]) == (True, 5, 7.0)


def test_of_equal_figures_the_loss_decides(make, pairs):
    """A BLEU of 0 in the first validations neither keeps the first weights nor ends the training."""
    values = iter([(3.0, 0.0), (2.0, 0.0), (1.0, 0.0), (1.5, 0.0), (0.9, 0.0), (2.0, 1.0), (3.0, 1.0), (3.0, 1.0)])

    class Nought(Validation):
        def run(self, model, tokenizer, data, held):
            return dict(zip(("loss", "bleu"), next(values), strict=True))

    plan = Nought(metrics=("bleu",), best="bleu", patience=2, every=1)
    made = make()
    options = {**FAST, "rows_per_batch": 6, "output": None, "valid_pairs": pairs, "validation": plan}
    result = train(made.model, made.tokenizer, pairs, epochs=50, **options)
    assert (result.stopped_early, result.steps) == (True, 8)
    assert (result.best["step"], result.best["loss"]) == (6, 2.0)


def test_lightnings_loggers_are_told(make, pairs, tmp_path):
    loggers = pytest.importorskip("lightning.pytorch.loggers")
    logger = loggers.CSVLogger(tmp_path, name="", version="")
    made = make()
    options = {**FAST, "valid_pairs": pairs, "validation": Validation(every=2), "output": None, "epochs": 2}
    result = train(made.model, made.tokenizer, pairs, loggers=[logger], **options)
    with (tmp_path / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    told = {int(row["step"]): float(row["validation/loss"]) for row in rows if row["validation/loss"]}
    assert told == {int(entry["step"]): pytest.approx(entry["loss"], rel=1e-6) for entry in result.validation}
    first = next(row for row in rows if row["train/loss"])
    assert float(first["train/loss"]) == pytest.approx(result.curve[0]["loss"], abs=1e-4)
    assert float(first["train/target_tokens_per_second"]) > 0
    assert "rows_per_batch: " in (tmp_path / "hparams.yaml").read_text(encoding="utf-8")


def test_resumed_validation_goes_on(make, pairs, tmp_path, monkeypatch):
    """Killed after a checkpoint and resumed: the history, the best and the weights are those of an undisturbed run."""
    plan = Validation(metrics=("exact",), best="loss", every=1, generation={"max_new_tokens": 3})
    options = {**FAST, "epochs": 4, "valid_pairs": pairs, "validation": plan, "checkpoint_every": 2}
    whole, part = make(), make()
    expected = train(whole.model, whole.tokenizer, pairs, output=tmp_path / "whole", **options)
    true, calls = module.token_loss, []

    def dies(*arguments, **more):
        calls.append(1)
        if len(calls) > 5:
            raise RuntimeError("killed")
        return true(*arguments, **more)

    monkeypatch.setattr(module, "token_loss", dies)
    with pytest.raises(RuntimeError, match="killed"):
        train(part.model, part.tokenizer, pairs, output=tmp_path / "part", **options)
    monkeypatch.setattr(module, "token_loss", true)
    again = make()
    result = train(again.model, again.tokenizer, pairs, output=tmp_path / "part", resume=True, **options)
    named = [{n: v for n, v in entry.items() if n != "seconds"} for entry in result.validation]
    assert named == [{n: v for n, v in entry.items() if n != "seconds"} for entry in expected.validation]
    assert torch.equal(weights(again.model), weights(whole.model))


def test_messages(make, pairs):
    for how, message in (
        ({"best": "bleu"}, "must be measured, one of loss"),
        ({"metrics": ("meteor",)}, "must be of rouge"),
        ({"patience": 0}, "`patience` must be at least 1"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            Validation(**how)
    made = make()
    with pytest.raises(ConfigurationError, match="needs `valid_pairs`"):
        train(made.model, made.tokenizer, pairs, output=None, validation=Validation(every=1), **FAST)


def test_the_folder_is_complete_and_opens_everywhere(make, pairs, tmp_path):
    made = make()
    out = tmp_path / "out"
    plan = Validation(metrics=("rouge", "perplexity"), best="rougeL", generation={"max_new_tokens": 5})
    about = {"recipe": "warm-start", "data": ["pairs.jsonl"], "command": "seqgraft train pair -d pairs.jsonl"}
    options = {**FAST, "epochs": 3, "valid_pairs": pairs, "validation": plan, "about": about, "max_source_length": 8}
    result = train(made.model, made.tokenizer, pairs, output=out, tensorboard=tmp_path / "board", **options)
    assert (out / "training.png").read_bytes().startswith(PNG)
    with (out / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    losses = [(int(row["step"]), float(row["validation_loss"])) for row in rows if row["validation_loss"]]
    assert losses == [(entry["step"], entry["loss"]) for entry in result.validation]
    assert [float(r["train_loss"]) for r in rows if r["train_loss"]] == [point["loss"] for point in result.curve]
    card = (out / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    for text in ("6 pairs to train on (`pairs.jsonl`)", "Howard & Ruder 2018", "| new |", "```bash\nseqgraft train"):
        assert text in card
    assert f"| {result.best['rougeL']:.4g} |" in card
    settings = json.loads((out / "training.json").read_text())["settings"]
    assert settings["validation"]["best"] == "rougeL"
    assert seqgraft.pipeline("text2text-generation", model=str(out), device=-1)("the cat", max_new_tokens=3)
    theirs = transformers.EncoderDecoderModel.from_pretrained(out)
    assert theirs.num_parameters() > 0
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = events.EventAccumulator(str(tmp_path / "board")).Reload()
    assert [(one.step, pytest.approx(one.value, rel=1e-6)) for one in board.Scalars("validation/loss")] == losses


def test_nothing_is_half_written(make, pairs, tmp_path, monkeypatch):
    made = make()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(curves, "write_picture", full)
    with pytest.raises(FolderError, match=r"out' must be written.*No space.*step-0000000001.ckpt, is whole: --resume"):
        train(made.model, made.tokenizer, pairs, output=tmp_path / "out", checkpoint_every=1, **FAST)
    assert not list(tmp_path.rglob("*.safetensors"))
    assert not list(tmp_path.rglob("README.md"))


def poisoned(make):
    """A model whose loss is nan where the source holds one word, and the pairs to train on."""
    made = make()
    settle_special_ids(made.model, made.tokenizer)
    made.model.encoder.embed.weight.data[made.tokenizer.convert_tokens_to_ids("blue")] = float("nan")
    held = [Pair("the red cat", "cat", "a.jsonl:1"), Pair("a blue dog", "dog", "a.jsonl:2"),
            Pair("a big tree", "tree", "b.jsonl:9"), Pair("the small mat", "mat", "b.jsonl:12")]  # fmt: skip
    return made, held


def test_a_loss_that_is_no_number_names_its_pair(make, tmp_path):
    made, held = poisoned(make)
    options = {**FAST, "rows_per_batch": 4, "check": False}
    with pytest.raises(SeqgraftError, match=r"is nan at step 1\. It comes from a\.jsonl:2 .*nothing was saved"):
        train(made.model, made.tokenizer, held, output=tmp_path / "out", **options)
    assert not (tmp_path / "out" / "model.safetensors").exists()
    made.model.decoder.embed.weight.data.fill_(float("nan"))
    with pytest.raises(SeqgraftError, match=r"pairs are a\.jsonl:1, a\.jsonl:2, b\.jsonl:9 and 1 more"):
        train(made.model, made.tokenizer, held, output=None, **options)


def test_steps_without_a_finite_loss_are_left_out_where_that_is_asked_for(make):
    made, held = poisoned(make)
    options = {**FAST, "rows_per_batch": 1, "tokens_per_batch": None, "check": False, "skip_bad": True}
    before = weights(made.model)
    result = train(made.model, made.tokenizer, held, output=None, epochs=2, freeze=["encoder.*"], **options)
    assert (result.broken_steps, result.steps) == (2, 8)
    assert "2 steps without a finite loss" in result.notes[-1]
    assert all(torch.isfinite(p).all() for n, p in made.model.named_parameters() if n != "encoder.embed.weight")
    assert not torch.equal(weights(made.model), before)
    made.model.decoder.embed.weight.data.fill_(float("nan"))
    with pytest.raises(SeqgraftError, match="at step 11"):
        train(made.model, made.tokenizer, held, output=None, epochs=9, **options)
