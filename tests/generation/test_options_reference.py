"""Every setting of the scores against `generate` of transformers 5.23 on the same weights."""

import pytest
import torch
import transformers

from seqgraft.errors import GenerationError
from seqgraft.torch import processors

from .conftest import VOCAB
from .test_generate_reference import DETAILS, assert_same

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SETTINGS = {
    "encoder_repetition": {"encoder_repetition_penalty": 2.5},
    "encoder_repetition_unwanted": {"encoder_repetition_penalty": 0.4},
    "encoder_no_repeat": {"encoder_no_repeat_ngram_size": 1},
    "renormalize": {"renormalize_logits": True, "repetition_penalty": 1.5},
    "remove_invalid": {"remove_invalid_values": True, "bad_words_ids": [[9], [16, 5]]},
    "decay": {"exponential_decay_length_penalty": (2, 1.6)},
    "decay_at_once": {"exponential_decay_length_penalty": [0, 1.05]},
    "decay_away": {"exponential_decay_length_penalty": (1, 0.3)},
    "suppress": {"suppress_tokens": [5, 9, 11, 16, 23]},
    "begin_suppress": {"begin_suppress_tokens": list(range(7, 24))},
    "begin_suppress_after_forced": {"begin_suppress_tokens": list(range(7, 24)), "forced_bos_token_id": 4},
    "watermark": {"watermarking_config": {"bias": 3.0}},
    "all": {
        "encoder_repetition_penalty": 1.4,
        "encoder_no_repeat_ngram_size": 2,
        "exponential_decay_length_penalty": (4, 1.3),
        "suppress_tokens": [9],
        "begin_suppress_tokens": [7, 8],
        "remove_invalid_values": True,
        "watermarking_config": {"bias": 1.0, "greenlist_ratio": 0.5},
        "renormalize_logits": True,
    },
}


def reference_settings(settings):
    made = dict(settings)
    if "watermarking_config" in made:
        made["watermarking_config"] = transformers.WatermarkingConfig(**made["watermarking_config"])
    return made


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting(pair, sources, name, beams):
    model, adapted = pair
    how = {"max_new_tokens": 11, "eos_token_id": [2, 5, 20], "num_beams": beams, **DETAILS}
    theirs = model.generate(**sources, use_cache=False, **how, **reference_settings(SETTINGS[name]))
    assert_same(theirs, adapted.generate(**sources, **how, **SETTINGS[name]), beams > 1)


def test_every_setting_changes_something(pair, sources):
    how = {"max_new_tokens": 11, "eos_token_id": [2, 5, 20], "num_beams": 3, **DETAILS}
    free = pair[1].generate(**sources, **how).sequences_scores
    for name, settings in SETTINGS.items():
        if name != "remove_invalid":
            assert not torch.equal(pair[1].generate(**sources, **how, **settings).sequences_scores, free), name


WARPERS = [
    {"min_p": 0.2},
    {"top_h": 0.5},
    {"typical_p": 0.4},
    {"epsilon_cutoff": 0.05},
    {"eta_cutoff": 0.3},
    {"temperature": 1.7, "top_h": 0.8, "top_k": 9, "top_p": 0.9, "min_p": 0.05, "typical_p": 0.8},
    {"epsilon_cutoff": 0.01, "eta_cutoff": 0.02, "typical_p": 0.95, "renormalize_logits": True},
    {"min_p": 0.1, "watermarking_config": {"bias": 2.0}, "exponential_decay_length_penalty": (2, 1.2)},
]


@pytest.mark.parametrize("settings", WARPERS)
@pytest.mark.parametrize(
    "how", [{"num_return_sequences": 2}, {"num_beams": 3}, {"num_beams": 2, "eos_token_id": [2, 9]}]
)
def test_the_same_seed_draws_the_same_samples(pair, sources, settings, how):
    model, adapted = pair
    how = {"do_sample": True, "max_new_tokens": 8, **how, **DETAILS}
    for seed in range(2):
        torch.manual_seed(seed)
        theirs = model.generate(**sources, use_cache=False, **how, **reference_settings(settings))
        torch.manual_seed(seed)
        assert_same(theirs, adapted.generate(**sources, **how, **settings), how.get("num_beams", 1) > 1)


def following(source, ids):
    """Tokens of the source's own, which depend on the last one."""
    last = int(ids[-1])
    return sorted({2, 4 + source, 4 + (last * 7 + source) % 20, 4 + (last * 3) % 20})


