"""What speed wants of a stack before decoding starts: stacked projections, and weights packed for this machine.

Nothing here changes a result beyond rounding. The modules and their parameters stay as they are; the prepared maps
are kept beside the model until a weight changes, and are in use only inside `applied(...)`.
"""

import contextlib
import functools
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqgraft.torch.attention import Attention, Linear
from seqgraft.torch.feed_forward import FeedForward
from seqgraft.torch.product import multiply, pack, plain, serves
from seqgraft.torch.stack import Head, Stack

Holder = Attention | FeedForward | Head

_PACKED_FOR = 4
"""Rows that the packed layout is made for; it serves others as well (`benchmarks/`)."""


@dataclass
class Prepared:
    """The maps of one stack, and the state of the parameters that they were made of."""

    signature: tuple[tuple[int, int, int], ...]
    maps: dict[Holder, dict[str, Linear]] = field(default_factory=dict)


_kept: "weakref.WeakKeyDictionary[Stack, Prepared]" = weakref.WeakKeyDictionary()


def prepare(stack: Stack) -> Prepared:
    """The prepared maps of a stack, made anew only when a parameter was replaced, moved or written to."""
    now = _signature(stack)
    held = _kept.get(stack)
    if held is None or held.signature != now:
        _kept.pop(stack, None)
        held = Prepared(now)
        for module in stack.modules():
            if isinstance(module, (Attention, FeedForward, Head)):
                maps = _maps(module)
                if maps:
                    held.maps[module] = maps
        _kept[stack] = held
    return held


@contextlib.contextmanager
def applied(held: Prepared | None) -> Iterator[None]:
    """Inside, the modules use their prepared maps."""
    if held is None:
        yield
        return
    for module, own in held.maps.items():
        module.__dict__["fast"] = own  # past nn.Module's own __setattr__, which costs more than a small product
    try:
        yield
    finally:
        for module in held.maps:
            module.__dict__["fast"] = None


def _signature(stack: Stack) -> tuple[tuple[int, int, int], ...]:
    """Changes whenever a parameter is replaced, moved or written to, or a linear module is replaced."""
    tensors = tuple((id(p), p.data_ptr(), p._version) for p in stack.parameters())
    return tensors + tuple((id(m), int(plain(m)), 0) for m in stack.modules() if isinstance(m, nn.Linear))


def _maps(module: Holder) -> dict[str, Linear]:
    if isinstance(module, Attention):
        groups = {"query": ["query"], "output": ["output"]}
        if module.spec.memory_width is None:
            groups = {"stacked": ["query", "key", "value"], "output": ["output"]}
    elif isinstance(module, FeedForward):
        groups = {"down": ["down"]} | ({"up": ["up"]} if module.gate is None else {"stacked": ["gate", "up"]})
    else:
        groups = {"output": ["output"]} | ({"dense": ["dense"]} if module.dense is not None else {})
    linears = {name: [getattr(module, part) for part in parts] for name, parts in groups.items()}
    if not all(plain(one) for several in linears.values() for one in several):
        return {}
    return {name: _map(several) for name, several in linears.items()}


def _bias(linear: nn.Linear) -> Tensor:
    """The bias; zeros where there is none."""
    return linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias


@torch.no_grad()
def _map(linears: list[nn.Linear]) -> Linear:
    weight: Tensor = linears[0].weight.detach()
    bias: Tensor | None = linears[0].bias
    if len(linears) > 1:
        weight = torch.cat([one.weight.detach() for one in linears])
        bias = None if bias is None else torch.cat([_bias(one) for one in linears])
    bias = None if bias is None else bias.detach()
    if not serves(weight):
        return functools.partial(F.linear, weight=weight, bias=bias)
    return functools.partial(multiply, weight=pack(weight, _PACKED_FOR), bias=bias)
