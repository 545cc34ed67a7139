"""What sampling draws: the distribution that our processors for torch leave, themselves equal to the reference's."""

from typing import Any

import numpy as np
import pytest
import torch

from seqgraft.functional.sampling import drawn, narrowed, raced
from seqgraft.functional.settings import Settings
from seqgraft.torch.processors import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from ..generation import oracle
from .numpy_ops import NumpyOps
from .toys import run, settings_of

CUTS = {
    "nothing": {},
    "temperature": {"temperature": 0.6},
    "top_k": {"top_k": 7},
    "top_k_of_all": {"top_k": 500},
    "top_p": {"top_p": 0.8},
    "top_p_of_nothing": {"top_p": 0.0},
    "min_p": {"min_p": 0.1},
    "two": {"top_p": 0.7, "min_p": 0.05},
    "all": {"temperature": 1.7, "top_k": 30, "top_p": 0.9, "min_p": 0.02},
}


def settings(beams: int = 1, ends: tuple[int, ...] = (2,), **cut: Any) -> Settings:
    return Settings(1, 9, sample=True, beams=beams, ends=ends, **cut)


def kept(cut: dict[str, Any], least: int, scores: Any) -> Any:
    """Probabilities that torch's warpers leave, [rows, vocabulary]."""
    scores = torch.from_numpy(scores)
    made = {
        "temperature": lambda value: TemperatureLogitsWarper(value),
        "top_k": lambda value: TopKLogitsWarper(value, min_tokens_to_keep=least),
        "top_p": lambda value: TopPLogitsWarper(value, min_tokens_to_keep=least),
        "min_p": lambda value: MinPLogitsWarper(value, min_tokens_to_keep=least),
    }
    for name, warper in made.items():
        if name in cut:
            scores = warper(cut[name])(torch.zeros(1, 1), scores)
    return scores.softmax(-1).numpy()


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("name", CUTS)
def test_what_may_be_drawn(name: str, beams: int) -> None:
    ops, cut = NumpyOps(), CUTS[name]
    own = settings(beams, (2, 5), **cut)
    assert own.least == (3 if beams > 1 else 1)
    scores = np.random.default_rng(3).normal(0, 2, (6, 200)).astype(np.float32)
    scores[2, 5:] = -np.inf
    left, tokens = narrowed(ops, own, scores, 200)
    chances = np.zeros_like(scores)
    np.put_along_axis(chances, np.broadcast_to(np.arange(200), scores.shape) if tokens is None else tokens, 0.0, 1)
    if tokens is None:
        chances = ops.softmax(left)
    else:
        np.put_along_axis(chances, tokens, ops.softmax(left), 1)
    np.testing.assert_allclose(chances, kept(cut, own.least, scores), atol=1e-6)


@pytest.mark.parametrize("count", [5, 300, 1000])
def test_draws_follow_the_softmax(count: int) -> None:
    """Within five standard deviations of what is expected, for each of the ten likeliest; and never the forbidden."""
    draws, likely = 20000, 10
    scores = np.random.default_rng(count).normal(0, 2, count).astype(np.float32)
    scores[::3] = -np.inf
    chances = NumpyOps().softmax(scores[None])[0]
    found = drawn(NumpyOps(), np.broadcast_to(scores, (draws, count)), 7)
    times = np.bincount(found, minlength=count)
    assert times[::3].sum() == 0
    for token in np.argsort(-chances)[:likely]:
        spread = np.sqrt(draws * chances[token] * (1 - chances[token])) + 1e-3
        assert abs(times[token] - draws * chances[token]) < 5 * spread
    assert len(set(found.tolist())) > min(count, 20) // 2


def test_draws_at_the_edges() -> None:
    class At(NumpyOps):
        def __init__(self, chance: float) -> None:
            self.chance = chance

        def uniform(self, key: Any, shape: Any) -> Any:
            return np.full(shape, self.chance, np.float32)

    for count in (6, 700):
        scores = np.full((1, count), -np.inf, np.float32)
        scores[0, [2, 4]] = 0.0
        assert drawn(At(0.0), scores, 0).tolist() == [2]
        assert drawn(At(1 - 2**-24), scores, 0).tolist() == [4]
        assert drawn(At(1.0), scores, 0).tolist() == [4]  # no generator gives it, but sums are rounded


def test_a_race_draws_without_replacement() -> None:
    """The first by the softmax; the second by the softmax of what the first left."""
    scores = np.array([1.0, 0.0, 2.0, -np.inf, 0.5], np.float32)
    chances = NumpyOps().softmax(scores[None])[0]
    draws = 20000
    found = raced(NumpyOps(), np.broadcast_to(scores, (draws, 5)), 2, 3)
    assert (found[:, 0] != found[:, 1]).all()
    for first in (0, 1, 2, 4):
        for second in {0, 1, 2, 4} - {first}:
            chance = chances[first] * chances[second] / (1 - chances[first])
            times = ((found[:, 0] == first) & (found[:, 1] == second)).sum()
            assert abs(times - draws * chance) < 5 * np.sqrt(draws * chance)


@pytest.mark.parametrize("returned", [1, 3])
def test_sampling_follows_the_model(returned: int) -> None:
    """Pairs of tokens come as often as their probabilities say; the rest of a row that ended is padding."""
    table = oracle.table(2, 1, 6)
    many = 6000
    o = oracle.Options(prompt=[1], eos=[2], max_length=3, returned=returned)
    found = run(NumpyOps(), np.broadcast_to(table, (many, 6, 6, 6)), settings_of(o, sample=True), [[1]] * many, 5)
    assert found.sequences.shape == (many * returned, 3)
    assert found.scores is None
    first = NumpyOps().softmax(table[0, 0, 1][None])[0]
    for one in range(6):
        second = NumpyOps().softmax(table[0, 1, one][None])[0] if one != 2 else np.eye(6)[0]
        for two in range(6):
            chance = first[one] * second[two]
            times = (found.sequences[:, 1:] == (one, two)).all(1).sum()
            assert abs(times - many * returned * chance) < 5 * np.sqrt(many * returned * chance) + 1e-3


def test_a_key_gives_the_same_again() -> None:
    table = np.repeat(oracle.table(4, 1, 12), 3, 0)
    for beams in (1, 3):
        o = oracle.Options(prompt=[1, 5], eos=[2], max_length=14, beams=beams)
        own = settings_of(o, sample=True, top_k=9)
        first, again, other = (run(NumpyOps(), table, own, [[1, 5]] * 3, key).sequences for key in (1, 1, 2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
        assert len({tuple(row) for row in first.tolist()}) > 1  # rows draw by themselves


def test_the_least_temperature_is_greedy_search() -> None:
    for seed in range(20):
        table = oracle.table(seed, 3, 15)
        o = oracle.Options(eos=[2], max_length=12, no_repeat_ngram_size=2)
        for cut in ({"temperature": 1e-4}, {"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}):
            found = run(NumpyOps(), table, settings_of(o, sample=True, **cut), [[1]] * 3, seed)
            greedy = run(NumpyOps(), table, settings_of(o), [[1]] * 3)
            assert np.array_equal(found.sequences, greedy.sequences)
