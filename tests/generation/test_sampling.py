"""Sampling by its distribution, and each processor against the reference's class of the same name."""

import math

import pytest
import torch
import transformers

from seqgraft.errors import GenerationError
from seqgraft.torch import processors
from seqgraft.torch.search import Record, Step
from seqgraft.torch.search_beams import search_beams
from seqgraft.torch.search_rows import search_rows
from seqgraft.torch.stopping import Stopping

LOGITS = torch.tensor([1.0, 0.3, -0.5, 2.0, 0.0, 1.2])
BEST_TWO = LOGITS.masked_fill(LOGITS < 1.1, -math.inf)


def kept(*tokens):
    """The distribution over these tokens alone."""
    return torch.full_like(LOGITS, -math.inf).index_copy(0, torch.tensor(tokens), LOGITS[list(tokens)]).softmax(0)


class Fixed:
    """The same logits, whatever the ids."""

    def step(self, ids, state):
        return Step(LOGITS.expand(len(ids), -1)), state

    def reorder(self, state, rows):
        return state


def sampled(rows, chain):
    torch.manual_seed(0)
    prompt = torch.ones(rows, 1, dtype=torch.long)
    kept = {"processors": processors.LogitsProcessorList(chain), "stopping": Stopping(2), "record": Record()}
    return search_rows(Fixed(), None, prompt, sample=True, **kept).ids[:, 1]


@pytest.mark.parametrize(
    ("chain", "probabilities"),
    [
        ([], LOGITS.softmax(0)),
        ([processors.TemperatureLogitsWarper(0.5)], (LOGITS / 0.5).softmax(0)),
        (
            [processors.TopKLogitsWarper(2)],
            BEST_TWO.softmax(0),
        ),
        (
            [processors.TopPLogitsWarper(0.6)],
            BEST_TWO.softmax(0),
        ),
        # Probabilities 0.166, 0.082, 0.037, 0.451, 0.061, 0.203, entropy 1.479: cut by hand, as the papers define it.
        ([processors.MinPLogitsWarper(0.4)], BEST_TWO.softmax(0)),
        ([processors.MinPLogitsWarper(0.3)], kept(0, 3, 5)),
        ([processors.EpsilonLogitsWarper(0.05)], kept(0, 1, 3, 4, 5)),
        ([processors.EtaLogitsWarper(0.1)], kept(0, 1, 3, 5)),
        ([processors.TypicalLogitsWarper(0.3)], kept(0, 5)),
        ([processors.TopHLogitsWarper(0.5)], BEST_TWO.softmax(0)),
        ([processors.SuppressTokensLogitsProcessor([3, 5])], kept(0, 1, 2, 4)),
    ],
)
def test_frequencies(chain, probabilities):
    rows = 40_000
    counts = torch.bincount(sampled(rows, chain), minlength=6)
    spread = (rows * probabilities * (1 - probabilities)).sqrt()
    assert ((counts - rows * probabilities).abs() <= 5 * spread).all()
    assert (counts[probabilities == 0] == 0).all()


def test_beam_samples_are_drawn_without_replacement_by_total_probability():
    torch.manual_seed(0)
    sources = 20_000
    found = search_beams(
        Fixed(),
        None,
        torch.ones(sources * 2, 1, dtype=torch.long),
        beams=2,
        returned=2,
        processors=processors.LogitsProcessorList(),
        stopping=Stopping(2),
        record=Record(),
        sample=True,
    )
    pairs = found.ids[:, 1].view(sources, 2)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    p = LOGITS.softmax(0)
    # The first two of the four draws are kept, in whichever order: P(i in the pair).
    once = p + torch.stack([sum(p[j] * p[i] / (1 - p[j]) for j in range(6) if j != i) for i in range(6)])
    counts = torch.bincount(pairs.flatten(), minlength=6)
    assert ((counts - sources * once).abs() <= 5 * (sources * once * (1 - once)).sqrt()).all()


