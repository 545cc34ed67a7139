"""`generate` against transformers 5.23 on the same weights: tokens, scores, beam indices and samples are equal.

The adapter runs uncached, so the reference runs uncached as well and equality is to the last bit.
"""

import random

import pytest
import torch
import transformers

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

DETAILS = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}


def both(pair, sources, **settings):
    model, adapted = pair
    theirs = model.generate(**sources, use_cache=False, **settings)
    return theirs, adapted.generate(**sources, **settings)


def assert_same(theirs, ours, beams, tolerance=0.0):
    assert torch.equal(theirs.sequences, ours.sequences)
    names = ["scores", "logits"]
    if beams:
        names += ["sequences_scores", "beam_indices"]
    for name in names:
        left, right = getattr(theirs, name), getattr(ours, name)
        if isinstance(left, tuple):
            assert len(left) == len(right), name
            pairs = zip(left, right, strict=True)
            assert all(torch.allclose(a, b, rtol=0, atol=tolerance) for a, b in pairs), name
        else:
            assert torch.allclose(left, right, rtol=0, atol=tolerance), name
            assert left.dtype == right.dtype


@pytest.fixture(scope="session")
def middle_token(pair, sources):
    """A token that greedy search makes in the middle: as an end token it ends some rows early."""
    return int(pair[1].generate(**sources, max_new_tokens=8, eos_token_id=None)[0, 5])


SETTINGS = {
    "greedy": {},
    "max_length": {"max_length": 9, "max_new_tokens": None},
    "min_length": {"min_length": 10},
    "min_new_tokens": {"min_new_tokens": 9},
    "min_new_tokens_over_min_length": {"min_length": 11, "min_new_tokens": 2},
    "no_repeat_2": {"no_repeat_ngram_size": 2},
    "no_repeat_1": {"no_repeat_ngram_size": 1},
    "no_repeat_3": {"no_repeat_ngram_size": 3},
    "repetition": {"repetition_penalty": 1.7},
    "repetition_wanted": {"repetition_penalty": 0.6},
    "bad_words": {"bad_words_ids": [[9], [16, 16], [12, 6, 20], [2]]},
    "sequence_bias": {"sequence_bias": {(9,): -5.0, (16, 16): 4.0, (12, 6, 20): -2.0}},
    "forced_bos": {"forced_bos_token_id": 7},
    "forced_eos": {"forced_eos_token_id": 2},
    "forced_eos_list": {"forced_eos_token_id": [2, 11]},
    "start_list": {"decoder_start_token_id": [4, 5, 6]},
    "all": {
        "no_repeat_ngram_size": 2,
        "repetition_penalty": 1.3,
        "bad_words_ids": [[9], [16, 5]],
        "min_length": 5,
        "forced_bos_token_id": 6,
        "forced_eos_token_id": 2,
    },
}


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting(pair, sources, middle_token, name, beams):
    settings = {"max_new_tokens": 11, "eos_token_id": [2, middle_token], "num_beams": beams, **SETTINGS[name]}
    if settings["max_new_tokens"] is None:
        del settings["max_new_tokens"]
    theirs, ours = both(pair, sources, **settings, **DETAILS)
    assert_same(theirs, ours, beams > 1)


@pytest.mark.parametrize("early_stopping", [False, True, "never"])
@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 0.6, 1.0, 2.0])
def test_length_penalty_and_early_stopping(pair, sources, middle_token, early_stopping, length_penalty):
    for ends in (2, middle_token, [2, middle_token, 5]):
        theirs, ours = both(
            pair,
            sources,
            num_beams=4,
            num_return_sequences=3,
            max_new_tokens=14,
            early_stopping=early_stopping,
            length_penalty=length_penalty,
            eos_token_id=ends,
            **DETAILS,
        )
        assert_same(theirs, ours, True)


def test_rows_end_early(pair, sources, middle_token):
    """The settings above are worth something only if rows end in the middle and at different steps."""
    ids = pair[1].generate(**sources, max_new_tokens=14, eos_token_id=[2, middle_token])
    ends = [(row == 3).int().argmax().item() for row in ids]
    assert len(set(ends)) > 1 or ids.shape[1] < 15


