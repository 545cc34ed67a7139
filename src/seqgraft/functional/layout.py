"""Canonical tensors as the functional core wants them: linear weights [in, out], and called `kernel`."""

from collections.abc import Callable, Mapping
from typing import Any

from seqgraft.spec import Stack, parameters

Turn = Callable[[Any], Any]
_TABLES = ("embed", "positions", "streams", "token_types", "position_bias", "distances")


def linear_maps(stack: Stack) -> frozenset[str]:
    """The canonical names of the stack's linear maps, without their leaf."""
    found = set()
    for name, shape in parameters(stack).items():
        module, _, leaf = name.rpartition(".")
        last = module.rpartition(".")[2]
        table = last in _TABLES or last.endswith("_norm") or module.startswith("constants.")
        if leaf == "weight" and len(shape) == 2 and not table:
            found.add(module)
    return frozenset(found)


def names(stack: Stack) -> dict[str, str]:
    """Canonical name -> name in the functional core."""
    linear = linear_maps(stack)
    return {
        name: f"{name[:-6]}kernel" if name.endswith(".weight") and name[:-7] in linear else name
        for name in parameters(stack)
    }


def laid_out(stack: Stack, canonical: Mapping[str, Any], turn: Turn) -> dict[str, Any]:
    """Canonical tensors -> the core's; `turn` swaps the two axes of a matrix."""
    return {
        ours: turn(canonical[name]) if ours.endswith(".kernel") else canonical[name]
        for name, ours in names(stack).items()
    }


def canonical(stack: Stack, arrays: Mapping[str, Any], turn: Turn) -> dict[str, Any]:
    """The way back."""
    return {
        name: turn(arrays[ours]) if ours.endswith(".kernel") else arrays[ours] for name, ours in names(stack).items()
    }


def shapes(stack: Stack) -> dict[str, tuple[int, ...]]:
    """The core's names -> shapes."""
    ours = names(stack)
    return {
        ours[name]: shape[::-1] if ours[name].endswith(".kernel") else shape
        for name, shape in parameters(stack).items()
    }
