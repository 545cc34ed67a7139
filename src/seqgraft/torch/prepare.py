"""What speed wants of a stack before decoding starts: stacked projections, packed weights, and layers without detours.

Nothing here changes a result beyond rounding. The modules and their parameters stay as they are; what is prepared is
kept beside the model until a weight changes, and is in use only while a generation runs.
"""

import contextlib
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from torch import nn

from seqgraft.torch.attention import Attention
from seqgraft.torch.feed_forward import FeedForward, activate
from seqgraft.torch.glance import Glance
from seqgraft.torch.head import Head
from seqgraft.torch.layers import Layer
from seqgraft.torch.lean import Step, lean
from seqgraft.torch.product import Linear, fused, preparable, prepared, watched
from seqgraft.torch.residence import Residence
from seqgraft.torch.stack import Stack
from seqgraft.torch.straight import Straight, straight

if TYPE_CHECKING:
    from seqgraft.torch.static_step import Fixed

Holder = Attention | FeedForward | Head


@dataclass
class Prepared:
    """The maps of one stack and the steps of its layers, and the state of the parameters that they were made of."""

    signature: tuple[tuple[int, ...], ...]
    glance: Glance
    seen: int
    """What the weights looked like."""
    maps: dict[nn.Module, dict[str, Linear]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    straight: Straight | None = None
    """The whole stack's, where it is plain."""
    watched: bool = False
    """Whether somebody hooked a module, or put another forward in its place, and so wants it called."""
    fixed: "list[Fixed]" = field(default_factory=list)
    """Buffers and graphs of steps of fixed shapes (`static_step.py`)."""
    users: int = 0
    """How many calls, of several threads, use the maps now."""


_kept: "weakref.WeakKeyDictionary[Stack, Prepared]" = weakref.WeakKeyDictionary()

_lock = threading.RLock()

_ROWS = 4
"""Rows of a product that the weights of a decoder are packed for; the layout serves others as well."""


def prepare(stack: Stack, rows: int = _ROWS) -> Prepared:
    """What is prepared of a stack, made anew only when a parameter was replaced, moved or written to.

    Weights are packed for products of about so many `rows`. Those that were mapped from a file are let go of: what
    computes with them now is the packed copy.
    """
    with _lock:
        now = _signature(stack)
        held = _kept.get(stack)
        # Only where all weights are where they were may they be looked at again.
        if held is None or held.signature != now or held.glance() != held.seen:
            _kept.pop(stack, None)
            held = _kept[stack] = _made(stack, rows, now)
        return held


def dropped(stack: Stack) -> None:
    """Nothing is kept of a stack whose weights are about to change."""
    with _lock:
        _kept.pop(stack, None)


def _made(stack: Stack, rows: int, signature: tuple[tuple[int, ...], ...]) -> Prepared:
    look = Glance(stack.parameters())
    held = Prepared(signature, look, look())
    files = Residence()
    for module in stack.modules():
        if isinstance(module, (Attention, FeedForward, Head)):
            maps = _maps(module, rows)
            if maps:
                held.maps[module] = maps
                for parameter in module.parameters():
                    files.let_go(parameter)
    held.watched = any(map(watched, stack.modules()))
    held.steps = [lean(cast("Layer", layer), held.maps) for layer in stack.layers]
    held.straight = None if held.watched else straight(stack, held.maps, held.steps)
    return held


@contextlib.contextmanager
def applied(held: Prepared | None) -> Iterator[None]:
    """Inside, the modules use their prepared maps; until the last of several threads has left."""
    if held is None:
        yield
        return
    with _lock:
        held.users += 1
        for module, own in held.maps.items():
            module.__dict__["fast"] = own  # past nn.Module's own __setattr__, which costs more than a small product
    try:
        yield
    finally:
        with _lock:
            held.users -= 1
            if not held.users:
                for module in held.maps:
                    module.__dict__["fast"] = None


def _signature(stack: Stack) -> tuple[tuple[int, ...], ...]:
    """Changes whenever a parameter is replaced, moved or written to, or a module is replaced, hooked or wrapped.

    Of writes that torch does not count (`glance.py`), those that leave both ends of a weight as they were are missed.
    """
    modules = list(stack.modules())
    parameters = [p for module in modules for p in module._parameters.values() if p is not None]
    tensors = tuple(
        (id(p), p.data_ptr(), p.numel(), p.is_contiguous(), 0 if p.is_inference() else p._version) for p in parameters
    )
    return (*tensors, *((id(m), watched(m), int(bool(getattr(m, "eager", False)))) for m in modules))


def _maps(module: Holder, rows: int) -> dict[str, Linear]:
    if isinstance(module, Attention):
        groups = {"query": ["query"], "output": ["output"]}
        if module.spec.memory_width is None:
            groups = {"stacked": ["query", "key", "value"], "output": ["output"]}
    elif isinstance(module, FeedForward):
        groups = {"down": ["down"]} | ({"up": ["up"]} if module.gate is None else {"stacked": ["gate", "up"]})
    else:
        groups = {"output": ["output"]} | ({"dense": ["dense"]} if module.dense is not None else {})
    linears = {name: [getattr(module, part) for part in parts] for name, parts in groups.items()}
    if not all(preparable(one) for several in linears.values() for one in several):
        return {}
    maps = {name: prepared(several, rows) for name, several in linears.items()}
    if isinstance(module, FeedForward) and module.gate is None:
        name = module.spec.activation
        maps["activated"] = fused(maps.pop("up"), name, lambda x: activate(name, x))
    if isinstance(module, Head) and module.spec.transform is not None and (own := module.spec.transform.activation):
        maps["dense"] = fused(maps["dense"], own, lambda x: activate(own, x))
    return maps
