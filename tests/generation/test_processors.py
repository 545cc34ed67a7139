"""The processors against the reference's classes on random scores, and what they do as rows leave."""

import math

import pytest
import torch
import transformers

from seqgraft.errors import GenerationError
from seqgraft.torch import processors
from seqgraft.torch.processors import LogitsProcessorList

IDS = torch.tensor([[1, 4, 2, 4, 2], [1, 1, 1, 1, 1], [5, 6, 7, 5, 6], [0, 3, 9, 9, 8]])
SOURCE = torch.tensor([[4, 2, 9, 4, 3, 0], [5, 6, 8, 1, 1, 1]])
VOCAB = 200
LOW = -math.inf


def both(name, *arguments):
    return (getattr(room, name)(*arguments) for room in (processors, transformers.generation.logits_process))


def random_scores(seed, rows=4, vocab=VOCAB, spread=3.0):
    """Wide and narrow rows, a row with forbidden tokens, a row of ties."""
    scores = torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed)) * spread
    scores[1] *= 0.1
    scores[2, ::3] = LOW
    scores[3] = scores[3].round()
    scores[3, 5:7] = scores[3].max() + 1
    return scores


@pytest.mark.parametrize("spread", [0.5, 3.0, 12.0])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("EncoderRepetitionPenaltyLogitsProcessor", (1.7, SOURCE)),
        ("EncoderRepetitionPenaltyLogitsProcessor", (0.6, SOURCE)),
        ("EncoderNoRepeatNGramLogitsProcessor", (2, SOURCE)),
        ("MinPLogitsWarper", (0.05,)),
        ("MinPLogitsWarper", (0.9, LOW, 3)),
        ("MinPLogitsWarper", (0.0,)),
        ("MinPLogitsWarper", (1.0,)),
        ("MinPLogitsWarper", (1.0, -5.0, 999)),
        ("TopHLogitsWarper", (0.4,)),
        ("TopHLogitsWarper", (1.0,)),
        ("TopHLogitsWarper", (0.01, -5.0)),
        ("TypicalLogitsWarper", (0.2,)),
        ("TypicalLogitsWarper", (0.9, LOW, 4)),
        ("TypicalLogitsWarper", (0.999,)),
        ("EpsilonLogitsWarper", (0.02,)),
        ("EpsilonLogitsWarper", (0.9, LOW, 2)),
        ("EpsilonLogitsWarper", (0.9, -5.0, 999)),
        ("EtaLogitsWarper", (0.02,)),
        ("EtaLogitsWarper", (0.9, LOW, 2)),
        ("EtaLogitsWarper", (1e-4,)),
        ("InfNanRemoveLogitsProcessor", ()),
        ("LogitNormalization", ()),
        ("SuppressTokensLogitsProcessor", ([3, 7, 199],)),
        ("SuppressTokensLogitsProcessor", ([3, 999],)),
        ("SuppressTokensLogitsProcessor", ([],)),
        ("SuppressTokensAtBeginLogitsProcessor", ([3, 7], 5)),
        ("SuppressTokensAtBeginLogitsProcessor", ([3, 7], 1)),
        ("SuppressTokensAtBeginLogitsProcessor", ([3, 7], 4)),
        ("ExponentialDecayLengthPenalty", ((1, 1.3), [2, 3], 2)),
        ("ExponentialDecayLengthPenalty", ((0, 0.5), 3, 1)),
        ("ExponentialDecayLengthPenalty", ((3, 1.3), [2], 2)),
        ("ExponentialDecayLengthPenalty", ((1, 2.0), torch.tensor([0, 2]), 1)),
    ],
)
def test_equal_to_the_class_of_the_reference(name, arguments, spread):
    ours, theirs = both(name, *arguments)
    for seed in range(4):
        for ids in (IDS, IDS[:, :1], IDS[:, :4]):
            scores = random_scores(seed, spread=spread)
            if name == "InfNanRemoveLogitsProcessor":
                scores[0, 0], scores[0, 1] = math.nan, math.inf
            before = scores.clone()
            assert torch.equal(ours(ids, scores), theirs(ids, scores.clone()))
            assert torch.equal(scores.nan_to_num(), before.nan_to_num())


@pytest.mark.parametrize(
    "name", ["MinPLogitsWarper", "TopHLogitsWarper", "TypicalLogitsWarper", "EpsilonLogitsWarper", "EtaLogitsWarper"]
)
def test_every_warper_cuts_something_and_leaves_something(name):
    kept = getattr(processors, name)(0.1)(IDS, random_scores(0)).isfinite().sum(dim=1)
    assert kept.min() >= 1
    assert kept.min() < VOCAB / 4


def allowed(source, ids):
    return [3 + source, 7, int(ids[-1])] if len(ids) % 2 else torch.tensor([source])


@pytest.mark.parametrize("beams", [1, 2, 4])
def test_prefix_equal_to_the_class_of_the_reference(beams):
    ours, theirs = both("PrefixConstrainedLogitsProcessor", lambda b, s: list(allowed(b, s)), beams)
    for ids in (IDS, IDS[:, :4]):
        scores = random_scores(1)
        scores[0, [3, 7, 2]] = LOW  # a beam that has nothing left, and (alone) a source that has nothing left
        assert torch.equal(ours(ids, scores), theirs(ids, scores))
    scores = torch.full((4, VOCAB), LOW)
    assert torch.equal(ours(IDS, scores), theirs(IDS, scores))
    assert ours(IDS, scores)[0].isfinite().nonzero().flatten().tolist() == [2, 3, 7]


