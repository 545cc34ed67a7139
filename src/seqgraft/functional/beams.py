"""Beam search and beam sampling as one loop over arrays of fixed shape, with the reference's rules.

Every source keeps `beams` running rows and `beams` finished hypotheses. A step takes the best
max(2, 1 + end tokens) * beams continuations, so that enough of them run on however many end. A hypothesis counts
sum of log-probabilities / (generated length) ** length_penalty, its end token included (Wu et al. 2016, section 7,
https://arxiv.org/abs/1609.08144, in the field's simpler form).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seqgraft.functional.found import Carried, Found, Step, Take, ended
from seqgraft.functional.ops import Array, Key, Ops, Size
from seqgraft.functional.processors import Memory, Processors
from seqgraft.functional.sampling import narrowed, raced
from seqgraft.functional.top import highest

_WORST = -1.0e9
"""What the field adds to the score of anything that may not be chosen."""
State = dict[str, Any]


def search_beams(
    ops: Ops,
    step: Step,
    take: Take,
    carried: Carried,
    logits: Array,
    sequences: Array,
    memory: Memory,
    processors: Processors,
    key: Key,
) -> Found:
    """From the logits [sources * beams, vocabulary] that the prompt gave, a source's rows alike."""
    return _Beams(ops, step, take, processors, sequences).found(carried, logits, sequences, memory, key)


