"""Greedy search and sampling as one loop over arrays of fixed shape.

A search sees a step function and what it carries, no model:

- `step(tokens [rows, time] int32, past, carried) -> (logits [rows, vocabulary] float32 of the last token, carried)`.
  The prompt comes first, once a source, with `past` the Python number 0; then one token a row, `past` an int32 scalar.
- `take(carried, index [rows]) -> carried`, rows chosen by number: after the prompt `Settings.each` rows of a source.

Rows are source-major. What is carried keeps its shapes while the loop runs.
"""

from __future__ import annotations

from typing import Any

from seqgraft.functional.beams import search_beams
from seqgraft.functional.found import Carried, Found, Step, Take, ended
from seqgraft.functional.ops import Array, Key, Ops, Size
from seqgraft.functional.processors import Processors
from seqgraft.functional.sampling import drawn, narrowed
from seqgraft.functional.settings import Settings


def search(
    ops: Ops,
    step: Step,
    take: Take,
    carried: Carried,
    prompt: Array,
    settings: Settings,
    key: Key = None,
    *,
    rows: Size | None = None,
    vocabulary: int | None = None,
    prompt_mask: Array | None = None,
) -> Found:
    """Continue prompt [sources, settings.prompt] as the settings say; `rows` and `vocabulary` where they are known.

    `key` is needed to sample; prompt_mask [sources, settings.prompt] is 0 where padding stands before a row's text.
    """
    sources = ops.shape(prompt)[0] if rows is None else rows
    logits, carried = step(prompt, 0, carried)
    vocabulary = int(ops.shape(logits)[-1]) if vocabulary is None else vocabulary
    if settings.each > 1:
        prompt, logits = ops.repeat(prompt, settings.each, 0), ops.repeat(logits, settings.each, 0)
        prompt_mask = None if prompt_mask is None else ops.repeat(prompt_mask, settings.each, 0)
        carried = take(carried, ops.repeat(ops.arange(sources), settings.each, 0))
    room = ops.full((sources * settings.each, settings.total - settings.prompt), settings.pad, "int32")
    sequences = ops.concatenate((ops.cast(prompt, "int32"), room), 1)
    processors = Processors(ops, settings, vocabulary)
    memory = processors.start(sequences, prompt_mask)
    if settings.beams > 1:
        return search_beams(ops, step, take, carried, logits, sequences, memory, processors, key)
    return _search_rows(ops, step, carried, logits, sequences, memory, processors, key)


def _search_rows(
    ops: Ops,
    step: Step,
    carried: Carried,
    logits: Array,
    sequences: Array,
    memory: dict[str, Array],
    processors: Processors,
    key: Key,
) -> Found:
    """Every row by itself, from the logits [rows, vocabulary] that the prompt gave."""
    settings = processors.settings
    rows = ops.shape(sequences)[0]
    state: dict[str, Any] = {
        "sequences": sequences,
        "lengths": ops.full((rows,), settings.prompt, "int32"),
        "memory": memory,
    }
    if settings.ends:
        state["running"] = ops.full((rows,), True, "bool")
    if settings.sample:
        state["key"] = key

    def chosen(logits: Array, size: Size, state: dict[str, Any]) -> dict[str, Any]:
        """The state with a token more, after `size` of them."""
        scores = processors(logits, state["sequences"], size, state["memory"])
        new = {}
        if settings.sample:
            new["key"], own = ops.split(state["key"])
            tokens = _drawn(ops, processors, scores, own)
        else:
            tokens = ops.argmax(scores)
        lengths = ops.full((rows,), 1, "int32")
        if settings.ends:
            running = state["running"]
            tokens = ops.where(running, tokens, ops.array(settings.pad, "int32"))
            new["running"] = running & ~ended(ops, settings, tokens)
            lengths = ops.cast(running, "int32")
        return {
            "sequences": ops.write(state["sequences"], tokens[:, None], size, 1),
            "lengths": state["lengths"] + lengths,
            "memory": processors.noted(state["memory"], tokens),
            "last": tokens,
            **new,
        }

    state = chosen(logits, settings.prompt, state)
    if settings.total > settings.prompt + 1:
        state = {**state, "carried": carried, "size": ops.array(settings.prompt + 1, "int32")}

        def go_on(state: dict[str, Any]) -> Array:
            within = state["size"] < settings.total
            return within & ops.any(state["running"]) if settings.ends else within

        def body(state: dict[str, Any]) -> dict[str, Any]:
            logits, carried = step(state["last"][:, None], state["size"] - 1, state["carried"])
            return {**chosen(logits, state["size"], state), "carried": carried, "size": state["size"] + 1}

        state = ops.loop(go_on, body, state)
    return Found(state["sequences"], None, state["lengths"])


def _drawn(ops: Ops, processors: Processors, scores: Array, key: Key) -> Array:
    """A token for each row of scores [rows, vocabulary]."""
    scores, tokens = narrowed(ops, processors.settings, scores, processors.vocabulary)
    place = drawn(ops, scores, key)
    return place if tokens is None else ops.gather(tokens, place[:, None])[:, 0]
