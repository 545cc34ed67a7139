"""Fault 17: the encoder's keys and values are kept once per source, whatever the number of rows that continue it."""

import pytest
import torch
import transformers

from seqgraft.torch.attention import Attention

from . import tiny

CASES = [
    {"num_beams": 4},
    {"num_beams": 4, "num_return_sequences": 3},
    {"num_beams": 3, "do_sample": True, "num_return_sequences": 2},
    {"do_sample": True, "num_return_sequences": 5},
    {},
]
GROUPS = {"bert": (2, 8), "gpt2": (2, 8), "bart": (2, 8), "llama": (2, 4)}


@pytest.mark.parametrize("settings", CASES, ids=str)
@pytest.mark.parametrize("decoder", GROUPS)
def test_cache(decoder, settings):
    model = tiny.open_gates(tiny.pair("bert", decoder, eos_token_id=None, decoder__eos_token_id=None))
    ids = tiny.source(3)
    ids[1, 4:] = 0  # padded sources take the same way
    out = model.generate(ids, max_new_tokens=5, return_dict_in_generate=True, **settings)
    returned = settings.get("num_return_sequences", 1)
    rows = 3 * max(settings.get("num_beams", 1), returned)
    assert len(out.sequences) == 3 * returned
    groups, width = GROUPS[decoder]
    for key, value, memory_key, memory_value in out.past_key_values:
        assert memory_key.shape == memory_value.shape == (3, groups, 6, width)
        assert key.shape[0] == value.shape[0] == rows
        assert key.shape[1] == groups


@pytest.mark.parametrize("settings", CASES[:2], ids=str)
def test_computed_once(settings, monkeypatch):
    """The projections of the encoder's states run once a layer, not once a step."""
    model = tiny.pair("bert", "gpt2", eos_token_id=None)
    seen = []
    remember = Attention.remember
    monkeypatch.setattr(Attention, "remember", lambda self, x: seen.append(tuple(x.shape)) or remember(self, x))
    model.generate(tiny.source(3), max_new_tokens=6, **settings)
    assert seen == [(3, 6, tiny.WIDTH)] * 2


@pytest.mark.parametrize("decoder", ["bert", "gpt2", "bart"])
def test_with_the_same_tokens(decoder, tmp_path):
    model = tiny.pair("bert", decoder, eos_token_id=6, decoder__eos_token_id=6, decoder__forced_eos_token_id=None)
    model.save_pretrained(tmp_path)
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path)
    ids = tiny.source(3)
    ids[1, 4:] = 0
    for settings in CASES[:2]:
        ours = model.generate(ids, max_new_tokens=6, **settings)
        other = theirs.generate(ids, attention_mask=(ids != 0).long(), max_new_tokens=6, **settings)
        assert torch.equal(ours, other)
    cross = theirs.generate(ids, max_new_tokens=6, num_beams=4, return_dict_in_generate=True).past_key_values
    assert cross.cross_attention_cache.layers[0].keys.shape[0] == 12, "the reference keeps one copy a beam"


def test_the_cache_of_forward_too():
    model = tiny.pair("bert", "llama")
    out = model(tiny.source(2), decoder_input_ids=tiny.target(2), use_cache=True)
    for _, _, key, _ in out.past_key_values:
        assert key.shape == (2, 2, 6, 4)
