"""Special ids, labels and batches."""

import numpy as np
import pytest
import torch
import transformers

from seqgraft import AutoTokenizer, EncoderDecoderModel
from seqgraft.errors import ConfigurationError, DataError
from seqgraft.training.data import TokenizedPairs
from seqgraft.training.pairs import Pair, Skipped
from seqgraft.training.plan import BatchPlan
from seqgraft.training.special import settle_special_ids

from ..pipelines.test_languages import made as made_of_languages


def labels(made, text, **options):
    settle_special_ids(made.model, made.tokenizer)
    data = TokenizedPairs.make([("the cat", text)], made.model, made.tokenizer, **options)
    return data[[0]]["labels"][0].tolist()


def test_bert_labels_leave_the_start_out(make):
    made = make()
    text = settle_special_ids(made.model, made.tokenizer)
    assert "decoder_start_token_id = 2 (cls_token)" in text
    assert made.model.config.decoder_start_token_id == made.tokenizer.cls_token_id
    assert made.model.generation_config.eos_token_id == made.tokenizer.sep_token_id
    assert settle_special_ids(made.model, made.tokenizer) is None
    assert labels(made, "cat sat") == [6, 8, made.tokenizer.sep_token_id]


def test_gpt2_labels_get_an_end(make):
    made = make("bert", "gpt2")
    target = made.tokenizer.target
    assert labels(made, "cat") == [*target("cat")["input_ids"], target.eos_token_id]
    assert made.model.config.decoder_start_token_id == target.bos_token_id
    assert made.model.config.special("pad_token_id") == target.eos_token_id


def test_bart_labels_keep_their_frame(make):
    made = make("bart", "bart")
    made.model.config.decoder_start_token_id = 2
    ids = made.tokenizer("cat")["input_ids"]
    assert labels(made, "cat") == ids
    assert ids[0] == 0
    assert ids[-1] == 2


def test_what_is_set_is_kept(make):
    made = make()
    made.model.config.decoder_start_token_id = 7
    settle_special_ids(made.model, made.tokenizer)
    assert made.model.config.decoder_start_token_id == 7
    assert labels(made, "cat") == [2, 6, 3]


def test_tokenizer_without_special_tokens(make):
    made = make()
    made.tokenizer.cls_token = None
    with pytest.raises(ConfigurationError, match="decoder_start_token_id"):
        settle_special_ids(made.model, made.tokenizer)


def test_long_texts_are_cut_and_end(make):
    made = make()
    assert labels(made, "cat sat on the mat", max_target_length=3) == [6, 8, 3]
    settle_special_ids(made.model, made.tokenizer)
    long = " ".join(["cat"] * 100)
    data = TokenizedPairs.make([(long, long), ("cat", "cat")], made.model, made.tokenizer, max_source_length=99)
    assert (data.cut_sources, data.cut_targets) == (1, 1)
    batch = data[[0, 1]]
    assert batch["input_ids"].shape == batch["labels"].shape == (2, 64)
    assert batch["input_ids"][0, [0, -1]].tolist() == [2, 3]
    assert batch["attention_mask"].sum(1).tolist() == [64, 3]
    assert batch["labels"][1].tolist() == [6, 3] + [-100] * 62


def test_bad_pairs_are_named_or_counted(make):
    made = make()
    settle_special_ids(made.model, made.tokenizer)
    long = " ".join(["cat"] * 100)
    bad = [Pair("cat", "\u200b", "a.jsonl:2"), Pair(long, "cat", "a.jsonl:3"), Pair("\u200b", "cat", "a.jsonl:4")]
    good = [Pair("cat", "dog", "a.jsonl:1"), Pair("dog", "cat", "a.jsonl:5")]
    told = ["a.jsonl:2: the target must have tokens", "a.jsonl:3: the source must have at most 64 tokens.* has 102"]
    for pair, message in zip(bad, told, strict=False):
        with pytest.raises(DataError, match=message):
            TokenizedPairs.make([good[0], pair], made.model, made.tokenizer)
    skipped = Skipped()
    data = TokenizedPairs.make([good[0], *bad[:2], good[1]], made.model, made.tokenizer, skipped=skipped)
    assert (len(data), skipped.count, data.cut_sources) == (2, 2, 0)
    assert str(skipped).splitlines()[1].strip().startswith("a.jsonl:2: the target")
    assert data[[0, 1]]["labels"].tolist() == [[7, 3], [6, 3]]
    with pytest.raises(DataError, match=r"there are none\. 1 bad pair was left out:\n  a\.jsonl:2"):
        TokenizedPairs.make(bad[:1], made.model, made.tokenizer, skipped=Skipped())