class _Beams:
    """One search: its sizes, and the steps that its state goes through.

    The state: `running` and `finished` [sources, beams, total] with `running_scores`, `finished_scores`, `is_finished`
    and `lengths` [sources, beams], `improvable` and `going` [sources], `parents` [sources * beams], `last` tokens
    [sources * beams], `memory` and maybe `key`.
    """

    def __init__(self, ops: Ops, step: Step, take: Take, processors: Processors, sequences: Array) -> None:
        self.ops, self.step, self.take, self.processors = ops, step, take, processors
        self.settings = settings = processors.settings
        self.beams = settings.beams
        self.rows = ops.shape(sequences)[0]
        self.sources = self.rows // self.beams
        self.count = min(max(2, 1 + len(settings.ends)) * self.beams, self.beams * processors.vocabulary)
        generated = np.arange(1, settings.total - settings.prompt + 2, dtype=np.float64)
        # What a score is divided by, by generated tokens less one: in double precision, as the field has it.
        self.divisors = ops.array((generated**settings.length_penalty).astype(np.float32), "float32")
        self.first = ops.arange(self.sources)[:, None] * self.beams  # each source's first row

    def found(self, carried: Carried, logits: Array, sequences: Array, memory: Memory, key: Key) -> Found:
        """The whole search."""
        ops, settings, shape = self.ops, self.settings, (self.sources, self.beams)
        # Only the first beam counts at the first step: the others are its copies.
        copies = ops.broadcast(ops.cast(ops.arange(self.beams) > 0, "float32")[None], shape)
        state: State = {
            "running": ops.reshape(sequences, (*shape, settings.total)),
            "running_scores": copies * _WORST,
            "finished": ops.reshape(sequences, (*shape, settings.total)),
            "finished_scores": ops.full(shape, _WORST, "float32"),
            "is_finished": ops.full(shape, False, "bool"),
            "lengths": ops.full(shape, settings.prompt, "int32"),
            "improvable": ops.full((self.sources,), True, "bool"),
            "memory": memory,
        }
        if settings.sample:
            state["key"] = key
        state = self.advanced(logits, settings.prompt, state)
        if settings.total > settings.prompt + 1:
            state = {**state, "carried": carried, "size": ops.array(settings.prompt + 1, "int32")}
            # The rows of a source were alike until now: theirs are the caches of any of them.
            state["parents"] = ops.arange(self.rows)
            state = ops.loop(self.goes_on, self.body, state)
        returned = settings.returned
        return Found(
            ops.reshape(state["finished"][:, :returned], (self.sources * returned, settings.total)),
            ops.reshape(state["finished_scores"][:, :returned], (self.sources * returned,)),
            ops.reshape(state["lengths"][:, :returned], (self.sources * returned,)),
        )

    def goes_on(self, state: State) -> Array:
        """Whether there is room, and a running row that could still beat a finished one."""
        return (state["size"] < self.settings.total) & self.ops.any(state["going"])

    def body(self, state: State) -> State:
        """A token more of every running row."""
        carried = self.take(state["carried"], state["parents"])
        logits, carried = self.step(state["last"][:, None], state["size"] - 1, carried)
        return {**self.advanced(logits, state["size"], state), "carried": carried, "size": state["size"] + 1}

    def advanced(self, logits: Array, size: Size, state: State) -> State:
        """The state after the logits [rows, vocabulary] that followed `size` tokens, without what is carried."""
        ops, settings, beams = self.ops, self.settings, self.beams
        flat = ops.reshape(state["running"], (self.rows, settings.total))
        scores = self.processors(ops.log_softmax(logits), flat, size, state["memory"])
        new: State = {}
        if settings.sample:
            new["key"], own = ops.split(state["key"])
            scores, parents, tokens = self.drawn(scores, state["running_scores"], own)
        else:
            scores, parents, tokens = self.best(scores, state["running_scores"])
        last = size + 1 == settings.total
        done = ended(ops, settings, tokens) if settings.ends else tokens < 0
        done = done | last
        finished = self.finished(scores, parents, tokens, done, size, state)
        if settings.ends or settings.sample:
            held = scores + ops.cast(done, "float32") * _WORST
            scores, order = ops.top_k(held, beams)
            parents, tokens = ops.gather(parents, order), ops.gather(tokens, order)
        else:
            scores, parents, tokens = scores[:, :beams], parents[:, :beams], tokens[:, :beams]
        rows = ops.reshape(parents + self.first, (self.rows,))
        running = self.grown(state["running"], parents, tokens, size)
        newest = ops.reshape(tokens, (self.rows,))
        return {
            "running": running,
            "running_scores": scores,
            **finished,
            **self.prospects(scores, finished, state["improvable"], size),
            "memory": self.processors.noted(self.processors.moved(state["memory"], rows), newest),
            "parents": rows,
            "last": newest,
            **new,
        }

    def best(self, scores: Array, running: Array) -> tuple[Array, Array, Array]:
        """Of scores [rows, vocabulary] the `count` best of each source: scores so far, beams and tokens."""
        ops, vocabulary = self.ops, self.processors.vocabulary
        total = ops.reshape(scores, (self.sources, self.beams, vocabulary)) + running[..., None]
        scores, chosen = highest(ops, ops.reshape(total, (self.sources, self.beams * vocabulary)), self.count)
        return scores, chosen // vocabulary, chosen % vocabulary

    def drawn(self, scores: Array, running: Array, key: Key) -> tuple[Array, Array, Array]:
        """As `best`, but drawn without replacement; in the order of the draws."""
        ops = self.ops
        scores, tokens = narrowed(ops, self.settings, scores, self.processors.vocabulary)
        width = int(ops.shape(scores)[1])
        total = ops.reshape(scores, (self.sources, self.beams, width)) + running[..., None]
        total = ops.reshape(total, (self.sources, self.beams * width))
        chosen = raced(ops, total, self.count, key)
        scores = ops.gather(total, chosen)
        if tokens is None:
            return scores, chosen // width, chosen % width
        return scores, chosen // width, ops.gather(ops.reshape(tokens, (self.sources, self.beams * width)), chosen)

    def grown(self, running: Array, parents: Array, tokens: Array, size: Size) -> Array:
        """Rows [sources, n, total] that continue running ones by a token, parents and tokens [sources, n]."""
        ops = self.ops
        rows = ops.take(ops.reshape(running, (self.rows, self.settings.total)), parents + self.first)
        return ops.write(rows, tokens[..., None], size, 2)

    def finished(self, scores: Array, parents: Array, tokens: Array, done: Array, size: Size, state: State) -> State:
        """The finished hypotheses with those of the best `beams` candidates that are `done`."""
        ops, settings, beams = self.ops, self.settings, self.beams
        finishing = done[:, :beams]
        new = scores[:, :beams] / ops.take(self.divisors, size - settings.prompt)
        closed = ~state["improvable"]
        if settings.early_stopping is True:
            new = new + ops.cast(ops.all(state["is_finished"], 1), "float32")[:, None] * _WORST
        new = new + ops.cast(closed, "float32")[:, None] * _WORST + ops.cast(~finishing, "float32") * _WORST
        kept, order = ops.top_k(ops.concatenate((state["finished_scores"], new), 1), beams)
        grown = self.grown(state["running"], parents[:, :beams], tokens[:, :beams], size)
        pool = ops.reshape(ops.concatenate((state["finished"], grown), 1), (self.sources * 2 * beams, settings.total))
        lengths = ops.full((self.sources, beams), 1, "int32") * (size + 1)
        return {
            "finished": ops.take(pool, order + 2 * self.first),
            "finished_scores": kept,
            "is_finished": ops.gather(ops.concatenate((state["is_finished"], finishing), 1), order),
            "lengths": ops.gather(ops.concatenate((state["lengths"], lengths), 1), order),
        }

    def prospects(self, scores: Array, finished: State, improvable: Array, size: Size) -> State:
        """Whether a running row of each source could still beat a finished one, by `early_stopping`."""
        ops, settings = self.ops, self.settings
        generated = size - settings.prompt
        if settings.early_stopping == "never" and settings.length_penalty > 0:
            generated = settings.total - settings.prompt - 1
        ahead = scores[:, :1] / ops.take(self.divisors, generated)
        lowest = -ops.max(-finished["finished_scores"], 1, keepdims=True)
        worst = ops.where(finished["is_finished"], lowest, ops.array(_WORST, "float32"))
        improvable = improvable & ops.any(ahead > worst, 1)
        going = improvable
        if settings.early_stopping is True:
            going = going & ~ops.all(finished["is_finished"], 1)
        return {"improvable": improvable, "going": going}
