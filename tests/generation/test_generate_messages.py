"""What `generate` refuses, what it warns of, and where it finds what a call leaves out."""

import inspect
import warnings

import pytest
import torch

from seqgraft.errors import GenerationError
from seqgraft.generation import GenerationConfig, TextStreamer, fields

from .conftest import Adapted, reference_pair

QUIET = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def fresh():
    """A pair of its own, whose ids a test may change."""
    return Adapted(reference_pair("bert"))


@QUIET
@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"num_beam": 3}, TypeError, r"generate\(\) got unexpected arguments: num_beam\."),
        ({"decoder_inputs_embeds": 1, "what": 2}, TypeError, "decoder_inputs_embeds, what"),
        ({"synced_gpus": True}, GenerationError, "`synced_gpus` is not supported yet, but is True"),
        ({"use_mtp": True}, GenerationError, "`use_mtp` is not supported yet, but is True"),
        ({"num_beams": 2, "num_return_sequences": 3}, GenerationError, r"at most `num_beams` \(2\), but is 3"),
        ({"min_length": 9, "max_length": 5}, GenerationError, r"`min_length` must be at most `max_length` \(5\)"),
        ({"max_length": 1}, GenerationError, r"`max_length` \(1\) counts the prompt .*`decoder_input_ids` \(1\)"),
        ({"decoder_start_token_id": [1, 2]}, GenerationError, "one for each of 3 rows, but has 2"),
        ({"attention_mask": torch.ones(3, 6)}, GenerationError, r"`attention_mask` must be \[3, 7\], but is \[3, 6\]"),
        (
            {"decoder_input_ids": torch.ones(2, 2).long()},
            GenerationError,
            "`decoder_input_ids` must have 3 rows",
        ),
        (
            {"decoder_input_ids": torch.ones(3, 2).long(), "decoder_attention_mask": torch.ones(3, 3)},
            GenerationError,
            r"`decoder_attention_mask` must be \[3, 2\], but is \[3, 3\]",
        ),
        ({"inputs": torch.ones(3, 7).long()}, ValueError, "`inputs` or `input_ids`"),
        ({"inputs_embeds": torch.ones(3, 7, 16)}, GenerationError, "needs one of .* but has both"),
        ({"input_ids": None}, GenerationError, "needs one of `input_ids`, .* but has no source"),
        (
            {"streamer": TextStreamer(None), "num_beams": 2, "num_return_sequences": 2},
            GenerationError,
            "`streamer` with beams needs `num_return_sequences` to be 1, but it is 2",
        ),
        ({"bad_words_ids": [[99]]}, GenerationError, r"below the vocabulary's 24, but are \[99\]"),
        ({"sequence_bias": {(): 1.0}}, GenerationError, "`sequence_bias` must map"),
    ],
)
def test_refused(pair, sources, settings, error, said):
    with pytest.raises(error, match=said):
        pair[1].generate(**{**sources, **settings})


@QUIET
def test_every_unsupported_setting_is_refused(pair, sources):
    for name, off in fields.UNSUPPORTED.items():
        value = {bool: True, str: "other"}.get(type(off), 7)
        with pytest.raises(GenerationError, match=f"`{name}` is not supported yet, but is "):
            pair[1].generate(**sources, max_new_tokens=2, **{name: value})
        pair[1].generate(**sources, max_new_tokens=2, **{name: off})
        pair[1].generate(**sources, max_new_tokens=2, generation_config=GenerationConfig(**{name: None}))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"max_new_tokens": 2, "max_length": 9},
            r"`max_new_tokens` \(2\) and `max_length` \(9\) are set",
        ),
        ({}, "Neither `max_new_tokens` nor `max_length` is set: at most 20 new tokens"),
        ({"max_new_tokens": 2, "min_length": 9}, r"`min_length` \(9\) asks for more than `max_length` \(3\)"),
        ({"max_length": 3, "min_new_tokens": 9}, r"`min_new_tokens` \(9\) asks for more than `max_length` \(3\)"),
        ({"max_new_tokens": 2, "temperature": 0.5}, "`temperature` is 0.5"),
        ({"max_new_tokens": 2, "use_cache": False}, "`use_cache=False` changes nothing"),
    ],
)
def test_warned_of(pair, sources, settings, said):
    with pytest.warns(UserWarning, match=said):
        pair[1].generate(**sources, **settings)


def test_nothing_is_said_about_a_plain_call(pair, sources):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pair[1].generate(**sources, max_new_tokens=3, num_beams=2, synced_gpus=None)


def test_max_new_tokens_wins(pair, sources):
    with pytest.warns(UserWarning, match="is followed"):
        assert pair[1].generate(**sources, max_new_tokens=4, max_length=9, eos_token_id=None).shape[1] == 5


def test_a_call_may_cut_short_what_a_file_asks_for(fresh, sources):
    fresh.generation_config.min_length = 56
    fresh.generation_config.max_length = 142
    with pytest.warns(UserWarning, match="asks for more than"):
        assert fresh.generate(**sources, max_length=4).shape[1] == 4


