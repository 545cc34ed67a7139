"""What a pair generates, token for token the reference's, on batches of sources of mixed lengths."""

from pathlib import Path
from typing import Any

import pytest
import torch

from seqgraft import EncoderDecoderModel
from seqgraft.errors import GenerationError

from .pairs import DECODERS, END, PAD, REFERENCE_ENCODERS, reference_pair, source

PAIRS = [
    pytest.param(e, d, seed, id=f"{e}-{d}-{seed}")
    for number, e in enumerate(REFERENCE_ENCODERS)
    for d in DECODERS
    for seed in (range(3) if number == 0 else range(number, number + 1))
]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"num_beams": 4},
    {"num_beams": 3, "num_return_sequences": 2, "length_penalty": 2.0, "early_stopping": True},
    {"num_beams": 2, "no_repeat_ngram_size": 2, "min_length": 5, "repetition_penalty": 1.3},
]


@pytest.mark.parametrize(("encoder", "decoder", "seed"), PAIRS)
def test_tokens_are_the_references(tmp_path: Path, encoder: str, decoder: str, seed: int) -> None:
    theirs = reference_pair(encoder, decoder, seed=10 * seed)
    theirs.save_pretrained(tmp_path)
    ours = EncoderDecoderModel.from_pretrained(tmp_path)
    written = set()
    for padding in ("right", "left"):
        inputs = source(encoder, padding)
        for settings in SETTINGS if padding == "right" else SETTINGS[1:2]:
            # The reference's RoBERTa takes a generated padding token for padding; ours never does.
            fixed = {**settings, "max_new_tokens": 9, "bad_words_ids": [[PAD]]}
            mine, other = ours.generate(**inputs, **fixed), theirs.generate(**inputs, **fixed)
            assert torch.equal(mine, other), (settings, mine, other)
            written |= {tuple(row) for row in mine.tolist()}
    assert len(written) > 3


@pytest.mark.parametrize("decoder", DECODERS)
def test_scores_are_the_references(tmp_path: Path, decoder: str) -> None:
    theirs = reference_pair("bert", decoder, seed=5)
    theirs.save_pretrained(tmp_path)
    ours = EncoderDecoderModel.from_pretrained(tmp_path)
    fixed = {"num_beams": 3, "max_new_tokens": 7, "output_scores": True, "return_dict_in_generate": True}
    fixed["bad_words_ids"] = [[PAD]]
    inputs = source("bert")
    mine, other = ours.generate(**inputs, **fixed), theirs.generate(**inputs, **fixed)
    assert torch.equal(mine.sequences, other.sequences)
    torch.testing.assert_close(mine.sequences_scores, other.sequences_scores, rtol=1e-5, atol=1e-6)
    for own, their in zip(mine.scores, other.scores, strict=True):
        shown = their.isfinite()
        assert torch.equal(own.isfinite(), shown)
        torch.testing.assert_close(own[shown], their[shown], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("decoder", DECODERS)
def test_greedy_is_the_argmax_of_full_passes(tmp_path: Path, decoder: str) -> None:
    reference_pair("bert", decoder, seed=3).save_pretrained(tmp_path)
    ours = EncoderDecoderModel.from_pretrained(tmp_path)
    inputs = source("bert")
    ids = torch.full((3, 1), 3)
    with torch.no_grad():
        for _ in range(40):
            mask = torch.ones_like(ids)
            logits = ours(**inputs, decoder_input_ids=ids, decoder_attention_mask=mask).logits[:, -1]
            logits[:, [2, PAD]] = -torch.inf
            ids = torch.cat((ids, logits.argmax(-1, keepdim=True)), 1)
    found = ours.generate(**inputs, max_new_tokens=40, bad_words_ids=[[2], [PAD]])
    assert torch.equal(found[:, :40], ids[:, :40])  # BART's configuration forces the last token


def test_rows_are_filled_with_padding_of_id_0(tmp_path: Path) -> None:
    """The reference takes a padding id of 0 for none and fills what beams leave with the end token."""
    theirs = reference_pair("camembert", "bert", seed=30)
    theirs.generation_config.pad_token_id = theirs.config.pad_token_id = 0
    theirs.save_pretrained(tmp_path)
    ours = EncoderDecoderModel.from_pretrained(tmp_path)
    fixed = {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 9, "length_penalty": 2.0}
    fixed |= {"early_stopping": True}
    inputs = source("camembert")
    mine, other = ours.generate(**inputs, **fixed), theirs.generate(**inputs, **fixed)
    ended = (other == END).cumsum(1) - (other == END).long() > 0
    assert bool(ended.any())
    assert torch.equal(mine, other.masked_fill(ended, 0))


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_ngram_of_the_source_comes(tmp_path: Path, size: int, beams: int) -> None:
    theirs = reference_pair("bert", "bert", seed=7)
    theirs.save_pretrained(tmp_path)
    ours = EncoderDecoderModel.from_pretrained(tmp_path)
    changed = 0
    fixed = {"num_beams": beams, "max_new_tokens": 12, "bad_words_ids": [[PAD]]}
    for seed in range(4):
        ids = torch.randint(3, 60, (3, 40), generator=torch.Generator().manual_seed(seed))
        ids[:, 20:] = ours.generate(ids[:, :20], **{**fixed, "max_new_tokens": 20, "min_new_tokens": 20})[:, 1:21]
        ids = ids.masked_fill(ids == PAD, 5)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        asked = {**inputs, **fixed, "encoder_no_repeat_ngram_size": size}
        mine, other = ours.generate(**asked), theirs.generate(**asked)
        assert torch.equal(mine, other)
        changed += not torch.equal(mine, ours.generate(**inputs, **fixed))
    assert changed or size == 3


def test_ngrams_of_a_source_need_its_ids_in_one_vocabulary(tmp_path: Path) -> None:
    theirs = reference_pair("bert", "bert", seed=7)
    theirs.save_pretrained(tmp_path)
    ours = EncoderDecoderModel.from_pretrained(tmp_path)
    states = ours.encode(**source("bert"))
    with pytest.raises(GenerationError, match="needs the `input_ids` of a source, but there are none"):
        ours.generate(encoder_outputs=states, encoder_no_repeat_ngram_size=2)
    ours.encoder.resize_token_embeddings(70)
    with pytest.raises(GenerationError, match=r"needs one vocabulary for both halves, but they have 70 and \d+ tokens"):
        ours.generate(**source("bert"), encoder_no_repeat_ngram_size=2)
