"""`GenerationConfig`: published fields, files both ways, layers, and what contradicts itself."""

import copy
import json
import pickle
import warnings

import pytest
import transformers

from seqgraft.errors import FolderError, GenerationError
from seqgraft.generation import GenerationConfig, fields


def test_fields_and_defaults_are_the_references():
    theirs = {name: value for name, value in vars(transformers.GenerationConfig()).items() if name[0] != "_"}
    del theirs["transformers_version"]
    ours = GenerationConfig()
    assert set(fields.PUBLISHED) == set(theirs)
    assert {name: getattr(ours, name) for name in theirs} == theirs
    defaults = transformers.GenerationConfig._get_default_generation_params()
    for name, value in fields.DEFAULTS.items():
        assert defaults.get(name, False) == value, name
    for name, value in fields.UNSUPPORTED.items():
        assert defaults.get(name, value) == value, name
    assert defaults["max_length"] == fields.DEFAULT_NEW_TOKENS


SETTINGS = {
    "num_beams": 4,
    "max_length": 142,
    "min_length": 56,
    "no_repeat_ngram_size": 3,
    "length_penalty": 2.0,
    "early_stopping": True,
    "eos_token_id": [102, 3],
    "pad_token_id": 0,
    "decoder_start_token_id": 101,
    "bad_words_ids": [[7], [8, 9]],
    "encoder_repetition_penalty": 1.5,
}


def test_their_file_opens_here(tmp_path):
    transformers.GenerationConfig(**SETTINGS).save_pretrained(tmp_path)
    ours = GenerationConfig.from_pretrained(tmp_path)
    assert {name: getattr(ours, name) for name in SETTINGS} == SETTINGS
    assert {k for k, v in ours.to_dict().items() if v is not None} == {*SETTINGS, "transformers_version"}
    assert ours == GenerationConfig(**SETTINGS)
    assert GenerationConfig.from_pretrained(tmp_path, num_beams=2).num_beams == 2
    assert GenerationConfig.from_pretrained(tmp_path, what=1, return_unused_kwargs=True)[1] == {"what": 1}
    with pytest.raises(TypeError, match="what"):
        GenerationConfig.from_pretrained(tmp_path, what=1)


def test_our_file_opens_there(tmp_path):
    GenerationConfig(**SETTINGS, sequence_bias={(1, 2): 0.5}).save_pretrained(tmp_path)
    theirs = transformers.GenerationConfig.from_pretrained(tmp_path)
    assert {name: getattr(theirs, name) for name in SETTINGS} == SETTINGS
    assert theirs.sequence_bias == [[[1, 2], 0.5]]
    assert set(json.loads((tmp_path / "generation_config.json").read_text())) == {*SETTINGS, "sequence_bias"}
    assert GenerationConfig.from_pretrained(tmp_path).num_beams == 4


def test_no_file(tmp_path):
    with pytest.raises(FolderError, match=r"generation_config\.json"):
        GenerationConfig.from_pretrained(tmp_path)


def test_unknown_fields_are_kept_named_and_written_back(tmp_path):
    with pytest.warns(UserWarning, match="num_beam$|num_beam\\."):
        config = GenerationConfig(num_beam=4)
    config.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="num_beam"):
        again = GenerationConfig.from_pretrained(tmp_path)
    assert again.num_beam == 4
    assert again == config


def test_settings_of_a_model_configuration_move():
    """Fault 15: the published recipe sets `config.num_beams = 4`."""
    pair = {
        "model_type": "encoder-decoder",
        "num_beams": 4,
        "max_length": 142,
        "decoder": {"eos_token_id": 102, "max_length": 20, "use_cache": False, "hidden_size": 3},
    }
    config = GenerationConfig.from_model_config(pair)
    assert (config.num_beams, config.max_length, config.eos_token_id) == (4, 142, 102)
    assert config.use_cache is None
    assert "hidden_size" not in config.to_dict()
    assert pair["decoder"]["max_length"] == 20


def test_update_returns_what_is_no_field():
    config = GenerationConfig()
    assert config.update(num_beams=3, input_ids=5) == {"input_ids": 5}
    assert config.num_beams == 3
    config.update(defaults_only=True, num_beams=5, max_length=9)
    assert (config.num_beams, config.max_length) == (3, 9)


def test_on_change_hears_public_fields_and_copies_do_not():
    config, heard = GenerationConfig(pad_token_id=0), []
    config.on_change = lambda name, value: heard.append((name, value))
    config.decoder_start_token_id = 101
    config.update(num_beams=2)
    config._private = 1
    config.transformers_version = "5"
    assert heard == [("decoder_start_token_id", 101), ("num_beams", 2)]
    for other in (
        copy.copy(config),
        copy.deepcopy(config),
        pickle.loads(pickle.dumps(GenerationConfig(pad_token_id=7))),
    ):
        other.pad_token_id = 7
        assert other.on_change is None
    assert len(heard) == 2
    assert "on_change" not in config.to_dict()


