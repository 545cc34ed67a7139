"""Speculative decoding against the slow oracle and against plain sampling, on tables that stand for models."""

import random

import numpy as np
import pytest
import torch
import transformers

from seqgraft.generation import GenerationConfig
from seqgraft.generation.resolve import settings_of
from seqgraft.generation.stopping import StoppingCriteriaList
from seqgraft.torch import processors
from seqgraft.torch.candidates import Assistant, Drafting, PromptLookup
from seqgraft.torch.ragged import Texts
from seqgraft.torch.search import Record, Step
from seqgraft.torch.search_rows import search_rows
from seqgraft.torch.speculation import search_assisted
from seqgraft.torch.stopping import Stopping

from . import oracle
from .test_search_oracle import random_options


class RaggedTable:
    """The oracle's table as a `Decoder` whose rows have lengths of their own: plain lists of ids."""

    def __init__(self, table):
        self.table = torch.from_numpy(table)
        self.passes = []

    def start(self):
        return [(source, []) for source in range(len(self.table))]

    def score(self, ids, state):
        assert len(ids) == len(state)
        self.passes.append(len(state))
        rows = [(source, seen + new) for (source, seen), new in zip(state, ids.tolist(), strict=True)]
        logits = [
            [self.table[source][0 if at < 2 else seen[at - 2], seen[at - 1]] for at in range(1, len(seen) + 1)]
            for source, seen in rows
        ]
        return torch.stack([torch.stack(row[-ids.shape[1] :]) for row in logits]), rows

    def step(self, ids, state):
        logits, state = self.score(ids, state)
        return Step(logits[:, -1]), state

    def keep(self, state, rows):
        return [state[row] for row in rows.tolist()]

    def forget(self, state, counts):
        assert len(counts) == len(state)
        assert counts.min() >= 0
        assert all(count <= len(seen) for (_, seen), count in zip(state, counts.tolist(), strict=True))
        return [
            (source, seen[: len(seen) - count]) for (source, seen), count in zip(state, counts.tolist(), strict=True)
        ]


class FastTable(RaggedTable):
    """The same of one source for many rows: ids [rows, time] and lengths [rows]."""

    def __init__(self, table, rows):
        super().__init__(table)
        self.rows = rows

    def start(self):
        return torch.zeros(self.rows, 12, dtype=torch.long), torch.zeros(self.rows, dtype=torch.long)

    def score(self, ids, state):
        seen, lengths = state[0].clone(), state[1]
        self.passes.append(len(seen))
        for place, new in enumerate(ids.T):
            seen[torch.arange(len(seen)), lengths + place] = new
        padded = torch.nn.functional.pad(seen, (1, 0))
        at = lengths[:, None] + torch.arange(ids.shape[1])
        return self.table[0, padded.gather(1, at), padded.gather(1, at + 1)], (seen, lengths + ids.shape[1])

    def keep(self, state, rows):
        return state[0][rows], state[1][rows]

    def forget(self, state, counts):
        return state[0], state[1] - counts


def like(table, seed, share):
    """A table that says the same as another in about `share` of the places."""
    other = oracle.table(seed + 1000, table.shape[0], table.shape[1])
    same = np.random.default_rng(seed).random(table.shape[:3]) < share
    return np.where(same[..., None], table, other)


def settings(**changes):
    """A filled configuration."""
    return settings_of(changes, None, GenerationConfig())


def chain(o, **changes):
    names = ("sequence_bias", "bad_words_ids", "no_repeat_ngram_size", "repetition_penalty", "min_length")
    names += ("min_new_tokens", "forced_bos_token_id", "forced_eos_token_id")
    config = settings(**{name: getattr(o, name) for name in names}, **changes)
    return processors.build(
        config, prompt_length=len(o.prompt), max_length=o.max_length, eos_token_ids=o.eos, device="cpu"
    )


def assistant(table, o, processors, *, tokens=4, threshold=0.0, **how):
    decoder, stopping = RaggedTable(table), Stopping(o.max_length, tuple(o.eos))
    return Assistant(
        decoder, decoder.start(), tokens=tokens, threshold=threshold, processors=processors, stopping=stopping, **how
    )


