"""Fault 1: special ids set anywhere hold everywhere, and survive saving."""

import copy
import json
import pickle
from pathlib import Path

import pytest
import torch
import transformers

import seqgraft
from seqgraft import EncoderDecoderModel, GenerationConfig

from . import tiny

IDS = {"decoder_start_token_id": 8, "pad_token_id": 0, "eos_token_id": 9}


def _bare(**changes):
    return seqgraft.EncoderDecoderModel(config=tiny.pair_config(**changes))


def _holds(model):
    """Training, generation and the file agree on the ids."""
    labels = tiny.target()
    for name, value in IDS.items():
        assert getattr(model.config, name) == value, name
        assert getattr(model.generation_config, name) == value, name
    assert model.prepare_decoder_input_ids_from_labels(labels)[:, 0].tolist() == [8, 8]
    assert model(input_ids=tiny.source(), labels=labels).loss.isfinite()
    made = model.generate(tiny.source(), max_new_tokens=4)
    assert made[:, 0].tolist() == [8, 8]


def _set(place, values=IDS):
    for name, value in values.items():
        setattr(place, name, value)


def _on_config(model):
    _set(model.config)


def _on_decoder_config(model):
    _set(model.config.decoder)


def _on_generation_config(model):
    _set(model.generation_config)


def _by_update(model):
    model.config.update(dict(IDS))


def _by_generation_update(model):
    model.generation_config.update(**IDS)


def _by_new_generation_config(model):
    model.generation_config = GenerationConfig(**IDS)


def _some_here_some_there(model):
    model.config.decoder_start_token_id = 8
    model.config.decoder.pad_token_id = 0
    model.generation_config.eos_token_id = 9


PLACES = [
    _on_config,
    _on_decoder_config,
    _on_generation_config,
    _by_update,
    _by_generation_update,
    _by_new_generation_config,
    _some_here_some_there,
]


@pytest.mark.parametrize("place", PLACES, ids=lambda f: f.__name__[1:])
@pytest.mark.parametrize("decoder", ["bert", "gpt2", "bart"])
def test_set_after_making(place, decoder, tmp_path):
    """Also where the decoder's family has ids of its own, as GPT-2 and BART have."""
    model = _bare(decoder=decoder)
    place(model)
    _holds(model)
    model.save_pretrained(tmp_path)
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    _holds(again)
    assert torch.equal(again.generate(tiny.source(), max_length=5), model.generate(tiny.source(), max_length=5))


@pytest.mark.parametrize("place", PLACES, ids=lambda f: f.__name__[1:])
def test_set_after_loading_over_older_ids(place, tmp_path):
    first = _bare()
    _set(first.config, {"decoder_start_token_id": 20, "pad_token_id": 21, "eos_token_id": 22})
    first.save_pretrained(tmp_path / "one")
    model = EncoderDecoderModel.from_pretrained(tmp_path / "one")
    place(model)
    _holds(model)
    model.save_pretrained(tmp_path / "two")
    _holds(EncoderDecoderModel.from_pretrained(tmp_path / "two"))


def test_set_before_making(tmp_path):
    for model in (_bare(**IDS), _bare(**{f"decoder__{name}": value for name, value in IDS.items()})):
        model.save_pretrained(tmp_path)
        assert model.generate(tiny.source(), max_new_tokens=3)[:, 0].tolist() == [8, 8]
        again = EncoderDecoderModel.from_pretrained(tmp_path)
        assert again.prepare_decoder_input_ids_from_labels(tiny.target())[0, 0] == 8
        assert torch.equal(again.generate(tiny.source(), max_length=5), model.generate(tiny.source(), max_length=5))


def test_by_keyword(written, tmp_path):
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], written["gpt2"], **IDS)
    _holds(model)
    _bare().save_pretrained(tmp_path)
    _holds(EncoderDecoderModel.from_pretrained(tmp_path, **IDS))


