"""ROUGE, the lead sentence, generation in sorted batches, and extras that are not installed."""

import sys

import pytest

from seqgraft.errors import ConfigurationError, MissingExtraError
from seqgraft.training.metrics import generate_texts, lead_sentence, rouge
from seqgraft.training.trainer import train


def test_rouge():
    found = rouge(["the cat sat", "nothing"], ["the cat sits", "of it"])
    assert found == {"rouge1": pytest.approx(100 / 3), "rouge2": 25.0, "rougeL": pytest.approx(100 / 3)}
    for predictions in ([], ["one", "two"]):
        with pytest.raises(ConfigurationError, match="as many predictions"):
            rouge(predictions, ["one"])


@pytest.mark.parametrize(
    ("text", "lead"),
    [
        ("One sentence. Another one.", "One sentence."),
        ('He said "no." Then left.', 'He said "no."'),
        ("Version 2.7 e.g. this one is kept whole", "Version 2.7 e.g. this one is kept whole"),
        ("Is it? Yes.", "Is it?"),
    ],
)
def test_lead_sentence(text, lead):
    assert lead_sentence(text) == lead


def test_texts_come_in_their_order_whatever_the_batches(make, pairs):
    made = make()
    rates = {"learning_rate": 5e-3, "new_learning_rate": 5e-3, "dropout": False}
    train(made.model, made.tokenizer, pairs, output=None, epochs=40, progress=False, **rates)
    sources = [source for source, _ in pairs]
    options = {"max_new_tokens": 6, "max_source_length": 8}
    alone = [generate_texts(made.model, made.tokenizer, [source], **options)[0] for source in sources]
    assert generate_texts(made.model, made.tokenizer, sources, rows_per_batch=4, **options) == alone
    assert len(set(alone)) > 3
    assert generate_texts(made.model, made.tokenizer, []) == []


def test_missing_extras(make, pairs, monkeypatch):
    for name in ("lightning", "rouge_score", "rouge_score.rouge_scorer"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"seqgraft\[train\]"):
        rouge(["a"], ["a"])
    made = make()
    with pytest.raises(MissingExtraError, match=r"seqgraft\[train\]"):
        train(made.model, made.tokenizer, pairs, output=None)