def run(table, o, proposer, *, processors=None, record=None, prompt=None, **how):
    decoder = RaggedTable(table)
    found = search_assisted(
        decoder,
        decoder.start(),
        torch.tensor([o.prompt] * len(table)) if prompt is None else prompt,
        drafting=Drafting(proposer),
        processors=chain(o) if processors is None else processors,
        stopping=how.pop("stopping", Stopping(o.max_length, tuple(o.eos))),
        record=record or Record(),
        pad_token_id=how.pop("pad_token_id", o.pad),
        **how,
    )
    return found, decoder


def expected(table, o):
    rows = [oracle.greedy(table, source, o) for source in range(len(table))]
    longest = max(map(len, rows))
    return [row + [o.pad] * (longest - len(row)) for row in rows]


def proposers(seed, table, o):
    """One of each kind, with settings that the seed chooses."""
    r = random.Random(seed)
    share, tokens = r.choice([0.0, 0.5, 0.8, 1.0]), r.randint(1, 6)
    how = {"tokens": tokens, "threshold": r.choice([0.0, 0.5]), "adapt": r.random() < 0.5}
    yield assistant(like(table, seed, share), o, r.choice([chain(o), processors.LogitsProcessorList()]), **how)
    source = torch.tensor([r.choices([-1, *range(table.shape[1])], k=40) for _ in table])
    yield PromptLookup(tokens, r.randint(1, 3), r.choice([source, None]))


@pytest.mark.parametrize("batch", range(10))
def test_equal_to_the_greedy_oracle(batch):
    for seed in range(20 * batch, 20 * batch + 20):
        vocab, o = random_options(seed)
        o.beams = o.returned = 1
        table = oracle.table(seed, 1 + seed % 3, vocab)
        for proposer in proposers(seed, table, o):
            found, decoder = run(table, o, proposer)
            assert found.ids.tolist() == expected(table, o), (seed, o, type(proposer))
            assert found.speculation.passes == len(decoder.passes)
            assert found.speculation.row_passes == sum(decoder.passes)


@pytest.mark.parametrize("seed", range(12))
def test_a_perfect_assistant_saves_the_passes(seed):
    vocab, o = random_options(seed)
    o.eos, o.prompt, o.max_length = [], [1], 14
    table = oracle.table(seed, 1 + seed % 3, vocab)
    found, decoder = run(table, o, assistant(table, o, chain(o), tokens=3))
    assert len(decoder.passes) == 4  # 13 tokens, 4 a pass
    assert found.speculation.acceptance == 1.0
    assert found.speculation.tokens == 13 * len(table)
    assert found.speculation.tokens_per_pass == 13 / 4


def test_rows_that_ended_cost_nothing():
    o = oracle.Options(eos=[2], max_length=30)
    table = oracle.table(3, 6, 9)
    found, decoder = run(table, o, assistant(like(table, 3, 0.6), o, chain(o), tokens=2))
    lengths = [len(oracle.greedy(table, source, o)) for source in range(6)]
    assert len(set(lengths)) > 2
    assert decoder.passes[0] == 6
    assert decoder.passes[-1] == 1
    assert found.speculation.tokens == sum(lengths) - 6


def test_drafts_adapt_to_what_became_of_them():
    o = oracle.Options(max_length=60)
    table = oracle.table(0, 2, 9)
    remembered = []
    right = assistant(table, o, chain(o), tokens=1, adapt=True, remember=remembered.append)
    drafted = []
    propose = right.propose
    right.propose = lambda texts, room: drafted.append(propose(texts, room)) or drafted[-1]
    run(table, o, right)
    assert [drafts.ids.shape[1] for drafts in drafted] == [1, 3, 5, 7, 9, 11, 13, 2]
    assert remembered == [15]
    wrong = assistant(np.roll(table, 1, axis=-1), o, chain(o), tokens=4, adapt=True, remember=remembered.append)
    assert run(table, o, wrong)[0].speculation.accepted == 0
    assert remembered[1:] == [1]