def test_the_last_word_counts():
    model = _bare()
    for number, place in enumerate([model.config, model.config.decoder, model.generation_config] * 2):
        place.eos_token_id = 10 + number
        assert model.config.eos_token_id == model.generation_config.eos_token_id == 10 + number


def test_reference_folder_with_stale_generation_config(written, tmp_path, recwarn):
    """The reference saves what the decoder's configuration said when the pair was made; then it starts with that."""
    theirs = transformers.EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], written["gpt2"])
    _set(theirs.config)
    theirs.save_pretrained(tmp_path)
    stale = json.loads((tmp_path / "generation_config.json").read_text())
    assert stale["eos_token_id"] == tiny.END
    assert "decoder_start_token_id" not in stale
    assert transformers.EncoderDecoderModel.from_pretrained(tmp_path).generate(tiny.source())[0, 0] == tiny.START
    _holds(EncoderDecoderModel.from_pretrained(tmp_path))


def test_reference_folder_that_the_reference_cannot_generate_with(written, tmp_path):
    theirs = transformers.EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], written["bert"])
    _set(theirs.config)
    theirs.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="decoder_start_token_id"):
        transformers.EncoderDecoderModel.from_pretrained(tmp_path).generate(tiny.source())
    _holds(EncoderDecoderModel.from_pretrained(tmp_path))


def test_generation_settings_that_were_meant_are_kept(written, tmp_path):
    """What generation_config.json says on purpose is followed by both."""
    theirs = transformers.EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], written["gpt2"])
    _set(theirs.generation_config, {**IDS, "max_length": 7})
    theirs.save_pretrained(tmp_path)
    ours = EncoderDecoderModel.from_pretrained(tmp_path)
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path)
    assert torch.equal(ours.generate(tiny.source()), theirs.generate(tiny.source()))
    assert ours.prepare_decoder_input_ids_from_labels(tiny.target())[0, 0] == 8


def test_without_generation_config(tmp_path):
    model = _bare(**IDS)
    model.save_pretrained(tmp_path)
    Path(tmp_path, "generation_config.json").unlink()
    _holds(EncoderDecoderModel.from_pretrained(tmp_path))


def test_our_folder_generates_there(tmp_path):
    model = _bare(decoder="gpt2")
    _on_config(model)
    model.save_pretrained(tmp_path)
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path)
    assert torch.equal(
        theirs.generate(tiny.source(), max_new_tokens=5), model.generate(tiny.source(), max_new_tokens=5)
    )


def test_copies_have_ids_of_their_own():
    model = _bare(**IDS)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other.config.eos_token_id = 30
        other.config.decoder.pad_token_id = 31
        assert other.generation_config.eos_token_id == 30
        assert other.generation_config.pad_token_id == 31
        assert other.config.decoder is other.decoder.config
        _holds(model)
    loose = copy.deepcopy(model.config)
    loose.eos_token_id = loose.decoder.eos_token_id = 30
    assert pickle.loads(pickle.dumps(loose)) == loose
    _holds(model)


def test_models_of_one_configuration_have_ids_of_their_own():
    config = tiny.pair_config(**IDS)
    one, two = seqgraft.EncoderDecoderModel(config=config), seqgraft.EncoderDecoderModel(config=config)
    two.config.eos_token_id = 30
    _holds(one)
    one.config.eos_token_id = 31
    assert two.generation_config.eos_token_id == 30
    assert config.eos_token_id == 9


def test_a_replaced_generation_config_says_nothing_more():
    model = _bare()
    old = model.generation_config
    _by_new_generation_config(model)
    old.eos_token_id = 30
    _holds(model)


@pytest.mark.parametrize("name", ["decoder_start_token_id", "pad_token_id"])
def test_missing_ids_are_named(name):
    model = _bare(decoder__pad_token_id=None, **{**IDS, name: None})
    with pytest.raises(ValueError, match=f"`{name}`.*set `model.config.{name}`"):
        model(input_ids=tiny.source(), labels=tiny.target())
    if name == "decoder_start_token_id":
        with pytest.raises(ValueError, match="first token of the decoder is not known"):
            model.generate(tiny.source())
