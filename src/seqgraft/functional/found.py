"""What a search is given of a model, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from seqgraft.functional.ops import Array, Ops, Size
from seqgraft.functional.settings import Settings

Carried = Any
Step = Callable[[Array, Size, Carried], tuple[Array, Carried]]
Take = Callable[[Carried, Array], Carried]


class Found(NamedTuple):
    """What a search found, the best of a source first."""

    sequences: Array
    """[sources * returned, total] int32: the prompt, what was generated, then the pad id."""
    scores: Array | None
    """[sources * returned] float32 with beams."""
    lengths: Array
    """[sources * returned] int32: tokens of each, its prompt and its end token among them."""


def ended(ops: Ops, settings: Settings, tokens: Array) -> Array:
    """tokens [...] -> which of them are end tokens."""
    done = tokens == settings.ends[0]
    for end in settings.ends[1:]:
        done = done | (tokens == end)
    return done
