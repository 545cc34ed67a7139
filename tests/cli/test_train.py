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
    """A flag without a default leaves the value to the recipe, and an option of `train` without a flag is named."""
    from enum import Enum

    from seqgraft.cli.train import options

    own = {name: p.default for name, p in inspect.signature(options).parameters.items()}
    own = {name: value.value if isinstance(value, Enum) else value for name, value in own.items()}
    assert own.pop("no_dropout") is False
    theirs = {n: p.default for n, p in inspect.signature(trainer.train).parameters.items() if p.default is not p.empty}
    assert set(own) < set(theirs)
    assert {name: value for name, value in own.items() if value is not None} == {
        name: theirs[name] for name, value in own.items() if value is not None
    }
    given_otherwise = {"valid_pairs", "progress", "dropout", "validation", "about", "tell", "lora", "loggers"}
    assert set(theirs) - set(own) - given_otherwise == set()


def test_train(seqgraft, folder, data, tmp_path):
    out = tmp_path / "trained"
    flags = ("--max-steps", 60, "--rows-per-batch", 5, "--epochs", 40, "--learning-rate", 0.003, "--no-dropout")
    done = seqgraft("train", folder, "-d", data, "--valid", data, "-o", out, *flags, "--device", "cpu", "--json")
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["steps"] == 60
    assert 60 * 2 < result["pairs"] <= 60 * 5
    assert result["valid_loss"] < result["curve"][0]["loss"] / 2
    assert result["best"]["loss"] == result["valid_loss"] == min(entry["loss"] for entry in result["validation"])
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


def test_recipes_rates_and_what_is_shown(seqgraft, folder, data, tmp_path):
    flags = ("--max-steps", 2, "--rows-per-batch", 4, "--device", "cpu", "--recipe", "two-optimizers")
    rates = ("--lr", "decoder.*.cross_attention.*=0.002,warmup=0.2", "--freeze", "encoder.embed.*")
    done = seqgraft("train", folder, "-d", data, "-o", tmp_path / "out", *flags, *rates)
    assert done.exit_code == 0, done.stderr
    lines = [line.split() for line in done.stderr.splitlines()]
    cross = next(line for line in lines if line and line[0] == "decoder.*.cross_attention.*")
    assert cross[2:] == ["trained", "0.002,", "warm-up", "20%"]
    assert [line[2] for line in lines if line and line[0] == "encoder.*"] == ["trained", "frozen"]
    settings = json.loads((tmp_path / "out" / "training.json").read_text())["settings"]
    assert settings["adam_beta2"] == 0.999
    assert settings["label_smoothing"] == 0.1
    assert settings["rates"][-1] == "decoder.*.cross_attention.*=0.002,warmup=0.2"
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Liu & Lapata 2019" in card
    assert "| decoder.*.cross_attention.* |" in card
    refused = seqgraft("train", folder, "-d", data, "-o", tmp_path / "no", "--recipe", "best")
    assert (refused.exit_code, "must be one of warm-start, two-optimizers" in refused.stderr) == (1, True)
    refused = seqgraft("train", folder, "-d", data, "-o", tmp_path / "no", "--lr", "encoder.nothing*=1")
    assert (refused.exit_code, "'encoder.nothing*' does not match any" in refused.stderr) == (1, True)
    assert not (tmp_path / "no").exists()


