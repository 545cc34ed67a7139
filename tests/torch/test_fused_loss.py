"""The cross-entropy of a linear head, chunk by chunk, against torch's over whole logits; its memory in a process."""

import json
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from seqgraft.torch.fused_loss import linear_cross_entropy

ROWS, WIDTH, VOCABULARY = 50, 24, 301


def parts(dtype=torch.float32, bias=True):
    torch.manual_seed(0)
    states = torch.randn(ROWS, WIDTH, dtype=dtype, requires_grad=True)
    weight = torch.randn(VOCABULARY, WIDTH, dtype=dtype).mul_(0.3).requires_grad_()
    shift = torch.randn(VOCABULARY, dtype=dtype, requires_grad=True) if bias else None
    return states, weight, shift, torch.randint(0, VOCABULARY, (ROWS,))


def whole(states, weight, shift, targets, smoothing=0.0, z_loss=0.0, softcap=None):
    """As torch and the papers write it."""
    logits = F.linear(states, weight, shift)
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    loss = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
    return loss + z_loss * torch.log(logits.exp().sum(-1)).square().sum()


def graded(loss, *values):
    return loss.detach(), torch.autograd.grad(loss, [value for value in values if value is not None])


@pytest.mark.parametrize("chunk", [1, 7 * VOCABULARY, 10**9])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"smoothing": 0.1}, {"z_loss": 0.01}, {"softcap": 2.0}, {"smoothing": 0.2, "z_loss": 1e-3, "softcap": 3.0}],
)
def test_loss_and_gradients_are_those_of_whole_logits(chunk, bias, options):
    states, weight, shift, targets = parts(bias=bias)
    found, gradients = graded(
        3 * linear_cross_entropy(states, weight, shift, targets, chunk=chunk, **options), states, weight, shift
    )
    exact = [None if value is None else value.detach().double().requires_grad_() for value in (states, weight, shift)]
    wanted, exactly = graded(3 * whole(*exact, targets, **options), *exact)
    assert float(found) == pytest.approx(float(wanted), rel=1e-6)
    for one, other in zip(gradients, exactly, strict=True):
        assert float((one - other).norm() / other.norm()) < 1e-6


def test_numeric_gradients():
    states, weight, shift, targets = parts()
    exact = [value.detach().double().requires_grad_() for value in (states[:5], weight[:30], shift[:30])]
    targets = targets[:5] % 30
    options = {"smoothing": 0.1, "z_loss": 0.01, "softcap": 2.0}
    given = [value.detach() for value in exact]
    _, gradients = graded(linear_cross_entropy(*exact, targets, chunk=60, **options), *exact)
    for value, gradient in zip(given, gradients, strict=True):
        direction = torch.randn_like(value)
        step = 1e-4
        ahead, behind = (
            float(
                linear_cross_entropy(
                    *[v + s * step * direction if v is value else v for v in given], targets, **options
                )
            )
            for s in (1, -1)
        )  # the loss is summed in float32
        assert float((gradient * direction).sum()) == pytest.approx((ahead - behind) / (2 * step), rel=0.05, abs=0.05)


def test_only_what_is_asked_for():
    states, weight, shift, targets = parts()
    loss = linear_cross_entropy(states.detach(), weight, shift.detach(), targets)
    loss.backward()
    assert weight.grad is not None
    assert shift.grad is None
    with torch.no_grad():
        assert not linear_cross_entropy(states, weight, shift, targets).requires_grad
    nothing = linear_cross_entropy(states[:0], weight, shift, targets[:0])
    assert float(nothing.detach()) == 0
    (of_weight,) = torch.autograd.grad(nothing, [weight])
    assert not of_weight.any()


def test_gradients_can_be_taken_once():
    states, weight, shift, targets = parts()
    loss = linear_cross_entropy(states, weight, shift, targets)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        loss.backward()
    with pytest.raises(RuntimeError, match="differentiated again"):
        torch.autograd.grad(linear_cross_entropy(states, weight, shift, targets), states, create_graph=True)


def test_mixed_precision_is_at_least_as_near_as_torchs():
    states, weight, shift, targets = parts()
    exact, true = graded(whole(*(v.double() for v in (states, weight, shift)), targets), states, weight)
    with torch.autocast("cpu", torch.bfloat16):
        ours, mine = graded(linear_cross_entropy(states, weight, shift, targets, chunk=900), states, weight)
        theirs, torchs = graded(
            F.cross_entropy(F.linear(states, weight, shift).float(), targets, reduction="sum"), states, weight
        )
    assert abs(ours - exact) <= abs(theirs - exact) + 1e-2
    for one, other, want in zip(mine, torchs, true, strict=True):
        assert one.dtype is torch.float32
        assert float((one - want).norm()) <= 1.1 * float((other - want).norm())


_MEASURE = """
import json, re, sys
import torch
import torch.nn.functional as F
from seqgraft.torch.fused_loss import linear_cross_entropy
def resident(name):
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read()).group(1)) / 1024
torch.set_num_threads(1)
torch.manual_seed(0)
width, vocabulary, rows = 384, 30522, 32 * 64
states = torch.randn(rows, width, requires_grad=True)
weight = torch.randn(vocabulary, width).mul_(0.05).requires_grad_()
shift = torch.zeros(vocabulary, requires_grad=True)
targets = torch.randint(0, vocabulary, (rows,))
def plain(states, weight, shift, targets):
    return F.cross_entropy(F.linear(states, weight, shift), targets, reduction="sum")
call = {"plain": plain, "fused": linear_cross_entropy}[sys.argv[1]]
small = [torch.zeros(2, width, requires_grad=True), torch.zeros(9000, width, requires_grad=True), None]
call(*small, targets[:2] % 9000).backward()  # what the libraries load
before = resident("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
loss = call(states, weight, shift, targets)
loss.backward()
norms = [float(v.grad.norm()) for v in (states, weight, shift)]
print(json.dumps({"peak": resident("VmHWM") - before, "loss": float(loss.detach()), "norms": norms}))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's own count of the peak")
def test_peak_memory_is_at_most_a_quarter():
    found = {}
    for name in ("plain", "fused"):
        done = subprocess.run([sys.executable, "-c", _MEASURE, name], capture_output=True, text=True, check=True)
        found[name] = json.loads(done.stdout)
    assert found["fused"]["loss"] == pytest.approx(found["plain"]["loss"], rel=1e-6)
    assert found["fused"]["norms"] == pytest.approx(found["plain"]["norms"], rel=1e-5)
    assert found["plain"]["peak"] > 2 * 32 * 64 * 30522 * 4 / 2**20
    assert found["fused"]["peak"] <= found["plain"]["peak"] / 4