def test_an_unsure_assistant_stops_early():
    o = oracle.Options(max_length=40)
    table = oracle.table(1, 1, 9)
    sure = run(table, o, assistant(table, o, chain(o), tokens=8, threshold=1.0))[0].speculation
    assert sure.drafted == sure.passes - 1  # one not sure enough is still handed on; in the last pass no place is left
    assert run(table, o, assistant(table, o, chain(o), tokens=8))[0].speculation.drafted > 3 * sure.drafted / 2


@pytest.mark.parametrize("seed", range(60))
def test_lookup_in_the_text_finds_what_the_reference_finds(seed):
    r = random.Random(seed)
    tokens, size, length, room = r.randint(1, 5), r.randint(1, 4), r.randint(1, 30), r.randint(1, 5)
    ids = torch.tensor([r.choices(range(2, 5), k=length)])
    theirs = transformers.generation.candidate_generator.PromptLookupCandidateGenerator(
        num_output_tokens=tokens, max_matching_ngram_size=size, max_length=length + room + 1
    )
    wanted = theirs.get_candidates(ids)[0][0, length:].tolist() if length > 1 else []
    texts = Texts(ids, length + 10, 0)
    drafts = PromptLookup(tokens, size).propose(texts, torch.tensor([room]))
    assert drafts.ids[0, : drafts.counts[0]].tolist() == wanted[:room]


def looked_up(text, source, tokens, size):
    """What follows the first place of the longest n-gram, in plain words."""
    places = [(source, start) for start in range(len(source))] + [(text, start) for start in range(len(text))]
    for length in range(min(size, len(text)), 0, -1):
        for where, start in places:
            found, rest = where[start : start + length], where[start + length :]
            if found == text[-length:] and rest and rest[0] >= 0 and -1 not in found:
                return rest[: rest.index(-1) if -1 in rest else None][:tokens]
    return []


@pytest.mark.parametrize("seed", range(40))
def test_lookup_in_the_source_comes_first(seed):
    r = random.Random(seed)
    tokens, size, rows = r.randint(1, 5), r.randint(1, 4), 4
    source = [r.choices([-1, 2, 3, 4, 5], k=20) for _ in range(rows)]
    own = [r.choices(range(2, 6), k=r.randint(1, 12)) for _ in range(rows)]
    texts = Texts(torch.zeros(rows, 1, dtype=torch.long), 30, 0)
    for row, ids in enumerate(own):
        texts.ids[row, : len(ids)], texts.lengths[row] = torch.tensor(ids), len(ids)
    texts.live = torch.tensor([3, 0, 2])  # row 1 has left
    lookup = PromptLookup(tokens, size, torch.tensor(source))
    drafts = lookup.propose(texts, torch.full((3,), 9))
    for ids, count, row in zip(drafts.ids.tolist(), drafts.counts.tolist(), [3, 0, 2], strict=True):
        assert ids[:count] == looked_up(own[row], source[row], tokens, size)


class Ends:
    """Ends a row whose last three ids have an even sum, in the field's way."""

    def __call__(self, input_ids, scores, **kwargs):
        return (input_ids[:, -3:].sum(dim=1) % 2 == 0) & (input_ids.shape[1] > 6)


