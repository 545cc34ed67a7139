"""Cross-entropy of a linear head, with no more of its logits in memory than one chunk of rows.

The logits of a batch are its largest tensor by far (2,048 rows x 30,522 tokens are 250 MB, and the loss makes three of
them). Here a chunk of rows goes through product, softmax and both products of the gradient before the next one begins,
so that what is kept is the gradient of the states and of the weight alone (the idea of Mesh TensorFlow's and of
Wijmans et al. 2024's "Cut Your Losses").
"""

from typing import Any, cast

import torch
from torch import Tensor

from seqgraft.torch.product import multiply, serves

_CHUNK = 1 << 22
"""Logits of one chunk on a CPU: 16 MiB in float32, and products that are still large enough to be fast."""
_CHUNK_GPU = 1 << 26
_BLOCK = 1 << 12
"""Rows of the weight whose gradient is added at once."""


def linear_cross_entropy(
    states: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    *,
    smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    chunk: int | None = None,
) -> Tensor:
    """The summed cross-entropy of `softcap(states weight^T + bias)` at targets, in float32.

    states [rows, width], weight [vocabulary, width], bias [vocabulary], targets [rows]. `smoothing` moves that share
    of the targets' probability to all tokens alike (Szegedy et al. 2016); `z_loss` times the squared logarithm of the
    softmax's sum is added (Chowdhery et al. 2022, section 5: 1e-4). `chunk` is the most logits at once.

    Gradients are computed with the loss, so they can be taken once, and not differentiated again.
    """
    arguments = (states, weight, bias, targets, smoothing, z_loss, softcap, chunk)
    return cast("Tensor", _LinearCrossEntropy.apply(*arguments))  # type: ignore[no-untyped-call]


def z_term(logits: Tensor, z_loss: float) -> Tensor:
    """What z-loss adds for logits [rows, vocabulary], summed."""
    return z_loss * logits.logsumexp(-1).square().sum()


class _LinearCrossEntropy(torch.autograd.Function):
    """Loss and gradients chunk by chunk; the backward pass only scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        smoothing: float,
        z_loss: float,
        softcap: float | None,
        chunk: int | None,
    ) -> Tensor:
        kind = states.device.type
        mixed = torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if mixed else weight.dtype
        to_states, to_weight, to_bias = ctx.needs_input_grad[:3]
        vocabulary = weight.shape[0]
        rows = max(1, (chunk or (_CHUNK if kind == "cpu" else _CHUNK_GPU)) // vocabulary)
        count = -(-len(states) // rows)
        rows = -(-len(states) // max(1, count))
        with torch.autocast(kind, enabled=False):
            used = weight.detach().to(dtype)
            shift = None if bias is None else bias.detach().to(dtype)
            total = torch.zeros((), dtype=torch.float32, device=states.device)
            of_states = torch.empty_like(states) if to_states else None
            of_weight = torch.zeros_like(weight, dtype=torch.float32) if to_weight else None
            of_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and to_bias else None
            for first in range(0, len(states), max(1, rows)):
                part = slice(first, first + rows)
                x = states[part].detach().to(dtype)
                logits = _product(x, used, shift).float()
                if softcap is not None:
                    logits.div_(softcap).tanh_().mul_(softcap)
                slope = None if softcap is None else 1 - (logits / softcap).square()
                own = targets[part, None]
                top = logits.amax(-1)
                logits.sub_(top[:, None])  # so that the largest numbers are the exact ones
                picked = logits.gather(1, own)[:, 0]
                mean = logits.mean(-1) if smoothing else 0.0
                gradient = logits.exp_()
                whole = gradient.sum(-1)
                rest = whole.log()
                norm = top + rest
                loss = rest - (1 - smoothing) * picked - smoothing * mean
                if z_loss:
                    loss = loss + z_loss * norm.square()
                total += loss.sum()
                if not (to_states or to_weight or to_bias):
                    continue
                gradient.div_(whole[:, None])
                if z_loss:
                    gradient.mul_(1 + 2 * z_loss * norm[:, None])
                if smoothing:
                    gradient.sub_(smoothing / vocabulary)
                gradient.scatter_add_(1, own, gradient.new_full(own.shape, smoothing - 1))
                if slope is not None:
                    gradient.mul_(slope)
                if of_bias is not None:
                    of_bias += gradient.sum(0)
                gradient = gradient.to(dtype)
                if of_states is not None:
                    of_states[part] = _product(gradient, used.t())
                if of_weight is not None:
                    _add_product(of_weight, gradient, x)
        ctx.kept = [
            of_states,
            None if of_weight is None else of_weight.to(weight.dtype),
            None if of_bias is None or bias is None else of_bias.to(bias.dtype),
        ]
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        if ctx.kept is None:
            raise RuntimeError("The gradients of this loss were taken already; they can be taken once.")
        if torch.is_grad_enabled():
            raise RuntimeError("The gradients of this loss cannot be differentiated again.")
        held, ctx.kept = ctx.kept, None
        for value in held:
            if value is not None:
                value.mul_(gradient)
        return (*held, None, None, None, None, None)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x weight^T + bias, in their type."""
    if serves(weight):
        return multiply(x, weight, bias)
    return torch.nn.functional.linear(x, weight, bias)


def _add_product(out: Tensor, gradient: Tensor, x: Tensor) -> None:
    """out [vocabulary, width] += gradient^T x, a block of the vocabulary at a time."""
    if out.dtype is gradient.dtype and not serves(out):
        out.addmm_(gradient.t(), x)
        return
    for first in range(0, len(out), _BLOCK):
        block = gradient[:, first : first + _BLOCK].t()
        out[first : first + _BLOCK] += multiply(block, x.t()) if serves(out) else block @ x