@pytest.mark.long
@pytest.mark.parametrize("seed", range(40))
def test_random_combinations(pair, sources, middle_token, seed):
    r = random.Random(seed)
    beams = r.choice([1, 2, 4, 5])
    settings = {
        "num_beams": beams,
        "max_new_tokens": r.randint(1, 16),
        "eos_token_id": r.choice([2, middle_token, [2, middle_token], [2, middle_token, 9]]),
        "no_repeat_ngram_size": r.choice([0, 0, 2, 3]),
        "repetition_penalty": r.choice([1.0, 1.0, 1.4]),
        "min_length": r.choice([0, 0, 6]),
        "pad_token_id": r.choice([3, 8]),
    }
    if beams > 1:
        settings["num_return_sequences"] = r.randint(1, beams)
        settings["length_penalty"] = r.choice([0.0, 1.0, 1.0, 1.5])
        settings["early_stopping"] = r.choice([False, True, "never"])
    if r.random() < 0.4:
        settings["bad_words_ids"] = [r.choices(range(4, 24), k=r.randint(1, 2)) for _ in range(5)]
    if r.random() < 0.3:
        settings["forced_bos_token_id"] = r.randrange(4, 24)
    if r.random() < 0.3:
        settings["forced_eos_token_id"] = 2
    theirs, ours = both(pair, sources, **settings, **DETAILS)
    assert_same(theirs, ours, beams > 1)


@pytest.mark.parametrize(
    "settings",
    [
        {"do_sample": True},
        {"do_sample": True, "num_return_sequences": 3, "temperature": 0.8, "top_p": 0.9},
        {"do_sample": True, "top_k": 5, "top_p": 0.7, "temperature": 1.5, "no_repeat_ngram_size": 2},
        {"do_sample": True, "top_k": None, "temperature": 2.0},
        {"do_sample": True, "top_k": 0, "top_p": 0.5},
        {"do_sample": True, "num_beams": 3},
        {"do_sample": True, "num_beams": 4, "num_return_sequences": 2, "top_k": 4, "temperature": 1.3},
        {"do_sample": True, "num_beams": 3, "top_p": 0.6, "early_stopping": True, "eos_token_id": [2, 9]},
        {"do_sample": True, "num_beams": 2, "top_k": 1, "eos_token_id": [2, 9]},  # more are kept than can end a beam
        {"do_sample": True, "num_beams": 2, "top_k": 0, "top_p": 0.01},
    ],
)
def test_the_same_seed_draws_the_same_samples(pair, sources, settings):
    model, adapted = pair
    for seed in range(3):
        torch.manual_seed(seed)
        theirs = model.generate(**sources, use_cache=False, max_new_tokens=10, **settings, **DETAILS)
        torch.manual_seed(seed)
        ours = adapted.generate(**sources, max_new_tokens=10, **settings, **DETAILS)
        assert_same(theirs, ours, settings.get("num_beams", 1) > 1)


@pytest.mark.parametrize("beams", [1, 2])
def test_attentions_and_states_per_step(pair, sources, beams):
    wanted = {"output_attentions": True, "output_hidden_states": True, "return_dict_in_generate": True}
    theirs, ours = both(pair, sources, max_new_tokens=4, min_new_tokens=4, num_beams=beams, **wanted)
    for name in ("decoder_attentions", "cross_attentions", "decoder_hidden_states"):
        left, right = getattr(theirs, name), getattr(ours, name)
        assert len(left) == len(right) == 4
        for step_left, step_right in zip(left, right, strict=True):
            assert [tuple(t.shape) for t in step_left] == [tuple(t.shape) for t in step_right]
            assert all(torch.equal(a, b) for a, b in zip(step_left, step_right, strict=True))
    for name in ("encoder_attentions", "encoder_hidden_states"):
        assert all(torch.equal(a, b) for a, b in zip(getattr(theirs, name), getattr(ours, name), strict=True))
    assert ours.past_key_values == "cache"
    assert ours.scores is None
    assert ours.get("sequences_scores") is None
    assert type(theirs).__name__ == type(ours).__name__


