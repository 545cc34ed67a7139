"""Pipelines on published encoder-decoders, with the tokenizers that they come with."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from seqgraft import AutoTokenizer, EncoderDecoderModel, pipeline

from ..families.rows import spread
from .tiny import TEXTS, WORDS

PREFIX = "model writes: "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny T5 with a unigram tokenizer of words and letters, its tasks' prefix in the configuration."""
    letters = dict.fromkeys("abcdefghijklmnopqrstuvwxyz;.:T▁")
    pieces = ["<pad>", "</s>", "<unk>", *(f"▁{word}" for word in dict.fromkeys(WORDS.split())), *letters]
    scores = [(piece, -float(i) / 10) for i, piece in enumerate(pieces)]
    fast = Tokenizer(models.Unigram(scores, unk_id=2))
    fast.normalizer = normalizers.NFKC()
    fast.pre_tokenizer = pre_tokenizers.Metaspace()
    from tokenizers import decoders

    fast.decoder = decoders.Metaspace()
    fast.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    made = tmp_path_factory.mktemp("t5")
    ends = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=fast, **ends).save_pretrained(made)
    said = json.loads((made / "tokenizer_config.json").read_text())
    (made / "tokenizer_config.json").write_text(json.dumps({**said, "tokenizer_class": "T5Tokenizer"}))
    config = transformers.T5Config(
        vocab_size=len(pieces),
        d_model=32,
        d_kv=8,
        d_ff=44,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
        task_specific_params={"translation_en_to_de": {"prefix": PREFIX, "num_beams": 2, "max_length": 9}},
    )
    spread(transformers.T5ForConditionalGeneration(config), 3).save_pretrained(made)
    return made


def test_the_tokenizer_is_the_references(folder: Path) -> None:
    ours = AutoTokenizer.from_pretrained(folder)
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    mine, other = (one(TEXTS, padding=True) for one in (ours, theirs))
    assert mine["input_ids"] == other["input_ids"]
    assert mine["attention_mask"] == other["attention_mask"]
    assert (ours.pad_token_id, ours.eos_token_id) == (0, 1)
    for ids in mine["input_ids"]:
        assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(ids, skip_special_tokens=True)


@torch.no_grad()
def test_a_pipeline_on_a_whole(folder: Path) -> None:
    """The task's prefix and settings come from the published configuration."""
    made = pipeline("translation_en_to_de", model=str(folder), device=-1)
    assert isinstance(made.model, EncoderDecoderModel)
    theirs = transformers.T5ForConditionalGeneration.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        ids = torch.tensor([tokenizer(PREFIX + text)["input_ids"]])
        expected = theirs.generate(input_ids=ids, num_beams=2, max_length=9)
        assert made(text) == [{"translation_text": tokenizer.decode(expected[0].tolist(), skip_special_tokens=True)}]
    plain = pipeline("summarization", model=made.model, tokenizer=tokenizer, device=-1)
    assert plain(TEXTS[1], max_length=9)[0]["summary_text"] is not None
