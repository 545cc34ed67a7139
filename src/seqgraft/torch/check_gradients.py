"""Does everything that is to be trained get a gradient?"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqgraft.checkpoints.check import grouped
from seqgraft.spec import waiting
from seqgraft.torch.probe import Probe, of_gates, opened
from seqgraft.torch.report import Finding

_SHOWN = 6


def every_parameter_learns(probe: Probe) -> Finding:
    """One backward pass reaches every parameter that training may change."""
    model = probe.model
    still = _still(probe)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad and name not in still}
    frozen = sum(not p.requires_grad for p in model.parameters())
    if not trained:
        return Finding("gradients", None, f"all {frozen:,} tensors are frozen")
    with opened(model) as count:
        reached = _reached(probe, trained)
    lost = [name for name, parameter in trained.items() if _lost(name, parameter, reached)]
    told = f"{len(trained) - len(lost):,} of {len(trained):,} trainable tensors get one"
    told += f", {frozen:,} are frozen" if frozen else ""
    told += of_gates(count)
    told += f", {len(still):,} wait for an input of their own" if still else ""
    if not lost:
        return Finding("gradients", True, told)
    named = grouped(lost)
    told += f"; none: {', '.join(named[:_SHOWN])}{', ...' if len(named) > _SHOWN else ''}"
    advice = (
        "They would never learn: look for a `detach`, a `no_grad` or a part that nothing reads, or freeze them "
        "(`requires_grad_(False)`, `seqgraft train --freeze PATTERN`)."
    )
    return Finding("gradients", False, told, advice)


def _still(probe: Probe) -> set[str]:
    """What waits for an input that a text does not have (XLM's `langs`), or that the tokens given do not need."""
    halves: tuple[tuple[str, Any], ...] = (("encoder", probe.model.encoder), ("decoder", probe.model.decoder))
    return {
        f"{side}.{name}"
        for side, half in halves
        if (spec := getattr(half, "spec", None)) is not None
        for name, given in waiting(spec).items()
        if given != "global_attention_mask"  # which the probe gives
    }


def _reached(probe: Probe, trained: dict[str, nn.Parameter]) -> dict[str, bool]:
    """name -> whether its gradient has a number other than zero; names without a gradient are not there.

    A gradient is let go as soon as it was looked at, so that a large model needs no memory for all of them.
    """
    seen: dict[str, bool] = {}
    handles = []
    for name, parameter in trained.items():
        parameter.grad = None

        def look(held: Tensor, name: str = name) -> None:
            if held.grad is not None:
                seen[name] = bool((held.grad != 0).any())
                held.grad = None

        handles.append(parameter.register_post_accumulate_grad_hook(look))  # type: ignore[no-untyped-call]
    try:
        with torch.enable_grad():
            out = probe.model(
                input_ids=probe.source,
                attention_mask=probe.shown,
                decoder_input_ids=probe.target,
                decoder_attention_mask=torch.ones_like(probe.target),
                use_cache=False,
                return_dict=True,
            )
            logits = out.logits.float()
            labels = probe.target.roll(-1, 1).reshape(-1)
            loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels, reduction="sum")
            loss.backward()  # type: ignore[no-untyped-call]
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _lost(name: str, parameter: nn.Parameter, reached: dict[str, bool]) -> bool:
    """Whether a tensor learns nothing. An expert that no token was sent to may learn from others; a vector's gradient
    (a key's bias) and a router's may be zero by the mathematics."""
    if name in reached:
        return not reached[name] and parameter.dim() > 1 and ".router." not in name
    before, found, _ = name.partition(".experts.")
    return not (found and any(other.startswith(f"{before}.experts.") for other in reached))
