"""The searches against the slow oracle, on random tables and random settings."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from seqgraft.generation import fields
from seqgraft.torch import processors
from seqgraft.torch.search import Record, Step
from seqgraft.torch.search_beams import search_beams
from seqgraft.torch.search_rows import search_rows
from seqgraft.torch.stopping import Stopping

from . import oracle


class TableDecoder:
    """The oracle's table as a `Decoder`; checks that the state it gets is the one it gave."""

    def __init__(self, table, rows_per_source):
        self.table = torch.from_numpy(table)
        self.sources = torch.arange(len(table)).repeat_interleave(rows_per_source)
        self.reorders = []
        self.steps = 0

    def step(self, ids, state):
        assert state.turn == self.steps
        self.steps += 1
        last = torch.cat((state.last, ids), dim=1)[:, -2:]
        return Step(self.table[self.sources, last[:, 0], last[:, 1]]), SimpleNamespace(last=last, turn=self.steps)

    def reorder(self, state, rows):
        assert torch.equal(self.sources[rows], self.sources)
        assert rows.tolist() != list(range(len(rows)))
        self.reorders.append(rows)
        return SimpleNamespace(last=state.last[rows], turn=state.turn)

    def keep(self, state, rows):
        left = self.sources[rows]
        assert len(left) < len(self.sources)
        assert (self.sources[None] == left.unique()[:, None]).sum() == len(left)  # all rows of a source, or none
        self.sources = left
        return SimpleNamespace(last=state.last[rows], turn=state.turn)


def run(table, o):
    rows_per_source, sources = o.beams, len(table)
    decoder = TableDecoder(table, rows_per_source)
    prompt = torch.tensor([o.prompt] * (sources * rows_per_source))
    names = [name for name in fields.SUPPORTED if hasattr(o, name)]
    config = SimpleNamespace(**dict.fromkeys(fields.PUBLISHED))
    vars(config).update({**fields.DEFAULTS, **{name: getattr(o, name) for name in names}})
    chain = processors.build(
        config, prompt_length=len(o.prompt), max_length=o.max_length, eos_token_ids=o.eos, device="cpu"
    )
    shared = {"processors": chain, "stopping": Stopping(o.max_length, tuple(o.eos)), "record": Record()}
    state = SimpleNamespace(last=torch.zeros(len(prompt), 1, dtype=torch.long), turn=0)
    if o.beams == 1:
        return search_rows(decoder, state, prompt, pad_token_id=o.pad, **shared), decoder
    found = search_beams(
        decoder,
        state,
        prompt,
        beams=o.beams,
        returned=o.returned,
        fill=o.pad,
        length_penalty=o.length_penalty,
        early_stopping=o.early_stopping,
        **shared,
    )
    return found, decoder


def random_options(seed):
    r = random.Random(seed)
    vocab = r.randint(13, 20)
    tokens = range(3, vocab)
    beams = r.choice([1, 2, 3, 4])
    o = oracle.Options(
        beams=beams,
        returned=r.randint(1, beams),
        prompt=[1] if r.random() < 0.6 else [1, *r.choices(tokens, k=r.randint(1, 3))],
        eos=r.choice([[], [2], [2], [2, 5], [2, 5, 7]]),
        length_penalty=r.choice([1.0, 1.0, 0.0, 0.5, 2.0, -1.0]),
        early_stopping=r.choice([False, True, "never"]),
    )
    o.max_length = len(o.prompt) + r.randint(1, 11)
    if r.random() < 0.3:
        o.min_length = r.randint(1, o.max_length)
    if r.random() < 0.2:
        o.min_new_tokens = r.randint(1, 4)
    if r.random() < 0.4:
        o.no_repeat_ngram_size = r.randint(1, 3)
    if r.random() < 0.4:
        o.repetition_penalty = r.choice([0.7, 1.3, 2.5])
    if r.random() < 0.4:
        o.bad_words_ids = [r.choices(tokens, k=r.randint(1, 3)) for _ in range(4)] + [[2]]
    if r.random() < 0.3:
        o.sequence_bias = {tuple(r.choices(tokens, k=k)): r.uniform(-3, 3) for k in (1, 2, 2, 3)}
    if r.random() < 0.2:
        o.forced_bos_token_id = 4
    if r.random() < 0.2:
        o.forced_eos_token_id = 2
    return vocab, o


def expected(table, o):
    rows = []
    for source in range(len(table)):
        rows += [(None, oracle.greedy(table, source, o), [])] if o.beams == 1 else oracle.beam(table, source, o)
    longest = max(len(ids) for _, ids, _ in rows)
    steps = longest - len(o.prompt)
    ids = [ids + [o.pad] * (longest - len(ids)) for _, ids, _ in rows]
    return ids, [score for score, _, _ in rows], [chosen + [-1] * (steps - len(chosen)) for _, _, chosen in rows]


@pytest.mark.parametrize("batch", range(20))
def test_equal_to_the_oracle(batch):
    for seed in range(20 * batch, 20 * batch + 20):
        vocab, o = random_options(seed)
        table = oracle.table(seed, 1 + seed % 3, vocab)
        found, _ = run(table, o)
        ids, scores, chosen = expected(table, o)
        if o.beams == 1:
            assert found.ids.tolist() == ids, (seed, o)
            continue
        np.testing.assert_allclose(found.scores, np.array(scores, dtype=np.float32), rtol=1e-5, atol=1e-5)
        # Where fewer continuations are possible than beams, copies tie at -1e9 with empty places: no rule orders them.
        real = found.scores > -1e8
        assert real.view(len(table), -1)[:, 0].all()
        assert found.ids[real].tolist() == torch.tensor(ids)[real].tolist(), (seed, o)
        first_rows = torch.arange(len(table)).repeat_interleave(o.returned)[:, None] * o.beams
        indices = torch.tensor(chosen)
        indices = torch.where(indices < 0, indices, indices + first_rows)
        assert found.beam_indices[real].tolist() == indices[real].tolist(), (seed, o)


def test_a_source_does_not_depend_on_its_neighbours():
    for seed in range(30):
        vocab, o = random_options(seed)
        table = oracle.table(seed, 3, vocab)
        together = run(table, o)[0].ids.view(3, -1, run(table, o)[0].ids.shape[1])
        for source in range(3):
            alone = run(table[source : source + 1], o)[0].ids
            assert torch.equal(together[source, :, : alone.shape[1]], alone), seed
            assert (together[source, :, alone.shape[1] :] == o.pad).all()


def test_reorder_only_where_the_order_changes():
    """At the first step the rows of a source are one and the same, so nothing is reordered there."""
    vocab = 12
    table = np.full((1, vocab, vocab, vocab), -9.0, dtype=np.float32)
    table[..., 5], table[..., 6] = 2.0, 1.9
    found, decoder = run(table, oracle.Options(beams=2, max_length=3, eos=[2]))
    assert found.ids.tolist() == [[1, 5, 5]]
    assert decoder.reorders == []
    _, decoder = run(oracle.table(3, 2, vocab), oracle.Options(beams=3, max_length=9))
    assert 0 < len(decoder.reorders) < 8


def test_the_search_stops_when_all_rows_have_ended():
    table = np.zeros((2, 6, 6, 6), dtype=np.float32)
    table[..., 4] = 1.0
    table[:, :, 4, 2] = 9.0
    found, decoder = run(table, oracle.Options(max_length=50, eos=[2]))
    assert found.ids.tolist() == [[1, 4, 2], [1, 4, 2]]
    assert decoder.steps == 2
