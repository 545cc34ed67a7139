"""Fault 15: generation settings found in a configuration move to the generation settings; nothing raises."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from seqgraft import EncoderDecoderModel

from . import tiny

# The published recipe (Warm-starting encoder-decoder models, von Platen 2020).
RECIPE = {
    "max_length": 12,
    "min_length": 4,
    "no_repeat_ngram_size": 3,
    "early_stopping": True,
    "length_penalty": 2.0,
    "num_beams": 4,
}


def _follows(model):
    made = model.generate(tiny.source())
    asked = model.generate(tiny.source(), **RECIPE)
    assert torch.equal(made, asked)
    assert all(getattr(model.generation_config, name) == value for name, value in RECIPE.items())


def test_the_recipe(tmp_path):
    model = tiny.pair()
    for name, value in RECIPE.items():
        setattr(model.config, name, value)
    _follows(model)
    model.save_pretrained(tmp_path)
    written = json.loads(Path(tmp_path, "config.json").read_text())
    assert not set(RECIPE) & set(written)
    assert RECIPE.items() <= json.loads(Path(tmp_path, "generation_config.json").read_text()).items()
    _follows(EncoderDecoderModel.from_pretrained(tmp_path))
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path)
    assert torch.equal(theirs.generate(tiny.source()), model.generate(tiny.source()))


def test_the_reference_raises(tmp_path):
    tiny.pair().save_pretrained(tmp_path)
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path)
    theirs.config.num_beams = 4
    with pytest.raises(ValueError, match="generation"):
        theirs.save_pretrained(tmp_path / "again")


def test_wherever_the_settings_stand(tmp_path, written):
    on_decoder = tiny.pair()
    on_decoder.config.decoder.update(dict(RECIPE))
    _follows(on_decoder)
    _follows(tiny.pair(**RECIPE))
    _follows(tiny.pair(**{f"decoder__{name}": value for name, value in RECIPE.items()}))
    composed = EncoderDecoderModel.from_encoder_decoder_pretrained(
        written["bert"], written["bert"], decoder_start_token_id=5, **RECIPE
    )
    _follows(composed)
    tiny.pair().save_pretrained(tmp_path)
    _follows(EncoderDecoderModel.from_pretrained(tmp_path, **RECIPE))


def test_a_version_4_folder(tmp_path):
    """Its config.json has the settings on top, and there is no generation_config.json."""
    tiny.pair().save_pretrained(tmp_path)
    said = json.loads(Path(tmp_path, "config.json").read_text())
    Path(tmp_path, "config.json").write_text(json.dumps({**said, **RECIPE, "do_sample": False, "top_k": 50}))
    Path(tmp_path, "generation_config.json").unlink()
    model = EncoderDecoderModel.from_pretrained(tmp_path)
    _follows(model)
    model.save_pretrained(tmp_path / "again")
    _follows(EncoderDecoderModel.from_pretrained(tmp_path / "again"))


def test_unset_again():
    model = tiny.pair()
    model.config.num_beams = 4
    model.config.num_beams = None
    assert model.generation_config.num_beams is None