@pytest.mark.parametrize("beams", [1, 3])
def test_a_prompt(pair, sources, beams):
    model, adapted = pair
    for prompt in ([[1, 9, 4], [1, 8, 8], [1, 7, 5]], [[9, 4], [8, 8], [7, 5]]):
        inputs = {**sources, "decoder_input_ids": torch.tensor(prompt)}
        for extra in ({"max_new_tokens": 6}, {"max_length": 8}, {"max_length": 8, "repetition_penalty": 1.5}):
            theirs, ours = both((model, adapted), inputs, num_beams=beams, **extra)
            assert ours[:, 0].tolist() == [1, 1, 1]
            assert torch.equal(theirs, ours)


def test_a_masked_prompt(pair, sources):
    prompt = torch.tensor([[3, 9, 4], [8, 8, 6], [3, 3, 5]])
    inputs = {**sources, "decoder_input_ids": prompt, "decoder_attention_mask": (prompt != 3).long()}
    for beams in (1, 3):
        theirs, ours = both(pair, inputs, num_beams=beams, max_new_tokens=6, repetition_penalty=1.5)
        assert torch.equal(theirs, ours)


def test_encoder_outputs_and_embeddings_instead_of_ids(pair, sources):
    model, adapted = pair
    expected = adapted.generate(**sources, max_new_tokens=7, num_beams=2)
    outputs = adapted.encode(**sources)
    mask = sources["attention_mask"]
    for given in (outputs, (outputs.last_hidden_state,), dict(outputs)):
        found = adapted.generate(encoder_outputs=given, attention_mask=mask, max_new_tokens=7, num_beams=2)
        assert torch.equal(found, expected)
    embeds = model.encoder.get_input_embeddings()(sources["input_ids"])
    found = adapted.generate(inputs_embeds=embeds, attention_mask=mask, max_new_tokens=7, num_beams=2)
    assert torch.equal(found, expected)
    assert torch.equal(
        adapted.generate(sources["input_ids"], attention_mask=mask, max_new_tokens=7, num_beams=2), expected
    )


def test_the_default_length_is_twenty_new_tokens(pair, sources):
    theirs, ours = both(pair, sources, eos_token_id=None, pad_token_id=3)
    assert ours.shape[1] == 21
    assert torch.equal(theirs, ours)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_decoder_alone(lone, beams):
    model, adapted = lone
    ids = torch.tensor([[3, 3, 9, 5], [8, 7, 6, 5]])
    for inputs in ({"input_ids": ids}, {"input_ids": ids, "attention_mask": (ids != 3).long()}, {"input_ids": ids[1:]}):
        settings = {"max_new_tokens": 8, "num_beams": beams, "repetition_penalty": 1.2, **DETAILS}
        theirs, ours = both((model, adapted), inputs, **settings)
        assert_same(theirs, ours, beams > 1, tolerance=1e-5)  # the reference's head sees the last position alone
        assert type(theirs).__name__ == type(ours).__name__
        assert [k for k in theirs if k != "past_key_values"] == [k for k in ours if k != "past_key_values"]


def test_custom_criteria_and_processors(pair, sources):
    model, adapted = pair

    class Ends(transformers.StoppingCriteria):
        def __call__(self, input_ids, scores, **kwargs):
            return (input_ids[:, -2:].sum(dim=1) % 5) == 0

    def favourite(input_ids, scores):
        scores = scores.clone()
        scores[:, 4 + input_ids.shape[1] % 3] += 3.0
        return scores

    for beams in (1, 3):
        settings = {"num_beams": beams, "max_new_tokens": 9, **DETAILS}
        theirs = model.generate(
            **sources,
            use_cache=False,
            stopping_criteria=transformers.StoppingCriteriaList([Ends()]),
            logits_processor=transformers.LogitsProcessorList([favourite]),
            **settings,
        )
        ours = adapted.generate(**sources, stopping_criteria=[Ends()], logits_processor=[favourite], **settings)
        assert_same(theirs, ours, beams > 1)