def test_equality_and_repr():
    assert GenerationConfig(num_beams=2) == GenerationConfig(num_beams=2, transformers_version="5")
    assert GenerationConfig(num_beams=2) != GenerationConfig(num_beams=3)
    assert GenerationConfig() != 3
    assert repr(GenerationConfig(num_beams=2)) == 'GenerationConfig {\n  "num_beams": 2\n}'


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"num_return_sequences": 4, "num_beams": 3},
            r"`num_return_sequences` must be at most `num_beams` \(3\), but is 4",
        ),
        (
            {"num_return_sequences": 2, "penalty_alpha": 0.6, "top_k": 4},
            r"`num_return_sequences` must be 1 in contrastive search \(`penalty_alpha` is 0.6\), but is 2",
        ),
        ({"num_return_sequences": 2}, "`num_return_sequences` must be 1 in greedy search .*`do_sample`.* but is 2"),
        ({"min_length": 9, "max_length": 8}, r"`min_length` must be at most `max_length` \(8\), but is 9"),
        ({"min_new_tokens": 9, "max_new_tokens": 8}, r"`min_new_tokens` must be at most `max_new_tokens` \(8\)"),
        ({"max_new_tokens": 0}, "`max_new_tokens` must be an integer of at least 1, but is 0"),
        ({"num_beams": True}, "`num_beams` must be an integer of at least 1, but is True"),
        ({"num_beams": 2.0}, "`num_beams` must be an integer"),
        ({"no_repeat_ngram_size": -1}, "`no_repeat_ngram_size` must be an integer of at least 0"),
        ({"early_stopping": "always"}, "`early_stopping` must be True, False or 'never', but is 'always'"),
        (
            {"temperature": 0.0},
            r"`temperature` must be more than 0, but is 0\.0 .for greedy .* `do_sample=False`",
        ),
        ({"repetition_penalty": -1.0}, "`repetition_penalty` must be more than 0"),
        ({"top_p": 1.5}, "`top_p` must be between 0 and 1, but is 1.5"),
        ({"min_p": -0.1}, r"`min_p` must be between 0 and 1, but is -0\.1"),
        ({"min_p": True}, "`min_p` must be between 0 and 1, but is True"),
        ({"top_h": 0}, "`top_h` must be more than 0 and at most 1, but is 0"),
        ({"typical_p": 0.0}, r"`typical_p` must be more than 0 and at most 1, but is 0\.0"),
        ({"epsilon_cutoff": 1.0}, r"`epsilon_cutoff` must be at least 0 and less than 1, but is 1\.0"),
        ({"eta_cutoff": "x"}, "`eta_cutoff` must be at least 0 and less than 1, but is 'x'"),
        ({"encoder_repetition_penalty": 0}, "`encoder_repetition_penalty` must be more than 0, but is 0"),
        ({"encoder_no_repeat_ngram_size": -1}, "`encoder_no_repeat_ngram_size` must be an integer of at least 0"),
        ({"suppress_tokens": [3, -1]}, r"`suppress_tokens` must be a list of token ids, but is \[3, -1\]"),
        ({"begin_suppress_tokens": 3}, "`begin_suppress_tokens` must be a list of token ids, but is 3"),
        ({"stop_strings": ["a", ""]}, r"`stop_strings` must be a text or a list of texts .*, but is \['a', ''\]"),
        ({"exponential_decay_length_penalty": (1.5, 2.0)}, r"a factor above 0\), but is \(1\.5, 2\.0\)"),
        ({"exponential_decay_length_penalty": 3}, "`exponential_decay_length_penalty` must be .* but is 3"),
        ({"length_penalty": "long"}, "`length_penalty` must be a number"),
        ({"bad_words_ids": [3]}, r"`bad_words_ids` must be a list of lists of token ids, but is \[3\]"),
        ({"bad_words_ids": []}, "`bad_words_ids` must be"),
        ({"bad_words_ids": [[]]}, "`bad_words_ids` must be"),
        ({"streamer": 3}, "`streamer` is an argument of `generate`"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_impossible_settings(settings, said):
    with pytest.raises(GenerationError, match=said):
        GenerationConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temperature": 0.5}, "`temperature` is 0.5, but has no effect unless `do_sample` is True"),
        ({"top_k": 5, "do_sample": False}, "`top_k` is 5"),
        ({"eta_cutoff": 0.1}, "`eta_cutoff` is 0.1, but has no effect unless `do_sample` is True"),
        ({"length_penalty": 2.0}, "`length_penalty` is 2.0, but has no effect unless `num_beams` is more than 1"),
        ({"output_scores": True}, "`output_scores` has no effect unless `return_dict_in_generate`"),
        ({"pad_token_id": -1}, "`pad_token_id` must not be negative"),
    ],
)
def test_idle_settings_warn(settings, said):
    with pytest.warns(UserWarning, match=said):
        GenerationConfig(**settings)


def test_no_warnings_where_nothing_is_idle():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GenerationConfig(do_sample=True, temperature=0.5, num_beams=2, length_penalty=2.0)
        GenerationConfig(do_sample=True, min_p=0.1, top_h=1, typical_p=1, epsilon_cutoff=0, eta_cutoff=0.2)
        GenerationConfig(suppress_tokens=[], stop_strings="x", exponential_decay_length_penalty=[0, 2])
        config = GenerationConfig(temperature=1.0, top_k=50, length_penalty=1.0, early_stopping=False)
        config.update(num_beams=1)
