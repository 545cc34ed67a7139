"""`train`: what it learns is what `generate` writes; bounds, folders, interrupts, messages."""

import io
import json
import os
import re
import signal
import time

import pytest
import torch
from rich.console import Console

import seqgraft
from seqgraft.errors import ConfigurationError, DataError, FolderError, SeqgraftError
from seqgraft.training import module, progress, schedule
from seqgraft.training.groups import is_new, rate_groups
from seqgraft.training.metrics import generate_texts
from seqgraft.training.trainer import train

FAST = {"learning_rate": 5e-3, "new_learning_rate": 5e-3, "rows_per_batch": 6, "dropout": False, "progress": False}


@pytest.mark.parametrize(("encoder", "decoder"), [("bert", "bert"), ("bert", "gpt2"), ("bart", "bart")])
def test_learns_what_generate_then_writes(make, pairs, tmp_path, encoder, decoder):
    made = make(encoder, decoder)
    epochs = 250 if decoder == "bart" else 150  # it writes letters, after a frame of its own
    result = train(made.model, made.tokenizer, pairs, output=tmp_path, epochs=epochs, valid_pairs=pairs, **FAST)
    assert result.valid_loss < 0.1
    assert (result.steps, result.pairs, result.interrupted) == (epochs, 6 * epochs, False)
    model = seqgraft.EncoderDecoderModel.from_pretrained(tmp_path)
    tokenizer = seqgraft.AutoTokenizer.from_pretrained(tmp_path)
    written = generate_texts(model, tokenizer, [source for source, _ in pairs], max_new_tokens=30)
    assert written == [target for _, target in pairs]
    told = json.loads((tmp_path / "training.json").read_text())
    assert told["settings"]["epochs"] == epochs
    assert told["result"]["valid_loss"] == result.valid_loss


def test_two_runs_are_equal_and_another_seed_is_not(make, pairs):
    def weights(seed):
        made = make()
        torch.seed()
        options = {**FAST, "rows_per_batch": 2, "dropout": True}
        train(made.model, made.tokenizer, pairs, output=None, epochs=2, seed=seed, **options)
        return torch.cat([p.detach().flatten() for p in made.model.parameters()])

    first = weights(1)
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))


def test_bounds(make, pairs):
    made = make()
    assert train(made.model, made.tokenizer, pairs, output=None, max_steps=3, epochs=9, **FAST).steps == 3
    before = time.monotonic()
    result = train(made.model, made.tokenizer, pairs, output=None, max_minutes=0.01, epochs=10**6, **FAST)
    assert 0.5 <= result.seconds < 1.5
    assert time.monotonic() - before < 5
    accumulated = train(made.model, made.tokenizer, pairs, output=None, accumulate=3, **{**FAST, "rows_per_batch": 1})
    assert (accumulated.steps, accumulated.pairs) == (2, 6)


def test_freezing_and_rates(make, pairs):
    made = make()
    before = {name: p.detach().clone() for name, p in made.model.named_parameters()}
    train(made.model, made.tokenizer, pairs, output=None, freeze=["encoder.*", "decoder.embed.*"], **FAST)
    changed = {name for name, p in made.model.named_parameters() if not torch.equal(p, before[name])}
    assert "decoder.layers.0.cross_attention.key.weight" in changed
    assert not any(name.startswith(("encoder.", "decoder.embed.")) for name in changed)
    assert all(p.requires_grad and p.grad is None for p in made.model.parameters())
    assert not made.model.training
    groups = rate_groups(made.model, rate=1.0, new_rate=2.0, decay=0.5)
    new = sum(p.numel() for group in groups if group["lr"] == 2.0 for p in group["params"])
    assert new == sum(p.numel() for name, p in made.model.named_parameters() if name in is_new(made.model))
    assert {"decoder.layers.1.cross_attention.query.bias", "decoder.head.dense.weight"} <= is_new(made.model)
    assert all((group["weight_decay"] > 0) == (p.dim() > 1) for group in groups for p in group["params"])
    with pytest.raises(ConfigurationError, match="nothing"):
        train(made.model, made.tokenizer, pairs, output=None, freeze=["nothing*"], **FAST)


@pytest.fixture
def ctrl_c(monkeypatch):
    """Presses Ctrl-C as often as asked while the step of this number is computed."""

    def at(step, times=1):
        calls, true = [], module.token_loss

        def pressed(*args, **kwargs):
            calls.append(step)
            for _ in range(times if len(calls) == step else 0):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.05)
            return true(*args, **kwargs)

        monkeypatch.setattr(module, "token_loss", pressed)

    return at


def test_ctrl_c_keeps_what_was_learned(make, pairs, tmp_path, ctrl_c):
    made = make()
    handler = signal.getsignal(signal.SIGINT)
    ctrl_c(3)
    result = train(made.model, made.tokenizer, pairs, output=tmp_path, epochs=9, **FAST)
    assert (result.interrupted, result.steps) == (True, 3)
    assert signal.getsignal(signal.SIGINT) is handler
    again = seqgraft.EncoderDecoderModel.from_pretrained(tmp_path)
    assert torch.equal(again.decoder.embed.weight, made.model.decoder.embed.weight)


