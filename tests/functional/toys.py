"""A table of logits in place of a model, as the slow oracle has it, behind the step function that a search sees."""

import random
from typing import Any

import numpy as np

from seqgraft.functional.found import Found
from seqgraft.functional.ops import Ops
from seqgraft.functional.search import search
from seqgraft.functional.settings import Settings

from ..generation import oracle


def run(ops: Ops, table: Any, settings: Settings, prompt: Any, key: Any = None, **given: Any) -> Found:
    """The search over table [sources, token before last, last token, vocabulary], after prompt [sources, time]."""
    sources, *_, vocabulary = ops.shape(table)
    rows_of_table = ops.reshape(ops.array(table, "float32"), (-1, vocabulary))

    def step(tokens: Any, past: Any, carried: Any) -> Any:
        if isinstance(past, int):
            assert past == 0
            assert tokens.shape[1] == settings.prompt
        else:
            assert tokens.shape[1] == 1
        if isinstance(sources, int):
            assert tokens.shape[0] == sources * (1 if isinstance(past, int) else settings.each)
        last = ops.concatenate((carried["last"], tokens), 1)[:, -2:]
        place = (carried["source"] * vocabulary + last[:, 0]) * vocabulary + last[:, 1]
        return ops.take(rows_of_table, place), {"last": last, "source": carried["source"]}

    def take(carried: Any, index: Any) -> Any:
        return {name: ops.take(value, index) for name, value in carried.items()}

    carried = {"last": ops.full((sources, 2), 0, "int32"), "source": ops.arange(sources)}
    return search(ops, step, take, carried, ops.array(prompt, "int32"), settings, key, **given)


def random_options(seed: int) -> tuple[int, Any, Settings]:
    """Settings of all kinds together, as the oracle has them and as the search does."""
    r = random.Random(seed)
    vocabulary = r.randint(24, 28)  # so many that something is always left to choose
    tokens = range(3, vocabulary)
    beams = r.choice([1, 2, 3, 4])
    o = oracle.Options(
        beams=beams,
        returned=r.randint(1, beams),
        prompt=[1] if r.random() < 0.5 else [1, *r.choices(tokens, k=r.randint(1, 3))],
        eos=r.choice([[], [2], [2], [2, 5], [2, 5, 7]]),
        length_penalty=r.choice([1.0, 1.0, 0.0, 0.5, 2.0, -1.0]),
        early_stopping=r.choice([False, True, "never"]),
    )
    o.max_length = len(o.prompt) + r.choice([1, *range(1, 12)])
    if r.random() < 0.3:
        o.min_length = r.randint(1, o.max_length)
    if r.random() < 0.4:
        o.no_repeat_ngram_size = r.randint(1, 4)
    if r.random() < 0.4:
        o.repetition_penalty = r.choice([0.7, 1.3, 2.5])
    if r.random() < 0.5:  # what would come otherwise, in part
        text = oracle.greedy(table_of(seed, vocabulary), r.randrange(3), o)
        starts = [(r.randrange(len(text)), r.randint(2, 4)) for _ in range(6)]
        words = [text[start : start + length] for start, length in starts]
        o.bad_words_ids = [r.choices(tokens, k=1), [2], *(word for word in words if len(word) > 1)]
    if r.random() < 0.3:
        o.suppress_tokens = r.choices(tokens[2:], k=4)  # a forced token that is forbidden leaves nothing
    if r.random() < 0.3:
        o.begin_suppress_tokens = r.choices(tokens, k=4)
    if r.random() < 0.25:
        o.forced_bos_token_id = 4
    if r.random() < 0.2:
        o.forced_eos_token_id = 2
    return vocabulary, o, settings_of(o)


def table_of(seed: int, vocabulary: int) -> Any:
    """The oracle's table of three sources, with end tokens so likely that rows end at many places."""
    made = oracle.table(seed, 3, vocabulary)
    made[..., [2, 5, 7]] += 1.5
    return made


def settings_of(o: Any, **more: Any) -> Settings:
    """The oracle's options as the search has them."""
    return Settings(
        prompt=len(o.prompt),
        total=o.max_length,
        min_length=o.min_length if o.eos else 0,
        beams=o.beams,
        returned=o.returned,
        length_penalty=o.length_penalty,
        early_stopping=o.early_stopping,
        repetition_penalty=o.repetition_penalty,
        no_repeat_ngram=o.no_repeat_ngram_size,
        bad_words=tuple(tuple(w) for w in o.bad_words_ids or () if not (len(w) == 1 and w[0] in o.eos)),
        suppressed=tuple(o.suppress_tokens or ()),
        suppressed_first=tuple(o.begin_suppress_tokens or ()),
        forced_first=o.forced_bos_token_id,
        forced_last=() if o.forced_eos_token_id is None else (o.forced_eos_token_id,),
        ends=tuple(o.eos),
        pad=o.pad,
        **more,
    )


def check(found: Found, table: Any, o: Any) -> None:
    """What was found is what the oracle finds."""
    sequences, lengths = np.asarray(found.sequences), np.asarray(found.lengths)
    assert sequences.shape == (len(table) * o.returned, o.max_length)
    place = 0
    for source in range(len(table)):
        best = [(None, oracle.greedy(table, source, o))] if o.beams == 1 else oracle.beam(table, source, o)
        for rank, (score, ids, *_) in enumerate(best):
            own = place + rank
            if score is not None and score < -1e8:  # copies tie there with empty places: no rule orders them
                assert rank
                assert np.asarray(found.scores)[own] < -1e8
                continue
            assert sequences[own].tolist() == ids + [o.pad] * (o.max_length - len(ids)), (source, rank, o)
            assert lengths[own] == len(ids)
            if score is not None:
                np.testing.assert_allclose(np.asarray(found.scores)[own], score, rtol=1e-5, atol=1e-5)
        place += o.returned
