"""Tiny pairs, made once."""

from pathlib import Path
from typing import Any

import pytest
import transformers

import seqgraft

from . import tiny


@pytest.fixture(scope="session")
def folder(tmp_path_factory: Any) -> Path:
    """BERT to BERT."""
    return tiny.bert_pair(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def two(tmp_path_factory: Any) -> Path:
    """BERT to GPT-2, two tokenizers."""
    return tiny.two_pair(tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="session")
def reference(folder: Path, two: Path) -> Any:
    """texts, settings -> what `transformers` generates and decodes from the same folder, one text at a time."""
    made = {}
    for place in (folder, two):
        target = place / "target_tokenizer"
        source = transformers.AutoTokenizer.from_pretrained(place)
        other = transformers.AutoTokenizer.from_pretrained(target) if target.exists() else source
        made[place] = (transformers.EncoderDecoderModel.from_pretrained(place).eval(), source, other)

    def run(place: Path, texts: list[str], **settings: Any) -> list[str]:
        model, source, target = made[place]
        found = []
        for text in texts:
            batch = source(text, return_tensors="pt")
            ids = model.generate(batch.input_ids, attention_mask=batch.attention_mask, **settings)
            found.append(target.decode(ids[0], skip_special_tokens=True))
        return found

    return run


@pytest.fixture
def summarizer(folder: Path) -> Any:
    """A fresh pipeline."""
    return seqgraft.pipeline("summarization", model=folder, device=-1, max_new_tokens=6)
