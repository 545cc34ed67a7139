"""A training that was killed and resumed equals one that was not; its checkpoints are whole or not there."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

import seqgraft
from seqgraft.errors import ConfigurationError, FolderError
from seqgraft.training import checkpoints, module
from seqgraft.training.trainer import train
from seqgraft.training.validation import Validation

from .conftest import PAIRS
from .test_exact import sixty_four, weights

OPTIONS = {
    "rows_per_batch": 2,
    "accumulate": 2,
    "epochs": 4,
    "learning_rate": 5e-3,
    "warmup": 0.2,
    "seed": 5,
    "checkpoint_every": 3,
    "progress": False,
    "check": False,
}
"""Six pairs: two steps an epoch, of two batches and of one; dropout is on."""
STEPS = 8
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is killed")


def run(make, output, **changes):
    made = make()
    torch.seed()  # what is random does not come from here
    result = train(made.model, made.tokenizer, PAIRS, output=output, **{**OPTIONS, **changes})
    return result, weights(made.model)


def killed(make, output, calls, monkeypatch, **changes):
    """Train in a process of its own that is killed while it computes the loss for the `calls`-th time."""
    child = os.fork()
    if not child:
        counted, true = [], module.token_loss

        def kill(*arguments, **options):
            counted.append(1)
            if len(counted) == calls:
                os.kill(os.getpid(), signal.SIGKILL)
            return true(*arguments, **options)

        monkeypatch.setattr(module, "token_loss", kill)
        try:
            run(make, output, **changes)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


def same(found, wanted):
    (result, held), (other, kept) = found, wanted
    assert set(held) == set(kept)
    for name, value in kept.items():
        assert torch.equal(held[name], value), name
    for name in ("steps", "pairs", "target_tokens", "train_loss", "validation", "valid_loss"):
        mine, theirs = getattr(result, name), getattr(other, name)
        if name == "validation":
            mine, theirs = ([{k: v for k, v in entry.items() if k != "seconds"} for entry in h] for h in (mine, theirs))
        assert mine == theirs, name
    timeless = [[(entry["step"], entry["loss"]) for entry in r.curve] for r in (result, other)]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize("calls", range(1, 13))
def test_killed_at_any_batch(make, tmp_path, monkeypatch, calls):
    wanted = run(make, None)
    killed(make, tmp_path, calls, monkeypatch)
    before = checkpoints.latest(tmp_path)
    batches = calls - 1  # that were computed, three of them two steps
    steps = batches // 3 * 2 + (batches % 3 == 2)
    assert (before is None) == (steps < 3)
    found = run(make, tmp_path, resume=True)
    same(found, wanted)
    told = any(f"Resumed from step {steps // 3 * 3}" in note for note in found[0].notes)
    assert told == (before is not None)
    assert checkpoints.latest(tmp_path) is None
    assert not (tmp_path / checkpoints.FOLDER).exists()
    again = seqgraft.EncoderDecoderModel.from_pretrained(tmp_path)
    assert torch.equal(again.decoder.embed.weight, wanted[1]["decoder.embed.weight"])


def test_killed_twice_with_validation_and_constant_rates(make, tmp_path, monkeypatch):
    """Batches drop out in threads of their own; what is measured and which weights are best is kept as well."""
    held = {"valid_pairs": PAIRS[:3], "validation": Validation(every=2, best="loss"), "decay": "inverse_sqrt"}
    wanted = run(make, None, **held)
    killed(make, tmp_path, 6, monkeypatch, **held)
    killed(make, tmp_path, 4, monkeypatch, resume=True, **held)
    same(run(make, tmp_path, resume=True, **held), wanted)


def test_other_random_numbers_would_be_seen(make):
    """Dropout moves the weights, and so does its seed: what the tests above compare is not the same by itself."""
    one, other = run(make, None)[1], run(make, None, seed=6)[1]
    assert not torch.equal(one["decoder.embed.weight"], other["decoder.embed.weight"])
    without = run(make, None, dropout=False)[1]
    assert not torch.equal(one["decoder.embed.weight"], without["decoder.embed.weight"])
    same(run(make, None), run(make, None))


def test_a_checkpoint_that_is_there_is_not_passed_over(make, tmp_path, monkeypatch):
    killed(make, tmp_path, 8, monkeypatch)
    with pytest.raises(FolderError, match=r"step-0000000003.ckpt.*--resume.*--force"):
        run(make, tmp_path)
    with pytest.raises(ConfigurationError, match=r"`learning_rate` was 0.005 and is 0.001"):
        run(make, tmp_path, resume=True, learning_rate=1e-3)
    other = make()
    with pytest.raises(ConfigurationError, match="tokens of the pairs"):
        train(other.model, other.tokenizer, PAIRS[::-1], output=tmp_path, **{**OPTIONS, "resume": True})
    checkpoints.latest(tmp_path).write_bytes(b"no checkpoint")
    with pytest.raises(FolderError, match="cannot be read"):
        run(make, tmp_path, resume=True)
    checkpoints.remove(tmp_path)
    assert run(make, tmp_path)[0].steps == STEPS


class Full(io.FileIO):
    """A file on a disk that is full after some bytes."""

    room = 0

    def write(self, data):
        if self.room < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= len(data)
        return super().write(data)


@pytest.mark.parametrize("room", [0, 1000, 100_000])
def test_a_full_disk_loses_nothing(make, tmp_path, monkeypatch, room):
    wanted = run(make, None)
    opened, written = checkpoints.WholeFiles.opened, []

    def second_is_full(path):
        written.append(path)
        if len(written) < 2:
            return opened(path)
        file = Full(path, "wb")
        file.room = room
        return file

    monkeypatch.setattr(checkpoints.WholeFiles, "opened", staticmethod(second_is_full))
    with pytest.raises(
        FolderError, match=r"step-0000000006.ckpt' must be written.*No space left.*step-0000000003.ckpt, is whole"
    ):
        run(make, tmp_path)
    monkeypatch.setattr(checkpoints.WholeFiles, "opened", staticmethod(opened))
    assert sorted(path.name for path in (tmp_path / checkpoints.FOLDER).iterdir()) == ["step-0000000003.ckpt"]
    same(run(make, tmp_path, resume=True), wanted)


def test_killed_while_it_writes(make, tmp_path, monkeypatch):
    wanted = run(make, None)
    opened, written = checkpoints.WholeFiles.opened, []

    def kills(path):
        written.append(path)
        file = opened(path)
        if len(written) == 2:
            file.write(b"half of it")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return file

    monkeypatch.setattr(checkpoints.WholeFiles, "opened", staticmethod(kills))
    killed(make, tmp_path, 10**6, monkeypatch)
    monkeypatch.setattr(checkpoints.WholeFiles, "opened", staticmethod(opened))
    assert checkpoints.latest(tmp_path).name == "step-0000000003.ckpt"
    same(run(make, tmp_path, resume=True), wanted)


def test_ctrl_c_can_be_taken_up_again(make, tmp_path, monkeypatch):
    wanted = run(make, None)
    counted, true = [], module.token_loss

    def pressed(*arguments, **options):
        counted.append(1)
        if len(counted) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return true(*arguments, **options)

    monkeypatch.setattr(module, "token_loss", pressed)
    stopped, _ = run(make, tmp_path)
    assert (stopped.interrupted, stopped.steps) == (True, 3)
    assert (tmp_path / "model.safetensors").exists()
    same(run(make, tmp_path, resume=True), wanted)


@pytest.mark.long
@pytest.mark.parametrize("processes", [1, 2])
def test_the_command(make, tmp_path, processes):
    """Killed from outside, at whatever step it is; with two processes, both."""
    made = make()
    made.model.save_pretrained(tmp_path / "pair")
    made.tokenizer.save_pretrained(tmp_path / "pair")
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps({"source": s, "target": t}) + "\n" for s, t in sixty_four()), encoding="utf-8")
    base = [sys.executable, "-m", "seqgraft", "train", tmp_path / "pair", "-d", data, "--rows-per-batch", 4]
    base += ["--epochs", 6, "--checkpoint-every", 1, "--device", "cpu", "--no-check", "--devices", processes]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def begin(out, *flags):
        line = [str(part) for part in (*base, "-o", out, *flags)]
        pipe = subprocess.PIPE
        return subprocess.Popen(line, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True)

    whole = begin(tmp_path / "whole")
    other = begin(tmp_path / "other")
    while other.poll() is None and checkpoints.latest(tmp_path / "other") is None:
        time.sleep(0.02)
    os.killpg(other.pid, signal.SIGKILL)
    other.communicate()
    assert checkpoints.latest(tmp_path / "other") is not None
    refused = begin(tmp_path / "other")
    assert "--resume" in refused.communicate()[1]
    assert refused.returncode == 1
    resumed = begin(tmp_path / "other", "--resume")
    assert "Resumed from step" in "".join(resumed.communicate())
    assert resumed.returncode == 0
    assert whole.wait() == 0
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "other"))
    assert one == two