@QUIET
def test_special_ids_from_every_place(fresh, sources):
    """Fault 1: an id that stands in any configuration is found; the nearest wins."""
    places = [fresh.config.decoder, fresh.config, fresh.generation_config]
    for place in places:
        place.decoder_start_token_id = None
    with pytest.raises(ValueError, match=r"set `decoder_start_token_id` .*in `model\.config`"):
        fresh.generate(**sources, max_new_tokens=2)
    fresh.config.decoder.bos_token_id = 6
    assert fresh.generate(**sources, max_new_tokens=2)[:, 0].tolist() == [6] * 3
    for start, place in enumerate(places, 7):
        place.decoder_start_token_id = start
        assert fresh.generate(**sources, max_new_tokens=2)[:, 0].tolist() == [start] * 3
    given = GenerationConfig(decoder_start_token_id=11)
    assert fresh.generate(**sources, max_new_tokens=2, generation_config=given)[:, 0].tolist() == [11] * 3
    found = fresh.generate(**sources, max_new_tokens=2, generation_config=given, decoder_start_token_id=12)
    assert found[:, 0].tolist() == [12] * 3


def test_the_end_token_fills_where_no_pad_id_is_known(fresh, sources):
    for place in (fresh.config.decoder, fresh.config, fresh.generation_config):
        place.pad_token_id = None
    ids = fresh.generate(**sources, max_new_tokens=8, pad_token_id=3)
    end = int(ids[0, 3])
    with pytest.warns(UserWarning, match=f"finished rows are filled with {end}"):
        ids = fresh.generate(**sources, max_new_tokens=8, eos_token_id=[end])
    first = int((ids[0] == end).int().argmax())
    assert (ids[0, first:] == end).all()


def test_pad_id_zero_fills_beams_too(fresh, sources):
    """The reference fills beams with the end token when the pad id is 0 (`pad or eos`)."""
    settings = {"num_beams": 3, "num_return_sequences": 3, "max_new_tokens": 12, "pad_token_id": 0}
    free = fresh.generate(**sources, max_new_tokens=8)
    ids = fresh.generate(**sources, **settings, eos_token_id=int(free[0, 4]))
    assert (ids[:, -1] == 0).any()
    assert ((ids == int(free[0, 4])).sum(dim=1) <= 1).all()


@QUIET
@pytest.mark.parametrize("beams", [1, 2])
def test_the_mask_is_inferred_from_the_encoders_pad_id(pair, sources, beams):
    """Fault 5: BERT's pad id is 0, the pair's is 3; the source is padded with the encoder's."""
    ids = sources["input_ids"]
    expected = pair[1].generate(**sources, max_new_tokens=6, num_beams=beams)
    assert torch.equal(pair[1].generate(ids, max_new_tokens=6, num_beams=beams), expected)
    blind = pair[1].generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, num_beams=beams)
    assert not torch.equal(blind, expected)


def test_no_mask_is_inferred_where_padding_could_be_an_end(fresh, sources):
    ids = sources["input_ids"]
    fresh.config.encoder.eos_token_id = 0
    blind = fresh.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=6)
    assert torch.equal(fresh.generate(ids, max_new_tokens=6), blind)


def test_none_in_a_call_switches_off(fresh, sources):
    fresh.generation_config.update(forced_bos_token_id=7, eos_token_id=2, min_new_tokens=3)
    assert fresh.generate(**sources, max_new_tokens=4)[0, 1] == 7
    assert fresh.generate(**sources, max_new_tokens=4, forced_bos_token_id=None)[0, 1] != 7
    fresh.config.eos_token_id = 2
    end = int(fresh.generate(**sources, max_new_tokens=4, forced_bos_token_id=None)[0, 4])
    fresh.generation_config.eos_token_id = fresh.config.eos_token_id = end
    assert fresh.generate(**sources, max_new_tokens=12, eos_token_id=None).shape[1] == 13


def test_contradictions_of_a_configuration_given_to_the_call(fresh, sources):
    given = GenerationConfig(max_length=5)
    given.min_length = 9
    with pytest.raises(GenerationError, match=r"`min_length` must be at most `max_length` \(5\), but is 9"):
        fresh.generate(**sources, generation_config=given)


@QUIET
def test_the_default_length_ends_where_the_positions_do(lone):
    ids = torch.full((1, 60), 9)
    assert lone[1].generate(ids, eos_token_id=None).shape[1] == lone[0].config.max_position_embeddings == 64


def test_the_callers_configuration_is_not_changed(pair, sources):
    own, given = pair[1].generation_config.to_dict(), GenerationConfig(num_beams=2)
    pair[1].generate(**sources, generation_config=given, max_new_tokens=3)
    assert given == GenerationConfig(num_beams=2)
    assert pair[1].generation_config.to_dict() == own


def test_a_decoder_alone(lone):
    ids = torch.tensor([[9, 5, 3, 3], [8, 7, 6, 5]])
    with pytest.warns(UserWarning, match="pad at the left"):
        lone[1].generate(ids, max_new_tokens=2)
    with pytest.raises(GenerationError, match="takes `input_ids` and `attention_mask`, but got token_type_ids"):
        lone[1].generate(ids, token_type_ids=ids)
    with pytest.raises(GenerationError, match="or a `bos_token_id` to start from"):
        lone[1].generate(max_new_tokens=2)
    assert lone[1].generate(bos_token_id=4, max_new_tokens=2)[0, 0] == 4
    with pytest.raises(GenerationError, match=r"`input_ids` \(4\)"):
        lone[1].generate(ids[1:], max_length=4)


def test_no_gradients(pair, sources):
    found = pair[1].generate(**sources, max_new_tokens=3, num_beams=2, return_dict_in_generate=True, output_scores=True)
    assert not found.scores[0].requires_grad
    assert not found.sequences.is_inference()


def test_positional_order_is_the_fields():
    import transformers

    theirs = list(inspect.signature(transformers.GenerationMixin.generate).parameters)[:5]
    assert list(inspect.signature(Adapted.generate).parameters)[:5] == theirs