IDS = torch.tensor([[1, 4, 2, 4, 2], [1, 1, 1, 1, 1], [5, 6, 7, 5, 6]])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("RepetitionPenaltyLogitsProcessor", (1.5,)),
        ("RepetitionPenaltyLogitsProcessor", (1.5, 3)),
        ("RepetitionPenaltyLogitsProcessor", (0.5, torch.tensor([0, 2, 4]))),
        ("NoRepeatNGramLogitsProcessor", (1,)),
        ("NoRepeatNGramLogitsProcessor", (2,)),
        ("NoRepeatNGramLogitsProcessor", (3,)),
        ("NoRepeatNGramLogitsProcessor", (9,)),
        ("NoBadWordsLogitsProcessor", ([[3], [2, 4], [5, 6, 7], [9], [0, 0, 0, 0, 0, 0, 1]], [9])),
        ("SequenceBiasLogitsProcessor", ({(3,): 1.0, (2, 4): -2.0, (6, 4): 0.5, (4, 2, 4): 1.0},)),
        ("SequenceBiasLogitsProcessor", ([[[3], 1.0], [[2, 4], -2.0]],)),
        ("MinLengthLogitsProcessor", (6, [2, 3])),
        ("MinLengthLogitsProcessor", (5, 2)),
        ("MinLengthLogitsProcessor", (6, [2, 99])),
        ("MinNewTokensLengthLogitsProcessor", (3, 3, [2])),
        ("MinNewTokensLengthLogitsProcessor", (3, 2, [2])),
        ("ForcedBOSTokenLogitsProcessor", (4,)),
        ("ForcedEOSTokenLogitsProcessor", (6, [2, 3])),
        ("ForcedEOSTokenLogitsProcessor", (7, 2)),
        ("TemperatureLogitsWarper", (0.7,)),
        ("TopKLogitsWarper", (3,)),
        ("TopKLogitsWarper", (1, -math.inf, 2)),
        ("TopKLogitsWarper", (99,)),
        ("TopPLogitsWarper", (0.7,)),
        ("TopPLogitsWarper", (0.0, -math.inf, 2)),
    ],
)
def test_equal_to_the_class_of_the_reference(name, arguments):
    torch.manual_seed(0)
    ours, theirs = (getattr(room, name)(*arguments) for room in (processors, transformers.generation.logits_process))
    for ids in (IDS, IDS[:, :1]):
        scores = torch.randn(3, 10) * 3
        before = scores.clone()
        assert torch.equal(ours(ids, scores), theirs(ids, scores.clone()))
        assert torch.equal(scores, before)


def test_ids_that_the_output_layer_lacks_are_passed_over():
    ids, scores = torch.tensor([[11, 4, 11]]), torch.randn(1, 10)
    for name, argument in (("RepetitionPenaltyLogitsProcessor", 1.5), ("NoRepeatNGramLogitsProcessor", 1)):
        theirs = getattr(transformers.generation.logits_process, name)(argument)
        assert torch.equal(getattr(processors, name)(argument)(ids, scores), theirs(ids, scores))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: processors.TemperatureLogitsWarper(0.0), "`temperature` must be more than 0"),
        (lambda: processors.TopKLogitsWarper(0), "`top_k` must be at least 1"),
        (lambda: processors.TopPLogitsWarper(1.5), "`top_p` must be between 0 and 1"),
        (lambda: processors.RepetitionPenaltyLogitsProcessor(0.0), "`repetition_penalty` must be more than 0"),
        (lambda: processors.NoRepeatNGramLogitsProcessor(0), "`no_repeat_ngram_size` must be at least 1"),
    ],
)
def test_impossible_processors(make, said):
    with pytest.raises(GenerationError, match=said):
        make()


def test_a_list_hands_on_what_a_processor_asks_for():
    def plain(input_ids, scores):
        return scores + 1

    class Asking:
        def __call__(self, input_ids, scores, factor):
            return scores * factor

    chain = processors.LogitsProcessorList([plain, Asking()])
    chain[0] = type("Plain", (), {"__call__": staticmethod(plain)})()
    assert chain(IDS, torch.ones(3, 2), factor=3).tolist() == [[6, 6]] * 3
    with pytest.raises(GenerationError, match="Asking needs the arguments factor"):
        chain(IDS, torch.ones(3, 2), other=3)


def test_a_custom_processor_replaces_the_one_of_its_class():
    own = processors.NoRepeatNGramLogitsProcessor(5)
    with pytest.warns(UserWarning, match="NoRepeatNGramLogitsProcessor passed to generate"):
        found = processors.merged([processors.NoRepeatNGramLogitsProcessor(2)], [own, print])
    assert found == [own, print]
