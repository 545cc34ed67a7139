"""X-MOD's languages: the adapters in use, those of each row, and what is kept of the others."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import seqgraft
from seqgraft import EncoderDecoderModel
from seqgraft.errors import ConfigurationError

from ..families.rows import BY_NAME, batch, distance, pad_of
from .test_family_mathematics import BOUND, real
from .test_inputs import attentive

NAMES = ["xmod", "xmod-prenorm", "xmod-normed"]
LANGUAGES = torch.tensor([2, 0, 1])


@pytest.mark.parametrize("side", ["encoder", "decoder"])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_another_language(made: Any, tmp_path: Path, name: str, side: str) -> None:
    """What the reference computes after `set_default_language`; saved, every tensor is where it was."""
    row = BY_NAME[name]
    theirs, ours, inputs = made.theirs(row, side), made.ours(row, side), batch()
    before = theirs.config.default_language
    first = ours(**inputs)[0]
    try:
        for language in (*(one for one in row.config["languages"] if one != before), before):
            theirs.set_default_language(language)
            ours.set_default_language(language)
            assert distance(ours(**inputs)[0], theirs(**inputs)[0]) < BOUND
            assert (distance(ours(**inputs)[0], first) < BOUND) == (language == before)
            ours.save_pretrained(tmp_path / language)
            stored, written = (
                load_file(f / "model.safetensors") for f in (made.folder(row, side), tmp_path / language)
            )
            assert stored.keys() == written.keys()
            assert all(torch.equal(value, written[key]) for key, value in stored.items())
            again = type(ours).from_pretrained(tmp_path / language)
            assert torch.equal(again(**inputs)[0], ours(**inputs)[0])
    finally:
        theirs.set_default_language(before)


@pytest.mark.parametrize("padding", ["none", "right", "left"])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_rows_of_several_languages(made: Any, name: str, padding: str) -> None:
    row = BY_NAME[name]
    count = len(row.config["languages"])
    ids, inputs = LANGUAGES % count, batch(padding, pad=pad_of(row))
    theirs, ours = made.theirs(row, "encoder"), made.ours(row, "encoder")
    mask = inputs.get("attention_mask")
    other = theirs(**inputs, lang_ids=ids, output_hidden_states=True)
    for given in (ids, ids[:, None].expand(3, 9)):
        mine = ours(**inputs, lang_ids=given, output_hidden_states=True)
        assert distance(*real(mask, mine[0], other[0])) < BOUND
        for one, two in zip(mine.hidden_states, other.hidden_states, strict=True):
            assert distance(*real(mask, one, two)) < BOUND
    assert distance(mine.pooler_output, other.pooler_output) < BOUND
    assert distance(mine[0], ours(**inputs)[0]) > 1e-3
    assert torch.equal(ours(**inputs, lang_ids=ids, return_dict=False)[0], mine[0])


@torch.no_grad()
def test_a_pair_generates_from_several(made: Any) -> None:
    row = BY_NAME["xmod"]
    folders = str(made.folder(row, "encoder")), str(made.folder(BY_NAME["gpt2"], "decoder"))
    pair = attentive(EncoderDecoderModel.from_encoder_decoder_pretrained(*folders))
    inputs = batch("right", pad=pad_of(row))
    settings = {"decoder_start_token_id": 1, "max_new_tokens": 5, "eos_token_id": None, "pad_token_id": 0}
    found = pair.generate(**inputs, lang_ids=LANGUAGES, **settings)
    states = made.theirs(row, "encoder")(**inputs, lang_ids=LANGUAGES)
    mask = inputs["attention_mask"]
    assert not torch.equal(found, pair.generate(**inputs, **settings))
    assert torch.equal(found, pair.generate(encoder_outputs=(states[0],), attention_mask=mask, **settings))
    start = torch.ones(3, 1, dtype=torch.long)
    out = pair(**inputs, lang_ids=LANGUAGES, decoder_input_ids=start)
    assert distance(*real(mask, out.encoder_last_hidden_state, states[0])) < BOUND


def test_gradients_of_what_all_share(made: Any) -> None:
    row, ids = BY_NAME["xmod"], torch.tensor([0, 0, 2])  # none of the language in use
    ours, theirs = made.ours(row, "encoder"), made.theirs(row, "encoder")
    theirs.zero_grad()
    weights = torch.randn(3, 9, 32)
    for model in (ours, theirs):
        (model(**batch(), lang_ids=ids)[0] * weights).sum().backward()
    assert distance(ours.embed.weight.grad, theirs.embeddings.word_embeddings.weight.grad) < BOUND
    assert ours.layers[0].adapter.up.weight.grad is None


def test_what_is_refused(made: Any) -> None:
    ours, inputs = made.ours(BY_NAME["xmod"], "encoder"), batch()
    with pytest.raises(ConfigurationError, match="`language` must be one of en_XX, de_DE, ro_RO, but is 'xx'"):
        ours.set_default_language("xx")
    with pytest.raises(ConfigurationError, match="but 'bert' has none"):
        made.ours(BY_NAME["bert"], "encoder").set_default_language("en_XX")
    with pytest.raises(ValueError, match="`lang_ids` must be from 0 to 2"):
        ours(**inputs, lang_ids=torch.tensor([0, 1, 3]))
    with pytest.raises(ValueError, match="the same for all tokens of a text"):
        ours(**inputs, lang_ids=torch.arange(27).view(3, 9) % 3)
    fresh = seqgraft.XmodModel(seqgraft.XmodConfig(**BY_NAME["xmod"].config))
    with pytest.raises(ConfigurationError, match="The parts of ro_RO must come from a checkpoint"):
        fresh.set_default_language("ro_RO")
