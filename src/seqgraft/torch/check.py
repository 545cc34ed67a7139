"""The preflight: what would make a training run worthless, seen in seconds before it starts.

A few tokens go through the model in its own dtype, on its own device. Afterwards its mode, weights, gradients and
random states are what they were before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from seqgraft.torch import check_gradients, check_mathematics, check_tokens
from seqgraft.torch.probe import Probe
from seqgraft.torch.report import Finding, Report

if TYPE_CHECKING:
    from seqgraft.torch.model import EncoderDecoderModel

_PROBING: dict[str, Callable[[Probe], Finding]] = {
    "encoder": check_mathematics.encoder_is_seen,
    "future": check_mathematics.future_is_not,
    "source padding": check_mathematics.source_padding,
    "target padding": check_mathematics.target_padding,
    "cache": check_mathematics.cached_equals_full,
    "gradients": check_gradients.every_parameter_learns,
}
FINITE = "forward pass"
"""What is found wrong where the model gives no numbers at all; nothing is said of it otherwise."""
NAMES = (*_PROBING, "special ids", "vocabularies", "longest texts", "ties")
"""Every check, in the order of the report."""


def check(model: EncoderDecoderModel, tokenizer: Any = None, target_tokenizer: Any = None) -> Report:
    """See `EncoderDecoderModel.check`."""
    source, target = check_tokens.sides(tokenizer, target_tokenizer)
    found: list[Finding] = []
    with untouched(model):
        probe = _attempt(FINITE, lambda: _finite(Probe.of(model)))
        if isinstance(probe, Finding):  # which leaves nothing to compare
            found.append(probe)
        else:
            found += [_found(name, lambda one=one: one(probe)) for name, one in _PROBING.items()]  # type: ignore[misc]
    found.append(_found("special ids", lambda: check_tokens.special_ids(model, source, target)))
    found.append(_found("vocabularies", lambda: check_tokens.vocabularies(model, source, target)))
    found.append(_found("longest texts", lambda: check_tokens.longest_texts(model)))
    found.append(_found("ties", lambda: check_tokens.ties(model)))
    return Report(tuple(found))


def _finite(probe: Probe) -> Probe | Finding:
    """The probe, if the model computes numbers with it."""
    if bool(probe.logits().isfinite().all()):
        return probe
    advice = "Some weight is no number, or the dtype is too narrow: load the checkpoint anew, or in float32."
    return Finding(FINITE, False, "the logits are not finite", advice)


def _attempt(name: str, ask: Callable[[], Any]) -> Any:
    """What `ask` gives; an error of the model's is a failure of the check, not of the preflight."""
    try:
        return ask()
    except Exception as error:
        return Finding(name, False, f"{type(error).__name__}: {error}", "Make a forward pass work first.")


def _found(name: str, ask: Callable[[], Finding]) -> Finding:
    found: Finding = _attempt(name, ask)
    return found


@contextlib.contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Inside, the model is in eval mode; afterwards its mode, gradients and the random states are as before."""
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            model.eval()
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for parameter, gradient in gradients:
                parameter.grad = gradient
