"""Which search the settings choose, what cannot go together, constraints by themselves, and searches of one's own."""

import warnings

import pytest
import torch

from seqgraft.errors import GenerationError
from seqgraft.generation import (
    Constraint,
    ConstraintListState,
    DisjunctiveConstraint,
    GenerationConfig,
    PhrasalConstraint,
    TextStreamer,
)
from seqgraft.generation.modes import idle, mode_of

IDS = torch.tensor([[5, 6, 7]])
GROUPS = {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5}
FORCED = {"num_beams": 4, "force_words_ids": [[7]]}


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ({}, "rows"),
        ({"do_sample": True}, "rows"),
        ({"num_beams": 2}, "beams"),
        ({"num_beams": 2, "do_sample": True}, "beams"),
        (GROUPS, "groups"),
        (FORCED, "constrained"),
        ({"num_beams": 2, "constraints": [PhrasalConstraint([3])]}, "constrained"),
        ({"penalty_alpha": 0.6, "top_k": 4}, "contrastive"),
        ({"prompt_lookup_num_tokens": 3}, "assisted"),
    ],
)
def test_the_mode_of_settings(settings, mode):
    assert mode_of(GenerationConfig(**settings)) == mode


@pytest.mark.parametrize(
    ("settings", "both"),
    [
        ({**GROUPS, "do_sample": True}, ["`num_beam_groups` (2)", "`do_sample` to be False", "is True"]),
        ({**GROUPS, "num_beams": 5}, ["`num_beam_groups` must divide `num_beams` (5)", "is 2"]),
        ({**GROUPS, "num_beams": 1}, ["`num_beam_groups` (2)", "`num_beams` to be more than 1"]),
        ({"num_beams": 4, "num_beam_groups": 2}, ["`num_beam_groups` (2)", "`diversity_penalty` to be more than 0"]),
        ({"num_beams": 4, "diversity_penalty": 1.0}, ["`diversity_penalty` (1.0)", "`num_beam_groups`"]),
        ({**FORCED, "num_beams": 1}, ["`force_words_ids` ([[7]])", "`num_beams` to be more than 1, but it is 1"]),
        ({**FORCED, "do_sample": True}, ["`force_words_ids`", "`do_sample` to be False, but it is True"]),
        ({**FORCED, **GROUPS}, ["`force_words_ids`", "`num_beam_groups` to be 1, but it is 2"]),
        ({"penalty_alpha": 0.6, "top_k": 1}, ["`penalty_alpha` (0.6)", "`top_k` to be at least 2, but it is 1"]),
        ({"penalty_alpha": 0.6, "top_k": 4, "do_sample": True}, ["`penalty_alpha` (0.6)", "`do_sample`"]),
        ({"penalty_alpha": 0.6, "top_k": 4, "num_beams": 3}, ["`penalty_alpha` (0.6)", "`num_beams` to be 1"]),
        ({"penalty_alpha": 0.6, "guidance_scale": 2.0}, ["`penalty_alpha` (0.6)", "`guidance_scale` to be 1.0"]),
    ],
)
def test_what_cannot_go_together_names_both(settings, both):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        GenerationConfig(**settings)
    assert isinstance(raised.value, GenerationError)
    for part in both:
        assert part in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_beam_groups": 0}, "`num_beam_groups` must be an integer of at least 1, but is 0"),
        ({"diversity_penalty": -1.0}, r"`diversity_penalty` must be a number of at least 0, but is -1\.0"),
        ({"penalty_alpha": 1.5}, r"`penalty_alpha` must be between 0 and 1, but is 1\.5"),
        ({"guidance_scale": "much"}, "`guidance_scale` must be a number, but is 'much'"),
        ({"num_beams": 2, "force_words_ids": [7, 8]}, "`force_words_ids` must be a list of words"),
        ({"num_beams": 2, "force_words_ids": []}, "`force_words_ids` must be a list of words"),
        ({"num_beams": 2, "force_words_ids": [[[5], [5, 6]]]}, "a word that begins another"),
        ({"num_beams": 2, "constraints": [[7]]}, "`constraints` must be a list of Constraint objects"),
    ],
)
def test_what_is_impossible_by_itself(settings, said):
    with pytest.raises(GenerationError, match=said):
        GenerationConfig(**settings)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"streamer": TextStreamer(None), "num_beams": 2, "low_memory": True}, "`low_memory` to be False"),
        ({"negative_prompt_ids": IDS}, "`negative_prompt_ids` needs `guidance_scale` to be other than 1"),
        ({"negative_prompt_ids": IDS[[0, 0]], "guidance_scale": 2.0}, "must have 1 row or 3, but has 2"),
        ({"num_beams": 2, "force_words_ids": [[99]]}, "below the vocabulary's 24, but ask for 99"),
        ({"custom_generate": "someone/something"}, "`custom_generate` must be a function"),
    ],
)
def test_what_a_call_refuses(pair, sources, arguments, said):
    with pytest.raises(GenerationError, match=said):
        pair[1].generate(**sources, max_new_tokens=3, **arguments)


def test_contrastive_search_uses_top_k():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GenerationConfig(penalty_alpha=0.6, top_k=4)
    with pytest.warns(UserWarning, match="`top_k` is 4"):
        GenerationConfig(top_k=4)


