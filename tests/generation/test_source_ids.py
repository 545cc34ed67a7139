"""Settings that compare the source with the output, where the two vocabularies are not one (fault 16)."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models

from seqgraft.errors import GenerationError
from seqgraft.text import PairTokenizer, PreTrainedTokenizerFast
from seqgraft.torch.processors import EncoderRepetitionPenaltyLogitsProcessor

SOURCE = ["[PAD]", "[UNK]", *"abcdefghijklmnopqrstuvwxyz"]
TARGET = ["[UNK]", "[START]", "[END]", "[PAD]", *"tsrqponmlkjihgfedcba"]  # 24 tokens, as the pair's decoder


def tokenizer(tokens, decoder=None):
    backend = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    backend.decoder = decoder or decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=backend)


PAIR = PairTokenizer(tokenizer(SOURCE), tokenizer(TARGET))
IDS = torch.tensor([[SOURCE.index(c) for c in text] for text in ("abcdefg", "ttzzuuv", "hijkklm")]) % 24


def by_hand(ids):
    """[time] -> the target's ids of the same letters; 24 where it has none."""
    return [TARGET.index(SOURCE[i]) if SOURCE[i] in TARGET else 24 for i in ids.tolist()]


@pytest.mark.parametrize("settings", [{"encoder_repetition_penalty": 3.0}, {"encoder_no_repeat_ngram_size": 1}])
@pytest.mark.parametrize("beams", [1, 3])
def test_a_pair_of_tokenizers_maps_the_source(pair, settings, beams):
    _, adapted = pair
    how = {"max_new_tokens": 9, "num_beams": beams, "eos_token_id": None}
    found = adapted.generate(IDS, tokenizer=PAIR, **how, **settings)
    mapped = torch.tensor([by_hand(row) for row in IDS])
    free = adapted.generate(IDS, **how)
    assert not torch.equal(found, free)
    assert not torch.equal(found, adapted.generate(IDS, **how, **settings))  # ids of other words
    if "encoder_repetition_penalty" in settings:
        own = EncoderRepetitionPenaltyLogitsProcessor(settings["encoder_repetition_penalty"], mapped)
        assert torch.equal(adapted.generate(IDS, logits_processor=[own], **how), found)
    else:
        for row, text in zip(found[:, 1:].tolist(), mapped.tolist(), strict=True):
            assert not set(row) & set(text)


def test_vocabularies_that_differ_without_tokenizers(pair, monkeypatch):
    _, adapted = pair
    monkeypatch.setattr(adapted.config.encoder, "vocab_size", 28)
    with pytest.raises(GenerationError, match="28 and 24 tokens; pass the pair's `tokenizer`"):
        adapted.generate(IDS, max_new_tokens=3, encoder_repetition_penalty=2.0)
    assert adapted.generate(IDS, tokenizer=PAIR, max_new_tokens=3, encoder_repetition_penalty=2.0).shape == (3, 4)


def test_tokenizers_that_write_differently(pair):
    other = PairTokenizer(tokenizer(SOURCE, decoders.ByteLevel()), tokenizer(TARGET))
    with pytest.raises(GenerationError, match=r"put together as .*ByteLevel.*, the target's as .*Fuse"):
        pair[1].generate(IDS, tokenizer=other, max_new_tokens=3, encoder_no_repeat_ngram_size=2)