def test_empty_target_and_no_pairs(make):
    made = make()
    settle_special_ids(made.model, made.tokenizer)
    with pytest.raises(DataError, match="there are none"):
        TokenizedPairs.make([], made.model, made.tokenizer)
    with pytest.raises(DataError, match="the target must have tokens"):
        TokenizedPairs.make([("cat", "\u200b")], made.model, made.tokenizer)


def lengths(count=3000):
    random = np.random.default_rng(1)
    sources = np.clip(random.lognormal(4, 0.6, count).astype(np.int64), 12, 128)
    return sources, random.integers(4, 32, count)


@pytest.mark.parametrize("bounds", [{"tokens": 1024}, {"rows": 16}, {"tokens": 2048, "rows": 8}])
def test_every_pair_once_within_the_bounds(bounds):
    sources, targets = lengths()
    plan = BatchPlan(sources, targets, seed=3, **bounds)
    batches = list(plan)
    assert sorted(index for batch in batches for index in batch) == list(range(len(sources)))
    for batch in batches:
        assert len(batch) <= bounds.get("rows", 10**9)
        assert len(batch) * (sources[batch].max() + targets[batch].max()) <= bounds.get("tokens", 10**9)


def test_order_is_given_by_seed_and_epoch():
    sources, targets = lengths()

    def order(seed, epoch):
        plan = BatchPlan(sources, targets, tokens=1024, seed=seed)
        plan.set_epoch(epoch)
        return list(plan)

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(1, 0)
    assert order(0, 0) != order(0, 1)


def test_waste_is_low():
    sources, targets = lengths()
    shuffled = np.random.default_rng(0).permutation(len(sources)).reshape(-1, 20)
    padded = sum(20 * (sources[b].max() + targets[b].max()) for b in shuffled)
    assert 1 - (sources.sum() + targets.sum()) / padded > 0.4
    assert BatchPlan(sources, targets, tokens=1024).waste() < 0.06


def test_a_pair_longer_than_a_batch_stands_alone():
    plan = BatchPlan(np.array([100, 5, 5]), np.array([50, 5, 5]), tokens=30)
    assert sorted(map(sorted, plan)) == [[0], [1, 2]]


@pytest.mark.parametrize("bounds", [{}, {"tokens": 0}, {"rows": -1}])
def test_impossible_bounds(bounds):
    with pytest.raises(ConfigurationError, match="batch"):
        BatchPlan(np.array([1]), np.array([1]), **bounds)


def test_source_padding_without_a_pad_token(make):
    made = make("gpt2", "gpt2")
    settle_special_ids(made.model, made.tokenizer)
    batch = TokenizedPairs.make([("cat", "a"), ("a", "cat")], made.model, made.tokenizer)[[0, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert torch.equal(batch["labels"] == -100, torch.tensor([[False, False, True, True], [False] * 4]))


@pytest.mark.parametrize("cls", ["MBartTokenizer", "NllbTokenizer"])
def test_targets_are_in_their_language(cls, tmp_path):
    """As the reference's `text_target` frames them, cut or whole; mBART's end with their language."""
    folder = made_of_languages(cls, {"MBartTokenizer": "MBart", "NllbTokenizer": "M2M100"}[cls], tmp_path)
    said = {"MBartTokenizer": ("en_XX", "de_DE"), "NllbTokenizer": ("eng_Latn", "deu_Latn")}[cls]
    how = {"src_lang": said[0], "tgt_lang": said[1]}
    theirs = getattr(transformers, cls).from_pretrained(folder, **how)
    model, ours = EncoderDecoderModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder, **how)
    pairs = [("the encoder reads", "one token after another"), ("source", "the decoder writes the target")]
    for most in (None, 5):
        data = TokenizedPairs.make(pairs, model, ours, max_target_length=most)
        expected = theirs(text_target=[target for _, target in pairs], truncation=most is not None, max_length=most)
        for index, ids in enumerate(expected["input_ids"]):
            assert data[[index]]["labels"][0].tolist() == ids
            assert data[[index]]["input_ids"][0].tolist() == theirs(pairs[index][0])["input_ids"]
    if cls == "MBartTokenizer":
        with pytest.raises(DataError, match="the target must have tokens, but has none"):
            TokenizedPairs.make([("source", "")], model, ours)
