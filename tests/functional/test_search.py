"""Greedy and beam search, as arrays of fixed shape, against the slow oracle; in plain numpy."""

import numpy as np
import pytest

from ..generation import oracle
from .numpy_ops import NumpyOps
from .toys import check, random_options, run, settings_of, table_of

SEEDS = 240


@pytest.mark.parametrize("part", range(6))
def test_random_settings(part: int) -> None:
    for seed in range(part, SEEDS, 6):
        vocabulary, o, settings = random_options(seed)
        table = table_of(seed, vocabulary)
        check(run(NumpyOps(), table, settings, [o.prompt] * 3), table, o)


def test_the_settings_are_of_all_kinds() -> None:
    """The test above is worth something only if rows end at different places and every rule changes something."""
    lengths, changed = set(), set()
    for seed in range(80):
        vocabulary, o, settings = random_options(seed)
        table = table_of(seed, vocabulary)
        found = run(NumpyOps(), table, settings, [o.prompt] * 3)
        lengths |= {(o.max_length, int(length)) for length in found.lengths}
        for name, off in {
            "repetition_penalty": 1.0,
            "no_repeat_ngram_size": 0,
            "bad_words_ids": None,
            "suppress_tokens": None,
            "begin_suppress_tokens": None,
            "forced_bos_token_id": None,
            "forced_eos_token_id": None,
            "min_length": 0,
            "length_penalty": 1.0,
            "early_stopping": False,
        }.items():
            value = getattr(o, name)
            if value == off:
                continue
            setattr(o, name, off)
            other = run(NumpyOps(), table, settings_of(o), [o.prompt] * 3)
            setattr(o, name, value)
            if not np.array_equal(other.sequences, found.sequences):
                changed.add(name)
    assert len(changed) == 10
    assert len([1 for most, length in lengths if length < most]) > 10


def test_rows_that_differ_by_their_prompts() -> None:
    vocabulary, prompts = 17, [[1, 4, 9, 4], [1, 5, 6, 7], [1, 3, 3, 3]]
    table = oracle.table(5, 3, vocabulary)
    for beams in (1, 3):
        for source, prompt in enumerate(prompts):
            o = oracle.Options(
                beams=beams, prompt=prompt, eos=[2], max_length=12, no_repeat_ngram_size=2, repetition_penalty=1.4
            )
            together = run(NumpyOps(), table, settings_of(o), prompts)
            alone = run(NumpyOps(), table[source : source + 1], settings_of(o), [prompt])
            check(alone, table[source : source + 1], o)
            assert together.sequences[source].tolist() == alone.sequences[0].tolist()


@pytest.mark.parametrize("beams", [1, 2])
def test_padding_before_a_prompt_is_no_repetition(beams: int) -> None:
    """The pad id stands in the prompt, and may be chosen as if it had never been there."""
    vocabulary = 9
    table = np.zeros((2, vocabulary, vocabulary, vocabulary), np.float32)
    table[..., 0], table[..., 5] = 3.0, 2.6
    o = oracle.Options(beams=beams, prompt=[0, 0, 1], max_length=4, repetition_penalty=2.0)
    prompt, mask = [o.prompt, [0, 6, 1]], np.array([[0, 0, 1], [1, 1, 1]])
    shown = run(NumpyOps(), table, settings_of(o), prompt, prompt_mask=mask)
    assert shown.sequences[:, -1].tolist() == [0, 5]
    assert run(NumpyOps(), table, settings_of(o), prompt).sequences[:, -1].tolist() == [5, 5]


def test_the_loop_stops_when_all_rows_have_ended() -> None:
    class Counting(NumpyOps):
        turns = 0

        def loop(self, go_on, body, state):  # type: ignore[no-untyped-def]
            def counted(state):  # type: ignore[no-untyped-def]
                self.turns += 1
                return body(state)

            return super().loop(go_on, counted, state)

    table = np.zeros((2, 6, 6, 6), np.float32)
    table[..., 4] = 1.0
    table[:, :, 4, 2] = 9.0
    for beams in (1, 2):
        ops = Counting()
        found = run(ops, table, settings_of(oracle.Options(beams=beams, max_length=50, eos=[2])), [[1], [1]])
        assert found.sequences[:, :4].tolist() == [[1, 4, 2, 0]] * 2
        assert ops.turns == 1 if beams == 1 else ops.turns < 8


def test_tokens_that_the_vocabulary_does_not_have() -> None:
    table = oracle.table(0, 1, 8)
    for name, value in {"bad_words_ids": [[3, 8]], "forced_bos_token_id": 8, "forced_eos_token_id": 9}.items():
        o = oracle.Options(eos=[2], **{name: value})
        with pytest.raises(ValueError, match=f"`{name}` must be below the vocabulary's 8"):
            run(NumpyOps(), table, settings_of(o), [[1]])
    o = oracle.Options(eos=[2, 99], suppress_tokens=[4, 99], min_length=9)
    settings = settings_of(o)
    o.eos, o.suppress_tokens = [2], [4]
    check(run(NumpyOps(), table, settings, [[1]]), table, o)


def test_the_token_after_a_forced_first_one_counts_as_the_first() -> None:
    table = np.zeros((1, 8, 8, 8), np.float32)
    table[..., 5], table[..., 6] = 2.0, 1.0
    for beams in (1, 2):
        o = oracle.Options(beams=beams, max_length=4, begin_suppress_tokens=[5], forced_bos_token_id=4)
        found = run(NumpyOps(), table, settings_of(o), [[1]])
        check(found, table, o)
        assert found.sequences[0].tolist() == [1, 4, 6, 5]