def test_low_memory_is_for_searches_of_several_rows():
    with pytest.warns(UserWarning, match="`low_memory` is True, but has no effect unless `num_beams` is more than 1"):
        GenerationConfig(low_memory=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GenerationConfig(low_memory=True, num_beams=2)
        GenerationConfig(low_memory=True, penalty_alpha=0.6)


@pytest.mark.parametrize(
    ("setting", "value", "switch"),
    [
        ("num_assistant_tokens", 4, "assistant_model"),
        ("num_assistant_tokens_schedule", "constant", "assistant_model"),
        ("assistant_confidence_threshold", 0.1, "assistant_model"),
        ("max_matching_ngram_size", 3, "prompt_lookup_num_tokens"),
    ],
)
def test_settings_of_drafts_need_what_drafts(pair, sources, setting, value, switch):
    said = f"`{setting}` is {value!r}, but has no effect without `{switch}`"
    with pytest.warns(UserWarning, match=said) as told:
        pair[1].generate(**sources, max_new_tokens=2, **{setting: value})
    assert all(one.filename == __file__ for one in told if said in str(one.message))
    assert not list(idle({setting: None}, GenerationConfig(), {}))
    assert not list(idle({setting: value}, GenerationConfig(prompt_lookup_num_tokens=3), {"assistant_model": object()}))


def test_a_file_holds_no_objects(tmp_path):
    with pytest.raises(GenerationError, match="`constraints` must be None in a file"):
        GenerationConfig(num_beams=2, constraints=[PhrasalConstraint([3])]).save_pretrained(tmp_path)
    settings = {"num_beams": 2, "force_words_ids": [[3], [[4, 5], [6]]]}
    GenerationConfig(**settings).save_pretrained(tmp_path)
    assert GenerationConfig.from_pretrained(tmp_path) == GenerationConfig(**settings)


def test_a_phrase_step_by_step():
    phrase = PhrasalConstraint([5, 6])
    assert (phrase.advance(), phrase.remaining(), phrase.does_advance(6)) == (5, 2, False)
    assert phrase.update(5) == (True, False, False)
    assert phrase.copy().advance() == 5
    assert phrase.copy(stateful=True).advance() == 6
    assert phrase.update(9) == (False, False, True)
    assert phrase.advance() == 5
    phrase.update(5)
    assert phrase.update(6) == (True, True, False)
    assert (phrase.advance(), phrase.remaining()) == (None, 0)
    PhrasalConstraint([5, 6]).test()
    for wrong in ([], [-1], 5, [[5]]):
        with pytest.raises(GenerationError, match="`token_ids` must be"):
            PhrasalConstraint(wrong)
    with pytest.raises(TypeError, match="must be an int"):
        PhrasalConstraint([5]).update("5")


def test_one_of_several_words():
    words = DisjunctiveConstraint([[5, 6], [5, 7, 8], [9]])
    assert sorted(words.advance()) == [5, 9]
    assert words.remaining() == 3
    assert words.update(5) == (True, False, False)
    assert sorted(words.advance()) == [6, 7]
    assert words.update(6) == (True, True, False)
    assert (words.advance(), words.remaining()) == (None, 0)
    DisjunctiveConstraint([[5, 6], [9]]).test()
    with pytest.raises(GenerationError, match="begins another"):
        DisjunctiveConstraint([[5], [5, 6]])


def test_a_list_of_constraints_has_banks():
    state = ConstraintListState([PhrasalConstraint([5, 6, 7]), DisjunctiveConstraint([[8], [9, 4]])])
    banks = []
    for token in (3, 5, 6, 8, 9, 4, 5, 6, 7):
        state.add(token)
        banks.append(state.get_bank())
    # The 8 breaks the phrase and begins nothing, since one token brings one constraint further.
    assert banks == [0, 1, 2, 0, 2, 3, 4, 5, 6]
    assert state.completed
    other = state.copy()
    other.reset([8, 5])
    assert (other.get_bank(), other.advance(), other.completed) == (4, [6], False)


def test_a_constraint_of_ones_own_is_tried_out():
    class Never(Constraint):
        seqlen = 1

        def advance(self):
            return 5

        def does_advance(self, token_id):
            return False

        def update(self, token_id):
            return False, False, False

        def reset(self):
            pass

        def remaining(self):
            return 1

        def copy(self, stateful=False):
            return self

    with pytest.raises(GenerationError, match="does_advance must be True"):
        Never()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_search_of_ones_own_as_in_the_reference(pair, sources):
    def follow(model, input_ids, logits_processor, stopping_criteria, generation_config, favour=0, **inputs):
        running = torch.ones(len(input_ids), dtype=torch.bool)
        while running.any():
            logits = model(decoder_input_ids=input_ids, **{k: inputs[k] for k in ("encoder_outputs", "attention_mask")})
            scores = logits_processor(input_ids, logits.logits[:, -1].float())
            scores[:, favour] += 7.0
            tokens = torch.where(running, scores.argmax(-1), generation_config._pad_token_tensor)
            input_ids = torch.cat((input_ids, tokens[:, None]), dim=1)
            running = running & ~stopping_criteria(input_ids, None)
        return input_ids

    model, adapted = pair
    settings = {"max_new_tokens": 9, "repetition_penalty": 1.4, "favour": 11, "eos_token_id": [2, 9]}
    adapted.forward = model.forward
    type(adapted).__call__ = lambda self, **inputs: self.model(**inputs)
    try:
        theirs = model.generate(**sources, custom_generate=follow, **settings)
        ours = adapted.generate(**sources, custom_generate=follow, **settings)
    finally:
        del type(adapted).__call__
        del adapted.forward
    assert torch.equal(theirs, ours)
    assert (ours == 11).any()
