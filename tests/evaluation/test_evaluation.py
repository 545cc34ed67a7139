"""Figures against the libraries that define them, intervals against sacrebleu's own, tests against known cases."""

import math
import random
import sys

import numpy as np
import pytest

from seqgraft.errors import ConfigurationError, MissingExtraError
from seqgraft.evaluation.bootstrap import compare, interval, resample
from seqgraft.evaluation.measures import exact, figures, measure, perplexity
from seqgraft.evaluation.report import report

sacrebleu = pytest.importorskip("sacrebleu")
WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "sat",
    "ran",
    "on",
    "mat",
    "house",
    "tree",
    "small",
    "big",
    "red",
    "blue",
    "sees",
    "sings",
    "walking",
    "walked",
]


def texts(count=60, wrong=0.2, seed=0):
    draw = random.Random(seed)
    references = [" ".join(draw.choices(WORDS, k=draw.randint(4, 12))) for _ in range(count)]
    noise = random.Random(seed + 100)
    made = [
        " ".join(noise.choice(WORDS) if noise.random() < wrong else word for word in text.split())
        for text in references
    ]
    return made, references


def test_figures_are_those_of_the_libraries():
    made, true = texts()
    found = {one.name: one.value() for one in measure(["bleu", "chrf", "rouge"], made, true)}
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(made, [true]).score, abs=1e-9)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(made, [true]).score, abs=1e-9)
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for name in ("rouge1", "rouge2", "rougeL"):
        mean = np.mean([scorer.score(r, m)[name].fmeasure for m, r in zip(made, true, strict=True)])
        assert found[name] == pytest.approx(100 * mean, abs=1e-9)


def test_tokenised_and_lower_case_texts():
    made, true = ["The Cat isn't here . yes"], ["the cat isn 't here . yes"]
    for how in ({"tokenize": "none"}, {"tokenize": "13a", "lowercase": True}):
        (one,) = measure(["bleu"], made, true, **how)
        assert one.value() == pytest.approx(sacrebleu.corpus_bleu(made, [true], **how).score, abs=1e-9)
    assert "tok:13a" in one.signature
    assert "case:lc" in one.signature
    with pytest.raises(ConfigurationError, match="`tokenize` must be one of"):
        measure(["bleu"], made, true, tokenize="words")


def test_exact_match_and_perplexity():
    assert exact(["a b", "a  b\n", "A b", "b"], ["a b"] * 4).value() == 50.0
    held = perplexity([(2.0, 1), (1.0, 5)])
    assert held.value() == pytest.approx(math.exp(0.5))
    assert held.each() == pytest.approx([math.exp(2), math.exp(0.2)])
    assert perplexity([(1e9, 1)]).value() > 1e300


def test_intervals_are_those_of_sacrebleu():
    """Its bootstrap draws other test sets, so both ends agree within the noise of 2,000 draws."""
    made, true = texts(150)
    (one,) = measure(["bleu"], made, true)
    theirs = sacrebleu.metrics.BLEU().corpus_score(made, [true], n_bootstrap=2000)
    low, high = interval(one, samples=2000)
    assert low == pytest.approx(theirs._mean - theirs._ci, abs=0.5)
    assert high == pytest.approx(theirs._mean + theirs._ci, abs=0.5)
    assert interval(one, samples=2000, level=0.5)[0] > low


def test_interval_of_a_share_is_the_binomials():
    one = exact(["a"] * 120 + ["b"] * 280, ["a"] * 400)
    low, high = interval(one, samples=2000)
    half = 1.96 * math.sqrt(0.3 * 0.7 / 400) * 100
    assert (low, high) == (pytest.approx(30 - half, abs=0.6), pytest.approx(30 + half, abs=0.6))
    assert np.array_equal(resample(one, 50, 7), resample(one, 50, 7))
    assert not np.array_equal(resample(one, 50, 7), resample(one, 50, 8))


@pytest.mark.parametrize("metric", ["bleu", "rouge", "chrf"])
def test_paired_test_knows_better_from_equal(metric):
    good, true = texts(wrong=0.1)
    bad, _ = texts(wrong=0.4)
    alike = [*good[:-1], bad[-1]]
    first, second, third = (measure([metric], made, true)[-1] for made in (good, bad, alike))
    clear = compare(first, second)
    assert clear.p < 0.001
    assert 0 < clear.low <= clear.difference <= clear.high
    turned = compare(second, first)
    assert (turned.p, turned.low, turned.high) == (clear.p, -clear.high, -clear.low)
    assert compare(first, first).p == 1.0
    assert compare(first, third).p > 0.05  # one example of sixty


@pytest.mark.parametrize("wrong", [0.36, 0.37])
def test_p_is_that_of_sacrebleus_paired_test(wrong):
    """Where one system is rather clearly ahead both ask the same: how often chance alone gives as much."""
    from sacrebleu.significance import PairedTest

    true = texts(200)[1]
    good, bad = texts(200, wrong=0.3)[0], texts(200, wrong=wrong)[0]
    named = [("other", bad), ("own", good)]
    _, scores = PairedTest(named, {"BLEU": sacrebleu.metrics.BLEU()}, [true], test_type="bs", n_samples=2000)()
    theirs = scores["BLEU"][1].p_value
    found = compare(*(measure(["bleu"], made, true)[0] for made in (good, bad)), samples=2000)
    assert 0.001 < theirs < 0.1
    assert found.p == pytest.approx(theirs, abs=0.015)


def test_worst_examples_and_json():
    true = ["the cat sat", "the dog ran", "a tree", "the house"]
    made = ["the cat sat", "nothing", "a big tree", "the house"]
    found = report(measure(["exact", "rouge"], made, true), ["s1", "s2", "s3", "s4"], true, made, worst=2, samples=20)
    assert [(one.number, one.source, one.prediction) for one in found.worst] == [
        (2, "s2", "nothing"),
        (3, "s3", made[2]),
    ]
    assert found.ranked_by == "rougeL"
    held = found.to_dict()
    assert held["figures"][0]["name"] == "exact"
    assert held["figures"][0]["value"] == 50.0
    losses = report(
        measure(["perplexity"], made, true, [(1, 1), (5, 1), (9, 1), (2, 1)]), true, true, made, worst=1, samples=9
    )
    assert losses.worst[0].number == 3


def test_messages(monkeypatch):
    with pytest.raises(ConfigurationError, match=r"must be of rouge, bleu.*'meteor'"):
        measure(["meteor"], ["a"], ["a"])
    with pytest.raises(ConfigurationError, match="as many predictions"):
        measure(["exact"], ["a"], ["a", "b"])
    with pytest.raises(ConfigurationError, match="Perplexity needs"):
        measure(["perplexity"], ["a"], ["a"])
    with pytest.raises(ConfigurationError, match="the same examples"):
        compare(exact(["a"], ["a"]), exact(["a"] * 2, ["a"] * 2))
    with pytest.raises(ConfigurationError, match="at least 2 samples"):
        interval(exact(["a"], ["a"]), samples=1)
    assert figures(["rouge", "bleu"]) == ["rouge1", "rouge2", "rougeL", "bleu"]
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    with pytest.raises(MissingExtraError, match="sacrebleu"):
        measure(["bleu"], ["a"], ["a"])
