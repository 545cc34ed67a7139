"""Two processes, each with the whole model or with a part of it, train and validate as one does."""

import os
import subprocess
import sys

import pytest
import torch

from . import job
from .test_exact import same_weights

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """(scenario, strategy) -> what came of it; None is one process."""
    out = tmp_path_factory.mktemp("job")
    job.main(out)
    line = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run(
        [*line, "-m", "tests.training.job", str(out)],
        capture_output=True, text=True, env=environment, timeout=400, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-4000:]
    return lambda name, strategy: torch.load(out / f"{name} {strategy}.pt", weights_only=True)


CASES = [(name, "fsdp") for name in job.SCENARIOS] + [(name, "ddp") for name in job.WHOLE]


@pytest.mark.parametrize(("name", "strategy"), CASES)
def test_equals_one_process(done, name, strategy):
    one, two = done(name, None), done(name, strategy)
    for counted in ("steps", "pairs", "target_tokens", "stopped_early"):
        assert two["result"][counted] == one["result"][counted], counted
    assert two["result"]["train_loss"] == pytest.approx(one["result"]["train_loss"], rel=1e-5)
    kept = [name for name in one["weights"] if not name.endswith("key.bias")]  # see `same_weights`
    same_weights(*({name: held[name] for name in kept} for held in (two["weights"], one["weights"], one["start"])))


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_processes_share_a_validation(done, strategy):
    """Each measures a part of the pairs; what is kept and when it ends is as with one."""
    one, two = done("validated", None)["result"], done("validated", strategy)["result"]
    assert len(one["validation"]) == len(two["validation"]) > 3
    assert one["stopped_early"]
    assert two["best"]["step"] == one["best"]["step"] < one["steps"]
    for mine, theirs in zip(two["validation"], one["validation"], strict=True):
        wanted = {name: value for name, value in theirs.items() if name != "seconds"}
        assert {name: mine[name] for name in wanted} == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(("name", "strategy"), [case for case in CASES if case[0].startswith("resumed")])
def test_resumes_bit_for_bit(done, name, strategy):
    whole, resumed = done(name, strategy), done(name, strategy)["resumed"]
    assert "Resumed from step 3." in resumed["notes"]
    assert resumed["loss"] == whole["result"]["train_loss"]
    for name, value in whole["weights"].items():
        assert torch.equal(resumed["weights"][name], value), name
