"""Gradient checkpointing, compilation and mixed precision change the time and the memory of a training, not its way."""

import subprocess
import sys

import pytest
import torch

from seqgraft.torch import stack
from seqgraft.training.trainer import train

from .conftest import PAIRS
from .test_exact import weights

OPTIONS = {"rows_per_batch": 3, "epochs": 3, "learning_rate": 1e-3, "progress": False, "check": False, "seed": 1}


def run(make, kind=("bert", "bert"), **changes):
    made = make(*kind)
    result = train(made.model, made.tokenizer, PAIRS, output=None, **{**OPTIONS, **changes})
    return result, weights(made.model), made.model


def apart(one, other):
    whole = torch.cat([value.flatten() for value in other.values()])
    return float((torch.cat([one[name].flatten() for name in other]) - whole).norm() / whole.norm())


@pytest.mark.parametrize("dropout", [True, False])
def test_gradient_checkpointing(make, monkeypatch, dropout):
    calls, true = [], stack.checkpoint

    def counted(*arguments, **options):
        calls.append(1)
        return true(*arguments, **options)

    monkeypatch.setattr(stack, "checkpoint", counted)
    plain, wanted, _ = run(make, dropout=dropout)
    assert not calls
    result, found, model = run(make, dropout=dropout, gradient_checkpointing=True)
    assert len(calls) == result.steps * 4  # layers
    assert not model.is_gradient_checkpointing
    assert apart(found, wanted) < 1e-7
    assert result.train_loss == pytest.approx(plain.train_loss, rel=1e-6)


def test_mixed_precision_keeps_float32_weights_and_the_loss(make):
    kinds = set()

    def watch(module, inputs):
        kinds.add(torch.is_autocast_enabled("cpu"))

    exact, _, _ = run(make, dropout=False)
    made = make()
    made.model.decoder.layers[0].register_forward_pre_hook(watch)
    rest = {**OPTIONS, "dropout": False, "precision": "bfloat16"}
    result = train(made.model, made.tokenizer, PAIRS, output=None, **rest)
    assert kinds == {True}
    assert {value.dtype for value in made.model.parameters()} == {torch.float32}
    assert result.train_loss == pytest.approx(exact.train_loss, rel=0.02)
    assert result.train_loss != exact.train_loss


@pytest.mark.long
def test_compiled_layers(make):
    kind = ("bert", "gpt2")
    torch._dynamo.reset()
    plain, wanted, _ = run(make, kind, dropout=False)
    torch._dynamo.utils.counters.clear()
    result, found, model = run(make, kind, dropout=False, compile=True)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert result.train_loss == pytest.approx(plain.train_loss, rel=1e-5)
    assert apart(found, wanted) < 1e-5
    layers = [*model.encoder.layers, *model.decoder.layers]
    assert all(layer._compiled_call_impl is None for layer in layers)


_TWICE = """
import sys
import torch
from tests.training.conftest import PAIRS, tiny
from seqgraft.training.trainer import train
made = tiny("bert", "gpt2")
train(made.model, made.tokenizer, PAIRS, output=None, rows_per_batch=2, epochs=3, seed=int(sys.argv[1]), progress=False)
print(repr(sum(float(value.double().sum()) for value in made.model.parameters())))
print(hash(tuple(tuple(value.flatten().tolist()) for value in made.model.parameters())))
"""


@pytest.mark.long
def test_two_runs_in_processes_of_their_own(request):
    """`seed` fixes everything: order, dropout, and nothing of the process."""

    def run(seed):
        done = subprocess.run(
            [sys.executable, "-c", _TWICE, str(seed)],
            capture_output=True, text=True, check=True, cwd=request.config.rootpath,
        )  # fmt: skip
        return done.stdout

    assert run(3) == run(3)
