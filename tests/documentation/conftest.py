"""A working directory in which the names of the documentation are folders, so that its code runs as it stands."""

import shutil
from pathlib import Path

import pytest

import seqgraft

from . import published

RECIPE = {"max_length": 40, "min_length": 5, "no_repeat_ngram_size": 3, "early_stopping": True, "num_beams": 4}


@pytest.fixture(scope="session")
def hub(tmp_path_factory):
    """Every checkpoint that the pages name."""
    place = tmp_path_factory.mktemp("hub")
    for name in ("google-bert/bert-base-uncased", "bert-base-uncased"):
        published.bert(place / name)
    published.bert(place / "bert-base-cased", cased=True)
    published.gpt2(place / "gpt2")
    for name in ("bert2bert-cnn_dailymail-fp16", "bert2bert_cnn_daily_mail"):
        published.pair(place / "patrickvonplaten" / name, **RECIPE, length_penalty=2.0)
    published.pair(place / "patrickvonplaten/bert2gpt2-cnn_dailymail-fp16", "gpt2", **RECIPE)
    published.pair(place / "google/bert2bert_L-24_wmt_en_de", half=False, more=("<pad>", "<s>", "</s>"), max_length=20)
    return place


@pytest.fixture(autouse=True)
def documented(hub, tmp_path, monkeypatch):
    """The working directory, and default configurations of a size that a test can make."""
    for entry in hub.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)
    for name, value in {**published.SIZES, "vocab_size": 300}.items():
        monkeypatch.setitem(seqgraft.BertConfig.fields, name, value)
    yield
    for made in ("bert2bert", "my-model", "encoder", "decoder"):
        shutil.rmtree(Path(made), ignore_errors=True)
