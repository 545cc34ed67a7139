"""Groups, constraints, contrastive search and guidance against the slow oracle, on random tables and settings."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from seqgraft.generation.constraints import constraints_of
from seqgraft.torch.guidance import GuidanceLogitsProcessor, Guided, GuidedState
from seqgraft.torch.processors import (
    HammingDiversityLogitsProcessor,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
)
from seqgraft.torch.search import Record, Step
from seqgraft.torch.search_beams import search_beams
from seqgraft.torch.search_constrained import search_constrained
from seqgraft.torch.search_contrastive import search_contrastive
from seqgraft.torch.search_groups import search_groups
from seqgraft.torch.search_rows import search_rows
from seqgraft.torch.stopping import Stopping

from . import oracle
from . import oracle_searches as slow


class Tables:
    """Tables of logits, and of states where there are any, as a `Decoder`; a state is the ids and their sources."""

    def __init__(self, table, vectors=None):
        self.table = torch.from_numpy(table)
        self.vectors = None if vectors is None else torch.from_numpy(vectors)

    def start(self):
        return SimpleNamespace(ids=torch.zeros(len(self.table), 1).long(), sources=torch.arange(len(self.table)))

    def step(self, ids, state):
        if len(ids) != len(state.ids):  # the prompts of rows that are still one
            state = self.spread(state, len(ids) // len(state.ids))
        new = SimpleNamespace(ids=torch.cat((state.ids, ids), 1), sources=state.sources)
        past, last = new.ids[:, -ids.shape[1] - 1 : -1], new.ids[:, -ids.shape[1] :]
        logits = self.table[new.sources, past[:, -1], last[:, -1]]
        states = None if self.vectors is None else (self.vectors[new.sources[:, None], past, last],)
        return Step(logits, states), new

    def reorder(self, state, rows):
        assert torch.equal(state.sources[rows], state.sources)
        return self.keep(state, rows)

    def keep(self, state, rows):
        return SimpleNamespace(ids=state.ids[rows], sources=state.sources[rows])

    def spread(self, state, times, *, mixing=True):
        return self.keep(state, torch.arange(len(state.ids)).repeat_interleave(times))

    def forget(self, state, counts):
        assert counts.unique().tolist() == [1]
        return SimpleNamespace(ids=state.ids[:, :-1], sources=state.sources)


def processors(o):
    chain = LogitsProcessorList()
    if o.diversity_penalty:
        chain.append(HammingDiversityLogitsProcessor(o.diversity_penalty, o.beams, o.groups))
    if o.repetition_penalty != 1.0:
        chain.append(RepetitionPenaltyLogitsProcessor(o.repetition_penalty))
    return chain


def common(o):
    return {"processors": processors(o), "stopping": Stopping(o.max_length, tuple(o.eos)), "record": Record()}


def beams_of(o, **own):
    names = ("beams", "returned", "length_penalty", "early_stopping")
    return {**common(o), **{name: getattr(o, name) for name in names}, "fill": o.pad, **own}


def random_options(seed):
    r = random.Random(seed)
    vocab = r.randint(14, 20)
    tokens = range(3, vocab)
    o = slow.Options(
        prompt=[1] if r.random() < 0.6 else [1, *r.choices(tokens, k=r.randint(1, 3))],
        eos=r.choice([[], [2], [2], [2, 5], [2, 5, 7]]),
        length_penalty=r.choice([1.0, 1.0, 0.0, 0.5, 2.0, -1.0]),
        early_stopping=r.choice([False, True, "never"]),
        repetition_penalty=r.choice([1.0, 1.0, 1.4]),
        top_k=r.randint(2, 5),
        penalty_alpha=r.choice([0.1, 0.4, 0.6, 0.9]),
    )
    o.max_length = len(o.prompt) + r.randint(1, 11)
    return r, vocab, o


def prompts(table, o, rows):
    return torch.tensor([o.prompt] * (len(table) * rows))


def padded(rows, fill):
    longest = max(map(len, rows))
    return [row + [fill] * (longest - len(row)) for row in rows]


def assert_found(found, table, o, search):
    hypotheses = [h for source in range(len(table)) for h in search(table, source, o)]
    np.testing.assert_allclose(found.scores, np.array([h[0] for h in hypotheses], dtype=np.float32), rtol=1e-5)
    assert found.ids.tolist() == padded([h[1] for h in hypotheses], o.pad)
    rows = []
    for place, (_, _, chosen) in enumerate(hypotheses):
        rows.append([place // o.returned * o.beams + k for k in chosen])
    steps = found.ids.shape[1] - len(o.prompt)
    assert found.beam_indices.tolist() == [row + [-1] * (steps - len(row)) for row in rows]


@pytest.mark.parametrize("batch", range(5))
def test_groups(batch):
    for seed in range(30 * batch, 30 * batch + 30):
        r, vocab, o = random_options(seed)
        o.groups, size = r.choice([2, 3]), r.choice([1, 2, 3])
        o.beams, o.diversity_penalty = o.groups * size, r.choice([0.2, 1.0, 3.0])
        o.returned = r.randint(1, o.beams)
        table = oracle.table(seed, 1 + seed % 3, vocab)
        decoder = Tables(table)
        found = search_groups(decoder, decoder.start(), prompts(table, o, o.beams), groups=o.groups, **beams_of(o))
        assert_found(found, table, o, slow.group_beam)


def random_words(r, vocab, o):
    tokens = [token for token in range(3, vocab) if token not in o.eos]
    words = []
    for _ in range(r.randint(1, 3)):
        if r.random() < 0.5:
            words.append(r.choices(tokens, k=r.randint(1, 3)))
        else:
            begin, (one, two, three) = r.choices(tokens, k=r.randint(0, 1)), r.sample(tokens, 3)
            words.append([[*begin, one], [*begin, two, three]])
    return words


@pytest.mark.parametrize("batch", range(5))
def test_constraints(batch):
    for seed in range(30 * batch, 30 * batch + 30):
        r, vocab, o = random_options(seed)
        o.beams = r.choice([2, 3, 4, 6])
        o.returned = r.randint(1, o.beams)
        o.words = random_words(r, vocab, o)
        table = oracle.table(seed, 1 + seed % 3, vocab)
        decoder = Tables(table)
        asked = constraints_of(SimpleNamespace(constraints=None, force_words_ids=o.words))
        found = search_constrained(
            decoder, decoder.start(), prompts(table, o, o.beams), constraints=asked, **beams_of(o)
        )
        assert_found(found, table, o, slow.constrained_beam)


def test_what_is_asked_for_is_there():
    for seed in range(20):
        table = oracle.table(seed, 2, 16)
        o = slow.Options(beams=4, words=[[5, 6], [[7, 8], [9]]], max_length=12, eos=[2])
        asked = constraints_of(SimpleNamespace(constraints=None, force_words_ids=o.words))
        decoder = Tables(table)
        found = search_constrained(decoder, decoder.start(), prompts(table, o, 4), constraints=asked, **beams_of(o))
        for ids in found.ids.tolist():
            text = " ".join(map(str, ids)) + " "
            assert "5 6 " in text
            assert "7 8 " in text or "9 " in text


@pytest.mark.parametrize("low_memory", [False, True])
@pytest.mark.parametrize("batch", range(4))
def test_contrastive(batch, low_memory):
    for seed in range(30 * batch, 30 * batch + 30):
        _, vocab, o = random_options(seed)
        table = oracle.table(seed, 1 + seed % 3, vocab)
        vectors = np.random.default_rng(seed).normal(size=(*table.shape[:3], 6)).astype(np.float32)
        decoder = Tables(table, vectors)
        found = search_contrastive(
            decoder,
            decoder.start(),
            prompts(table, o, 1),
            penalty_alpha=o.penalty_alpha,
            top_k=o.top_k,
            pad_token_id=o.pad,
            low_memory=low_memory,
            **common(o),
        )
        rows = [slow.contrastive(table, vectors, source, o) for source in range(len(table))]
        assert found.ids.tolist() == padded(rows, o.pad), seed


def guided_search(table, other, scale, o):
    decoder = Tables(np.concatenate((table, other)))
    first, second = decoder.start(), decoder.start()
    half = torch.arange(len(table))
    state = GuidedState(decoder.keep(first, half), decoder.keep(second, half + len(table)))
    prompt = prompts(table, o, 1)
    guide = Guided(decoder, prompt)
    settings = common(o)
    settings["processors"].insert(0, GuidanceLogitsProcessor(scale, guide))
    if o.beams == 1:
        return search_rows(guide, state, prompt, pad_token_id=o.pad, **settings)
    state = guide.spread(state, o.beams)
    return search_beams(guide, state, guide.prompt, **{**beams_of(o), **settings})


@pytest.mark.parametrize("batch", range(4))
def test_guidance(batch, monkeypatch):
    for seed in range(20 * batch, 20 * batch + 20):
        r, vocab, o = random_options(seed)
        o.beams, scale = r.choice([1, 2, 4]), r.choice([0.0, 0.5, 1.5, 3.0])
        o.returned = r.randint(1, o.beams)
        table, other = oracle.table(seed, 1 + seed % 3, vocab), oracle.table(seed + 999, 1 + seed % 3, vocab)
        found = guided_search(table, other, scale, o)
        both = slow.guided(table, other, scale)
        names = [name for name in vars(oracle.Options()) if hasattr(o, name)]
        plain = oracle.Options(**{name: getattr(o, name) for name in names})
        with monkeypatch.context() as patched:
            patched.setattr(oracle, "log_softmax", lambda logits: logits)  # what guidance gives is not normalised
            if o.beams == 1:
                rows = [oracle.greedy(both, source, plain) for source in range(len(table))]
                assert found.ids.tolist() == padded(rows, o.pad), seed
                continue
            hypotheses = [h for source in range(len(table)) for h in oracle.beam(both, source, plain)]
        assert found.ids.tolist() == padded([ids for _, ids, _ in hypotheses], o.pad), seed
        np.testing.assert_allclose(found.scores, [score for score, _, _ in hypotheses], rtol=1e-4, atol=1e-5)


def test_guidance_samples_from_the_guided_distribution():
    table, other = oracle.table(3, 1, 8), oracle.table(4, 1, 8)
    o = slow.Options(beams=1, max_length=2)
    table, other = np.repeat(table, 4000, 0), np.repeat(other, 4000, 0)
    decoder = Tables(np.concatenate((table[:1], other[:1])))
    state = GuidedState(
        decoder.keep(decoder.start(), torch.zeros(4000).long()), decoder.keep(decoder.start(), torch.ones(4000).long())
    )
    prompt = torch.ones(4000, 1).long()
    guide = Guided(decoder, prompt)
    settings = common(o)
    settings["processors"].insert(0, GuidanceLogitsProcessor(1.7, guide))
    torch.manual_seed(0)
    found = search_rows(guide, state, prompt, sample=True, **settings)
    expected = np.exp(slow.log_softmax(slow.guided(table[:1], other[:1], 1.7)[0, 0, 1]))
    seen = np.bincount(found.ids[:, 1].numpy(), minlength=8) / 4000
    assert np.abs(seen - expected).max() < 4 * np.sqrt(0.25 / 4000)
