"""A pair's decoder as a search sees it: a step, and rows to choose from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from seqgraft.functional.ops import Array, Ops, Size
from seqgraft.functional.pair import Pair, bridge
from seqgraft.functional.run import Run
from seqgraft.functional.stack import Cache, Memory, Text, empty_cache, logits, remembered, stack_states
from seqgraft.spec import Stack

Carried = dict[str, Any]
"""What goes from step to step: `layers`, each one's keys and values as `layer.Place` has them, and `mask`
[rows, total] where a prompt hides some of its tokens."""


@dataclass(frozen=True)
class Decoding:
    """A decoder and the sources that it looks at."""

    run: Run
    spec: Stack
    memory: Memory
    """Remembered once a source."""
    each: int
    """How many rows look at one source after the first step."""
    total: int
    """Tokens that the caches have room for."""

    @classmethod
    def of(cls, run: Run, pair: Pair, states: Array, mask: Array | None, each: int, total: int) -> Decoding:
        """Of a source's states [sources, time, width] and what of them may be seen [sources, time]."""
        own = Run(run.ops, run.weights, None, run.at).under("decoder")
        kept = remembered(own, pair.decoder, bridge(run, pair, states)) if pair.decoder.sees_memory else None
        if kept is not None:
            kept = tuple(one and (run.ops.keep(one[0]), run.ops.keep(one[1])) for one in kept)
        return cls(own, pair.decoder, Memory(None, mask, kept), each, total)

    def start(self, rows: Size, dtype: str, mask: Array | None = None) -> Carried:
        """Before the prompt; mask [rows, prompt_time] is 0 where its tokens are hidden."""
        ops = self.run.ops
        layers = empty_cache(ops, self.spec, rows, self.total, dtype).layers
        if isinstance(rows, int) and rows == 1:  # of several rows XLA is faster with its copies, by 14 % of eight
            layers = tuple((_folded(ops, key), _folded(ops, value)) for key, value in layers)
        carried: Carried = {"layers": layers}
        if mask is not None:
            given = ops.cast(mask != 0, "int32")
            room = self.total - ops.shape(given)[1]
            carried["mask"] = ops.concatenate((given, ops.full((rows, room), 1, "int32")), 1)
        return carried

    def step(self, tokens: Array, past: Size, carried: Carried) -> tuple[Array, Carried]:
        """tokens [rows, time] after `past` ones -> float32 logits of the last [rows, vocabulary]."""
        ops = self.run.ops
        each = 1 if isinstance(past, int) and past == 0 else self.each
        rows, sources = ops.shape(tokens)[0], self._sources()
        if isinstance(rows, int) and isinstance(sources, int):
            each = rows // sources
        memory = replace(self.memory, each=each)
        text = Text(tokens, mask=carried.get("mask"))
        states, cache = stack_states(self.run, self.spec, text, memory, Cache(carried["layers"], past))
        scores = logits(self.run, self.spec, states[:, -1:])[:, 0]
        return ops.cast(scores, "float32"), {**carried, "layers": cache.layers if cache is not None else ()}

    def take(self, carried: Carried, index: Array) -> Carried:
        """The rows of these numbers."""
        ops = self.run.ops
        layers = []
        for pair, one in zip(carried["layers"], self.spec.layers, strict=True):
            groups = one.self_attention.key_value_heads
            layers.append(tuple(_taken(ops, part, groups, index) for part in pair))
        made: Carried = {"layers": tuple(layers)}
        return {**made, "mask": ops.take(carried["mask"], index)} if "mask" in carried else made

    def _sources(self) -> Size | None:
        for one in self.memory.remembered or ():
            if one is not None:
                return self.run.ops.shape(one[0])[0]
        return None


def _folded(ops: Ops, x: Array) -> Array:
    """[rows, groups, total, head_width] -> [rows * groups, total, head_width], see `layer.Place`."""
    rows, groups, total, width = ops.shape(x)
    return ops.reshape(x, (rows * groups, total, width))


def _taken(ops: Ops, x: Array, groups: int, index: Array) -> Array:
    """[rows * groups, total, head_width], or rows and groups apart, -> the same of the rows of these numbers."""
    if len(ops.shape(x)) == 4:
        return ops.take(x, index)
    count, total, width = ops.shape(x)
    rows = ops.take(ops.reshape(x, (count // groups, groups * total * width)), index)
    return ops.reshape(rows, (ops.shape(index)[0] * groups, total, width))


def dtype_of(ops: Ops, weights: Mapping[str, Array]) -> str:
    """The floating type of a decoder's weights."""
    return ops.dtype(weights["decoder.embed.weight"])