@pytest.mark.parametrize("pad", [0, None])
@pytest.mark.parametrize("seed", range(10))
def test_criteria_scores_and_streams_are_those_of_the_plain_search(seed, pad):
    vocab, o = random_options(seed)
    o.prompt, o.max_length = [1, 4, 3][: 1 + seed % 3], 16
    table = oracle.table(seed, 3, vocab)
    prompt = torch.tensor([o.prompt] * 3)
    stopping = Stopping(o.max_length, tuple(o.eos) if pad is not None else (), StoppingCriteriaList([Ends()]))
    results = []
    for search in (search_rows, search_assisted):
        decoder = RaggedTable(table)
        record = Record(want_scores=True, want_logits=True)
        told = Told()
        how = {"processors": chain(o), "stopping": stopping, "record": record, "pad_token_id": pad, "streamer": told}
        if search is search_assisted:
            how["drafting"] = Drafting(assistant(like(table, seed, 0.7), o, how["processors"]))
        found = search(decoder, decoder.start(), prompt, **how)
        results.append((found.ids, record, told))
    (ids, plain, stream), (other_ids, assisted, other_stream) = results
    assert torch.equal(ids, other_ids)
    assert torch.equal(stream.ids(), other_stream.ids())
    assert stream.ended == other_stream.ended == 1
    for kept, other in ((plain.scores, assisted.scores), (plain.logits, assisted.logits)):
        assert len(kept) == len(other) == ids.shape[1] - prompt.shape[1]
        for step, (one, two) in enumerate(zip(kept, other, strict=True)):
            going = [row for row in range(3) if not ended_before(ids[row, : prompt.shape[1] + step], prompt, stopping)]
            assert torch.equal(one[going], two[going])


def ended_before(ids, prompt, stopping):
    criteria = stopping.others[0]
    return any(
        int(ids[at - 1]) in stopping.eos_token_ids or bool(criteria(ids[None, :at], None))
        for at in range(prompt.shape[1] + 1, len(ids) + 1)
    )


class Told:
    """A streamer that keeps what it is told."""

    def __init__(self):
        self.steps, self.ended = [], 0

    def put(self, value):
        self.steps.append(value.clone())

    def end(self):
        self.ended += 1

    def ids(self):
        return torch.stack(self.steps, dim=1)


def chi_square(counts, probabilities):
    """Pearson's statistic, and how many more categories than 1 have a probability."""
    wanted = probabilities * counts.sum()
    assert counts[wanted == 0].sum() == 0
    some = wanted > 0
    return float(((counts[some] - wanted[some]) ** 2 / wanted[some]).sum()), int(some.sum()) - 1


@pytest.mark.parametrize("kind", ["model", "lookup", "far", "near"])
def test_sampling_has_the_distribution_of_plain_sampling(kind):
    torch.manual_seed(7)
    vocab, rows = 5, 40_000
    o = oracle.Options(max_length=4)
    table = oracle.table(11, 1, vocab) / 2
    processors = chain(o, do_sample=True, temperature=1.3, top_k=4)
    exact = torch.zeros(vocab, vocab, vocab, dtype=torch.float64)
    for first in range(vocab):
        for second in range(vocab):
            ids = torch.tensor([[1, first, second]])
            steps = [
                processors(ids[:, :at], torch.from_numpy(oracle.logits_after(table, 0, ids[0, :at].tolist()))[None])
                for at in (1, 2, 3)
            ]
            chances = [step.double().softmax(dim=-1)[0] for step in steps]
            exact[first, second] = chances[0][first] * chances[1][second] * chances[2]
    other = {"far": oracle.table(12, 1, vocab), "near": table + 0.01}.get(kind, like(table, 12, 0.5))
    if kind == "lookup":
        proposer = PromptLookup(2, 2, torch.tensor([[1, 2, 3, 1, 0, 4, 1]]).expand(rows, -1))
    else:
        decoder, how = FastTable(other, rows), {"tokens": 2, "threshold": 0.3, "sample": True}
        proposer = Assistant(decoder, decoder.start(), processors=processors, stopping=Stopping(4), **how)
    decoder, how = FastTable(table, rows), {"sample": True, "processors": processors, "stopping": Stopping(4)}
    prompt = torch.ones(rows, 1, dtype=torch.long)
    found = search_assisted(decoder, decoder.start(), prompt, drafting=Drafting(proposer), record=Record(), **how)
    assert found.speculation.accepted > rows / 10
    counts = torch.bincount((found.ids[:, 1:] * torch.tensor([vocab**2, vocab, 1])).sum(dim=1), minlength=vocab**3)
    statistic, freedom = chi_square(counts.double(), exact.flatten())
    assert statistic < freedom + 4 * (2 * freedom) ** 0.5, (statistic, freedom)  # 4 deviations