def test_second_ctrl_c_leaves_the_old_folder_whole(make, pairs, tmp_path, ctrl_c):
    made = make()
    made.model.save_pretrained(tmp_path)
    made.tokenizer.save_pretrained(tmp_path)
    held = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    handler = signal.getsignal(signal.SIGINT)
    ctrl_c(1, times=2)
    with pytest.raises(KeyboardInterrupt):
        train(made.model, made.tokenizer, pairs, output=tmp_path, **FAST)
    assert signal.getsignal(signal.SIGINT) is handler
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == held


def test_interrupted_while_saving(make, pairs, tmp_path, monkeypatch):
    made = make()
    made.model.save_pretrained(tmp_path)
    held = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def cut(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(made.tokenizer), "save_pretrained", cut)
    with pytest.raises(KeyboardInterrupt):
        train(made.model, made.tokenizer, pairs, output=tmp_path, **FAST)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == held


def test_loss_that_is_no_number(make, pairs, tmp_path):
    made = make()
    made.model.decoder.embed.weight.data.fill_(float("nan"))
    with pytest.raises(SeqgraftError, match="must be a finite number, but is nan at step 1"):
        train(made.model, made.tokenizer, pairs, output=tmp_path / "out", check=False, **FAST)
    with pytest.raises(ConfigurationError, match=r"preflight.*\n.*logits are not finite"):
        train(made.model, made.tokenizer, pairs, output=tmp_path / "out", **FAST)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"warmup": 1.0}, ConfigurationError, "warmup"),
        ({"decay": "cosine"}, ConfigurationError, "decay"),
        ({"max_minutes": 0}, ConfigurationError, "max_minutes"),
        ({"epochs": 0}, ConfigurationError, "epochs"),
        ({"precision": "int8"}, ConfigurationError, "precision"),
        ({"device": "nowhere"}, ConfigurationError, "device"),
        ({"max_target_length": 1}, ConfigurationError, "max_target_length"),
        ({"valid_pairs": []}, DataError, "there are none"),
    ],
)
def test_messages(make, pairs, options, kind, message):
    made = make()
    with pytest.raises(kind, match=message):
        train(made.model, made.tokenizer, pairs, output=None, **{**FAST, **options})


def test_output_that_cannot_be_written(make, pairs, tmp_path):
    made = make()
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="is a file"):
        train(made.model, made.tokenizer, pairs, output=tmp_path / "file", **FAST)
    (tmp_path / "old" / "target_tokenizer").mkdir(parents=True)
    with pytest.raises(FolderError, match="target_tokenizer"):
        train(made.model, made.tokenizer, pairs, output=tmp_path / "old", **FAST)


def test_says_little_and_what_matters(make, pairs, capfd, caplog):
    made = make()
    result = train(made.model, made.tokenizer, pairs, output=None, **{**FAST, "progress": True})
    out, error = capfd.readouterr()
    assert out.startswith("step 1/1  loss ")
    assert "target tokens/s" in out
    assert out.count("\n") == 1
    assert error == ""
    assert not [record for record in caplog.records if record.name.startswith(("lightning", "pytorch_lightning"))]
    assert "decoder_start_token_id = 2 (cls_token)" in result.notes[0]


def test_bar_in_a_terminal(make, pairs, monkeypatch):
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=100)
    monkeypatch.setattr(progress, "Console", lambda **_: console)
    made = make()
    options = {**FAST, "progress": True, "rows_per_batch": 2}
    train(made.model, made.tokenizer, pairs, output=None, epochs=5, **options)
    told = r"Training .*step 15/15  loss \d\.\d{3}  [\d,]+ target tokens/s  0:00 left  \d+\.\d% padding"
    assert re.search(told, shown.getvalue())


def test_bfloat16_learns(make, pairs):
    made = make()
    result = train(
        made.model, made.tokenizer, pairs, output=None, epochs=60, valid_pairs=pairs, precision="bfloat16", **FAST
    )
    assert result.valid_loss < 0.5
    assert made.model.dtype is torch.float32


def test_half_precision_weights_are_widened(make, pairs):
    made = make()
    made.model.half()
    result = train(made.model, made.tokenizer, pairs, output=None, epochs=2, **FAST)
    assert made.model.dtype is torch.float32
    assert "The weights were float16" in result.notes[-1]
    assert result.curve


def test_schedule():
    for decay in ("linear", "inverse_sqrt", "constant"):
        assert schedule.factor(0.05, warmup=0.1, decay=decay) == pytest.approx(0.5)
        assert schedule.factor(0.1, warmup=0.1, decay=decay) == pytest.approx(1.0)
    assert schedule.factor(0.55, warmup=0.1, decay="linear") == pytest.approx(0.5)
    assert schedule.factor(0.4, warmup=0.1, decay="inverse_sqrt") == pytest.approx(0.5)
    assert schedule.factor(1.0, warmup=0.1, decay="linear") == 0
    assert schedule.factor(0.9, warmup=0.1, decay="constant") == 1


def test_time_left(monkeypatch):
    budget = schedule.Budget(100, minutes=1.0)
    budget.start()
    monkeypatch.setattr(budget, "seconds", lambda: 15.0)
    assert budget.seconds_left(10) == pytest.approx(45)  # minutes bound it: 90 steps would take 135 s
    assert budget.seconds_left(90) == pytest.approx(15 / 9)  # steps do: 10 are left
    assert budget.done(10) == pytest.approx(0.25)
    assert budget.done(90) == pytest.approx(0.9)
