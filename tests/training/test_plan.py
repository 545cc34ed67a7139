"""Batches planned by tokens: what all epochs share, what the seed gives, and the padding of real pairs."""

import re
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from examples.docstrings.collect import pairs_of_file
from seqgraft.training.plan import BatchPlan


def shapes(plan, epoch):
    found = []
    for index in range(len(plan)):
        batch = plan.batch(epoch, index)
        found.append((len(batch), int(plan.sources[batch].max()), int(plan.targets[batch].max())))
    return sorted(found)


def lengths(count=2000):
    random = np.random.default_rng(3)
    return random.integers(5, 60, count), random.integers(3, 20, count)


@pytest.mark.parametrize("bounds", [{"tokens": 700}, {"rows": 16}, {"tokens": 700, "rows": 12}])
def test_epochs_have_the_same_shapes_and_another_order(bounds):
    plan = BatchPlan(*lengths(), seed=1, **bounds)
    epochs = [[plan.batch(epoch, index).tolist() for index in range(len(plan))] for epoch in (0, 1, 0)]
    assert epochs[0] == epochs[2]
    assert epochs[0] != epochs[1]
    assert {tuple(sorted(batch)) for batch in epochs[0]} != {tuple(sorted(batch)) for batch in epochs[1]}
    for batches in epochs:
        assert sorted(index for batch in batches for index in batch) == list(range(2000))
    assert shapes(plan, 0) == shapes(plan, 1) == shapes(plan, 7)


def test_rows_alone_fill_every_batch_but_one():
    plan = BatchPlan(*lengths(1000), rows=16)
    sizes = sorted(len(plan.batch(0, index)) for index in range(len(plan)))
    assert sizes == [1000 % 16, *[16] * (1000 // 16)]


@pytest.mark.parametrize("count", [20, 1000])
def test_a_bound_of_tokens_that_none_reaches_changes_no_number_of_batches(count):
    plan = BatchPlan(*lengths(count), rows=5, tokens=4096)
    assert [len(part) for part in plan._parts] == [5] * (count // 5)


def test_batches_are_nearly_full():
    sources, targets = lengths(5000)
    plan = BatchPlan(sources, targets, tokens=2048)
    assert len(plan) < 1.25 * (sources + targets).sum() / 2048
    both = BatchPlan(sources, targets, tokens=2048, rows=32)
    assert len(both) < 1.25 * 5000 / 32


def docstrings():
    """(body, first line) of the standard library's docstrings, which every machine has."""
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        yield from pairs_of_file(file)


def test_padding_of_real_pairs_is_below_five_in_a_hundred():
    """About as many batches as 13,000 pairs have at 4096 tokens, where the padding is 3.3 in a hundred."""
    pieces = [[len(re.findall(r"\w{1,5}|[^\w\s]", text)) + 2 for text in pair] for pair in docstrings()]
    sources, targets = np.array(pieces).clip(max=512).T
    assert len(sources) > 500
    plan = BatchPlan(sources, targets, tokens=512)
    assert plan.waste() < 0.05
    shuffled = np.random.default_rng(0).permutation(len(sources))
    padded = sum(len(b) * (sources[b].max() + targets[b].max()) for b in np.array_split(shuffled, len(plan)))
    assert 1 - (sources.sum() + targets.sum()) / padded > 0.4


def test_fuller_batches_are_given_up_for_less_padding(monkeypatch):
    """A tenth of the batches more, at most, where that brings the padding below five in a hundred."""
    random = np.random.default_rng(3)
    sources = np.exp(random.normal(4.6, 0.8, 3000)).astype(np.int64).clip(3, 512)
    targets = np.exp(random.normal(2.6, 0.45, 3000)).astype(np.int64).clip(2, 60)
    found = {tokens: BatchPlan(sources, targets, tokens=tokens) for tokens in (2048, 3300, 8192)}
    monkeypatch.setattr("seqgraft.training.plan._WASTE", 0.0)  # which no plan has
    fewest = {tokens: BatchPlan(sources, targets, tokens=tokens) for tokens in found}
    assert fewest[3300].waste() > 0.05 > found[3300].waste()
    assert len(fewest[3300]) < len(found[3300]) < 1.1 * len(fewest[3300])
    for tokens in (2048, 8192):  # one has less anyway, for the other no plan has
        assert [part.tolist() for part in found[tokens]._parts] == [part.tolist() for part in fewest[tokens]._parts]
    assert fewest[2048].waste() < 0.05 < fewest[8192].waste()