def test_validation_keeps_the_best_and_is_written_down(seqgraft, folder, data, tmp_path):
    out = tmp_path / "out"
    flags = ("--epochs", 3, "--rows-per-batch", 20, "--device", "cpu", "--validation-fraction", 0.3, "--json")
    measured = ("--metrics", "rouge,exact,perplexity", "--best", "rougeL", "--patience", 9, "--save-dtype", "float16")
    done = seqgraft("train", folder, "-d", data, "-o", out, *flags, *measured)
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["training_pairs"] + result["validation_pairs"] == 20
    assert len(result["validation"]) == 3
    assert result["best"] in result["validation"]
    assert result["best"]["rougeL"] == max(entry["rougeL"] for entry in result["validation"])
    rows = (out / "metrics.csv").read_text().splitlines()
    assert "validation_rougeL" in rows[0]
    assert sum(1 for row in rows[1:] if not row.endswith(",,,,,,")) >= 3
    assert library.EncoderDecoderModel.from_pretrained(out).dtype.itemsize == 2
    for flag in (("--metrics", "bleu"), ("--best", "loss"), ("--patience", 2)):
        done = seqgraft("train", folder, "-d", data, "-o", tmp_path / "no", *flag)
        assert (done.exit_code, "needs --validation" in done.stderr) == (2, True)
    done = seqgraft("train", folder, "-d", data, "-o", tmp_path / "no", "--valid", data, "--best", "bleu")
    assert (done.exit_code, "must be measured, one of loss" in done.stderr) == (1, True)


def test_halves_from_scratch_and_bad_lines(seqgraft, folder, data, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text(data.read_text() + '{"source": "x"}\n' + json.dumps({"source": "word " * 99, "target": "a"}) + "\n")
    flags = ("--max-steps", 1, "--device", "cpu", "--init", "encoder=scratch")
    done = seqgraft("train", folder, "-d", bad, "-o", tmp_path / "out", *flags)
    assert (done.exit_code, f"{bad}:21: must have the field 'target'" in done.stderr) == (1, True)
    assert not (tmp_path / "out").exists()
    done = seqgraft("train", folder, "-d", bad, "-o", tmp_path / "out", *flags, "--skip-bad")
    assert done.exit_code == 0, done.stderr
    assert "2 bad pairs were left out" in done.stderr
    assert f"{bad}:22: the source must have at most {LONGEST} tokens" in done.stderr
    assert "The encoder starts from scratch" in done.stderr
    assert json.loads((tmp_path / "out" / "config.json").read_text())["encoder"]["new_parameters"] == ["*"]
    assert seqgraft("train", folder, "-d", bad, "-o", tmp_path / "no", "--init", "head=scratch").exit_code == 2


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


def test_a_configuration_and_a_tokenizer_are_enough_to_start_from_scratch(seqgraft, folder, data, tmp_path):
    """Without `--init scratch` the missing weights are an error; with it the model has the reference's tensors."""
    import transformers

    start = tmp_path / "start"
    library.AutoTokenizer.from_pretrained(folder).save_pretrained(start)
    sizes = {f"{side}_{name}": 8 if name == "ffn_dim" else 1 for side in ("encoder", "decoder") for name in _MARIAN}
    config = transformers.MarianConfig(**sizes, d_model=8, vocab_size=99, decoder_start_token_id=0, pad_token_id=0)
    config.eos_token_id = config.forced_eos_token_id = 3
    config.save_pretrained(start)
    flags = ("--rows-per-batch", 10, "--device", "cpu", "--valid", data)
    flags += ("--average-checkpoints", 2, "--average-every", 1)
    done = seqgraft("train", start, "-d", data, "-o", tmp_path / "no", *flags)
    assert (done.exit_code, "weights" in done.stderr) == (1, True)
    done = seqgraft("train", start, "-d", data, "-o", tmp_path / "out", *flags, "--init", "scratch", "--seed", 3)
    assert done.exit_code == 0, done.stderr
    wanted = sum(p.numel() for p in transformers.MarianMTModel(config).parameters() if p.requires_grad)
    assert f"{wanted + config.vocab_size:,} random parameters" in " ".join(done.stderr.split())
    found, how = transformers.MarianMTModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(how[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert float(found.model.shared.weight.detach().std()) == pytest.approx(config.init_std, rel=0.2)
    assert json.loads((tmp_path / "out" / "training.json").read_text())["result"]["averaged"] == [1, 2]
    done = seqgraft("train", start, "-d", data, "-o", tmp_path / "no", *flags, "--init", "scratch", "--best", "loss")
    assert (done.exit_code, "`average_checkpoints` keeps the mean" in " ".join(done.stderr.split())) == (1, True)


_MARIAN = ("layers", "attention_heads", "ffn_dim")