def test_prefix_counts_sources_where_a_source_has_several_rows():
    asked = []
    chain = processors.PrefixConstrainedLogitsProcessor(lambda source, ids: [asked.append(source) or 1], 1, 2)
    chain(IDS, random_scores(0))
    assert asked == [0, 0, 1, 1]


def test_prefix_must_allow_something():
    with pytest.raises(GenerationError, match=r"at least one token, but allows none for source 1 after \[1, 1, 1"):
        processors.PrefixConstrainedLogitsProcessor(lambda s, ids: [[2], []][s])(IDS[:2], random_scores(0)[:2])


def per_row():
    return [
        processors.RepetitionPenaltyLogitsProcessor(1.5, torch.tensor([0, 4, 1, 3])),
        processors.EncoderRepetitionPenaltyLogitsProcessor(1.7, SOURCE),
        processors.EncoderNoRepeatNGramLogitsProcessor(2, SOURCE),
        processors.EncoderNoRepeatNGramLogitsProcessor(1, SOURCE),
        processors.PrefixConstrainedLogitsProcessor(lambda source, ids: [source, int(ids[0])], 1, 2),
    ]


@pytest.mark.parametrize("index", range(5))
def test_rows_that_remain_are_treated_as_before(index):
    scores = random_scores(5)
    whole = per_row()[index](IDS, scores)
    assert not torch.equal(whole[::2], whole[1::2])
    for steps in ([[1, 2, 3], [0, 2], [1]], [[3]], [[0, 1, 2, 3], [2, 3]], [[3, 0, 1, 2]]):
        chain, left = LogitsProcessorList([per_row()[index]]), torch.arange(4)
        assert not chain.fixed
        chain(IDS, scores)
        for rows in steps:
            chain.keep(torch.tensor(rows))
            left = left[rows]
            assert torch.equal(chain(IDS[left], scores[left]), whole[left])
        chain.start()
        chain.keep(torch.tensor([3, 1]))  # at once: the rows of a source are as many as they were
        assert torch.equal(chain(IDS[[3, 1]], scores[[3, 1]]), whole[[3, 1]])
        chain.start()
        assert torch.equal(chain(IDS, scores), whole)


def test_fixed_where_a_callable_may_hold_rows():
    class Plain(processors.LogitsProcessor):
        def __call__(self, input_ids, scores):
            return scores

    class Following(Plain):
        def keep(self, rows):
            self.rows = rows

    assert LogitsProcessorList([lambda input_ids, scores: scores]).fixed
    assert LogitsProcessorList([processors.TopKLogitsWarper(2), Plain()]).fixed
    assert LogitsProcessorList([transformers.TopKLogitsWarper(2)]).fixed
    chain = LogitsProcessorList([processors.TopKLogitsWarper(2), Following()])
    assert not chain.fixed
    chain.keep(torch.tensor([1]))
    assert chain[1].rows.tolist() == [1]


def test_a_table_of_sources_needs_whole_groups_of_rows():
    with pytest.raises(GenerationError, match="made for 2 sources: the rows must be a multiple, but are 3"):
        processors.EncoderRepetitionPenaltyLogitsProcessor(2.0, SOURCE)(IDS[:3], random_scores(0)[:3])


def test_rows_that_left_do_not_come_back():
    processor = processors.EncoderRepetitionPenaltyLogitsProcessor(2.0, SOURCE)
    processor(IDS, random_scores(0))
    processor.keep(torch.tensor([1, 2]))
    with pytest.raises(GenerationError, match="must get the 2 rows that are left, but gets 4"):
        processor(IDS, random_scores(0))


def test_source_ids_that_the_output_layer_lacks_are_passed_over():
    scores = random_scores(0)[:1]
    found = processors.EncoderRepetitionPenaltyLogitsProcessor(2.0, torch.tensor([[999, 3]]))(IDS[:1], scores)
    assert (found != scores).nonzero().tolist() == [[0, 3]]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: processors.MinPLogitsWarper(1.5), r"`min_p` must be between 0 and 1, but is 1\.5"),
        (lambda: processors.MinPLogitsWarper(0.5, LOW, 0), "`min_tokens_to_keep` must be an integer of at least 1"),
        (lambda: processors.TopHLogitsWarper(0.0), "`top_h` must be more than 0 and at most 1"),
        (lambda: processors.TypicalLogitsWarper(1.0), "`typical_p` must be more than 0 and less than 1"),
        (lambda: processors.EpsilonLogitsWarper(0.0), "`epsilon_cutoff` must be more than 0 and less than 1"),
        (lambda: processors.EtaLogitsWarper(1.0), "`eta_cutoff` must be more than 0 and less than 1"),
        (lambda: processors.EncoderRepetitionPenaltyLogitsProcessor(0.0, SOURCE), "`encoder_repetition_penalty` must"),
        (lambda: processors.ExponentialDecayLengthPenalty((1, 2.0), [-1], 1), "`eos_token_id` must be ids of at least"),
    ],
)
def test_impossible_processors(make, said):
    with pytest.raises(GenerationError, match=said):
        make()