@pytest.mark.parametrize(
    "how", [{}, {"num_beams": 3}, {"num_beams": 4, "num_return_sequences": 3}, {"do_sample": True}]
)
@pytest.mark.parametrize("more", [{}, {"bad_words_ids": [[i] for i in range(4, 14)]}])
def test_prefix_allowed_tokens(pair, sources, how, more):
    model, adapted = pair
    how = {"max_new_tokens": 9, "prefix_allowed_tokens_fn": following, **how, **more, **DETAILS}
    torch.manual_seed(0)
    theirs = model.generate(**sources, use_cache=False, **how)
    torch.manual_seed(0)
    ours = adapted.generate(**sources, **how)
    assert_same(theirs, ours, how.get("num_beams", 1) > 1)
    returned = how.get("num_return_sequences", 1)
    for row, ids in enumerate(ours.sequences):
        for at in range(1, len(ids)):
            if ids[at - 1] in (2, 3):
                break
            assert int(ids[at]) in following(row // returned, ids[:at])


def test_prefix_counts_sources_in_sampling_too(pair, sources):
    """The reference counts the drawn rows there, so that a function of the source would be asked about others."""
    asked = set()
    pair[1].generate(
        **sources,
        do_sample=True,
        num_return_sequences=4,
        max_new_tokens=3,
        prefix_allowed_tokens_fn=lambda source, ids: [asked.add(source) or 5, 6],
    )
    assert asked == {0, 1, 2}


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(
    "how", [{}, {"num_beams": 3}, {"num_beams": 4, "num_return_sequences": 2}, {"do_sample": True}]
)
def test_transition_scores(pair, sources, how, normalize):
    model, adapted = pair
    model.config.vocab_size = VOCAB  # the reference asks the pair's configuration, which has none
    how = {"max_new_tokens": 12, "eos_token_id": [2, 5, 9], **how, **DETAILS}
    found = adapted.generate(**sources, **how)
    indices = found.beam_indices if how.get("num_beams", 1) > 1 else None
    expected = model.compute_transition_scores(found.sequences, found.scores, indices, normalize)
    ours = adapted.compute_transition_scores(found.sequences, found.scores, indices, normalize)
    # The reference normalises along another stride, which rounds otherwise.
    torch.testing.assert_close(ours, expected, rtol=0, atol=2e-6 if normalize else 0)
    if indices is not None and not normalize:
        lengths = (indices >= 0).sum(dim=1)
        torch.testing.assert_close(ours.sum(dim=1) / lengths, found.sequences_scores)


def test_transition_scores_need_scores(pair, sources):
    ids = pair[1].generate(**sources, max_new_tokens=3)
    with pytest.raises(GenerationError, match="generate with `output_scores=True`"):
        pair[1].compute_transition_scores(ids, ())


def test_custom_processors_that_serve_again(pair, sources):
    """A processor of ours that a user keeps follows each generation's rows anew."""
    own = processors.EncoderRepetitionPenaltyLogitsProcessor(2.5, sources["input_ids"])
    how = {"max_new_tokens": 11, "eos_token_id": [2, 5, 9]}
    expected = pair[1].generate(**sources, **how, encoder_repetition_penalty=2.5)
    for _ in range(2):
        assert torch.equal(pair[1].generate(**sources, **how, logits_processor=[own]), expected)
        pair[1].generate(**sources, **how, num_beams=2, logits_processor=[own])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"exponential_decay_length_penalty": (1, 2.0), "eos_token_id": None}, "needs an `eos_token_id`"),
        (
            {"prefix_allowed_tokens_fn": lambda source, ids: []},
            r"`prefix_allowed_tokens_fn` must allow at least one token, but allows none for source 0 after \[1\]",
        ),
    ],
)
def test_refused(pair, sources, settings, said):
    with pytest.raises(GenerationError, match=said):
        pair[1].generate(**sources, max_new_tokens=3, **settings)


@pytest.mark.parametrize("name", ["encoder_repetition_penalty", "encoder_no_repeat_ngram_size"])
def test_settings_of_the_source_need_its_ids_and_one_vocabulary(pair, sources, name, monkeypatch):
    """Fault 16: the reference fails inside an index."""
    _, adapted = pair
    outputs = adapted.encode(**sources)
    with pytest.raises(GenerationError, match=f"`{name}` needs the `input_ids` of a source, but there are none"):
        adapted.generate(encoder_outputs=outputs, max_new_tokens=3, **{name: 2})
    monkeypatch.setattr(adapted.config.encoder, "vocab_size", 30)
    with pytest.raises(GenerationError, match=f"`{name}` needs one vocabulary .* they have 30 and 24 tokens"):
        adapted.generate(**sources, max_new_tokens=3, **{name: 2})


def test_a_decoder_alone(lone):
    ids = torch.tensor([[9, 5, 8, 9], [8, 7, 6, 5]])
    for settings in (
        {"encoder_repetition_penalty": 2.5},
        {"watermarking_config": {"bias": 4.0}},
        {"suppress_tokens": [5]},
    ):
        how = {"max_new_tokens": 8, "num_beams": 2, **DETAILS}
        theirs = lone[0].generate(ids, use_cache=False, **how, **reference_settings(settings))
        assert_same(theirs, lone[1].generate(ids, **how, **settings), True, tolerance=1e-5)
