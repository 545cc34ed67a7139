"""The further searches on models of ours, cached and batched, against the reference's weights run without a cache."""

import pytest
import torch

import seqgraft

from .conftest import Adapted, reference_pair

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SEARCHES = {
    "groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.7},
    "constrained": {"num_beams": 4, "force_words_ids": [[7, 8], [[5], [9, 6]]]},
    "contrastive": {"penalty_alpha": 0.5, "top_k": 4},
    "contrastive, one by one": {"penalty_alpha": 0.5, "top_k": 4, "low_memory": True},
    "beams, one by one": {"num_beams": 4, "low_memory": True},
    "guided": {"guidance_scale": 1.8},
    "guided beams": {"guidance_scale": 0.4, "num_beams": 3},
    "guided groups": {"guidance_scale": 2.0, "num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.7},
}


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def both(request, tmp_path_factory):
    """One pair: ours, and the reference's behind the uncached adapter."""
    folder = tmp_path_factory.mktemp("pair")
    model = reference_pair(request.param)
    model.save_pretrained(folder)
    return seqgraft.EncoderDecoderModel.from_pretrained(folder).eval(), Adapted(model)


@pytest.mark.parametrize("name", SEARCHES)
def test_cached_equals_uncached(both, sources, name):
    ours, slow = both
    middle = int(slow.generate(**sources, max_new_tokens=8, eos_token_id=None)[0, 5])
    for extra in ({}, {"decoder_input_ids": torch.tensor([[1, 9, 4], [1, 8, 8], [1, 7, 5]])}):
        for details in ({}, {"return_dict_in_generate": True, "output_scores": True}):
            settings = {"max_new_tokens": 10, "eos_token_id": [2, middle], **SEARCHES[name], **details}
            left, right = (model.generate(**sources, **extra, **settings) for model in (ours, slow))
            if not details:
                assert torch.equal(left, right)
                continue
            assert torch.equal(left.sequences, right.sequences)
            assert len(left.scores) == len(right.scores)
            for a, b in zip(left.scores, right.scores, strict=True):
                assert torch.allclose(a.clamp(min=-1e4), b.clamp(min=-1e4), atol=1e-3)
            if "num_beams" in settings:
                assert torch.equal(left.beam_indices, right.beam_indices)
                assert torch.allclose(left.sequences_scores, right.sequences_scores, atol=1e-4)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_row_does_not_depend_on_its_neighbours(both, sources, name):
    ours, _ = both
    together = ours.generate(**sources, max_new_tokens=9, **SEARCHES[name])
    for place in range(3):
        one = {key: value[place : place + 1] for key, value in sources.items()}
        alone = ours.generate(**one, max_new_tokens=9, **SEARCHES[name])[0]
        assert torch.equal(together[place, : len(alone)], alone)


def test_the_scores_of_the_chosen_rows_are_the_sequences_scores(both, sources):
    """`beam_indices` name the row that each token was chosen from, for groups and constraints too."""
    for name in ("groups", "constrained", "beams, one by one"):
        settings = {**SEARCHES[name], "num_return_sequences": 3, "max_new_tokens": 9, "eos_token_id": None}
        wanted = {"return_dict_in_generate": True, "output_scores": True, "length_penalty": 0.0}
        out = both[0].generate(**sources, **settings, **wanted)
        scores = both[0].compute_transition_scores(out.sequences, out.scores, out.beam_indices)
        assert torch.allclose(scores.sum(dim=1), out.sequences_scores, atol=1e-4), name


def test_low_memory_keeps_the_beams_of_one_source(both, sources):
    ours, _ = both
    seen = []
    step = ours.decoder.step

    def watched(ids, state):
        seen.append(len(ids))
        return step(ids, state)

    ours.decoder.step = watched
    try:
        plain = ours.generate(**sources, num_beams=4, max_new_tokens=6, eos_token_id=None)
        assert max(seen) == 12
        seen.clear()
        assert torch.equal(
            ours.generate(**sources, num_beams=4, max_new_tokens=6, eos_token_id=None, low_memory=True), plain
        )
        assert max(seen) == 4
    finally:
        del ours.decoder.step


def test_guidance_without_a_source_leaves_the_source_out(both, sources):
    """At scale 0 the unconditional branch alone speaks: no source changes it, a negative one decides."""
    ours, _ = both
    texts = ours.generate(**sources, guidance_scale=0.0, max_new_tokens=6, eos_token_id=None)
    assert torch.equal(texts, texts[:1].expand(3, -1))
    negative = sources["input_ids"][:1]
    led = ours.generate(
        **sources, guidance_scale=0.0, max_new_tokens=6, eos_token_id=None, negative_prompt_ids=negative
    )
    alone = ours.generate(negative, max_new_tokens=6, eos_token_id=None)
    assert torch.equal(led, alone.expand(3, -1))


@pytest.mark.parametrize("negative", [None, [[9, 4, 6], [8, 8, 5]], [[9, 4]]])
def test_guidance_of_a_decoder_alone_is_the_references(lone, negative):
    """The field's processor runs the unconditional branch itself; greedy, since it does not follow beams."""
    model, adapted = lone
    ids = torch.tensor([[4, 3, 9, 5], [8, 7, 6, 5]])
    wanted = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
    for scale in (0.0, 0.6, 1.5, 3.0):
        settings = {"max_new_tokens": 8, "guidance_scale": scale, "repetition_penalty": 1.2, **wanted}
        given = None if negative is None else torch.tensor(negative)
        every = given if negative is None else given.expand(2, -1)
        theirs = model.generate(ids, negative_prompt_ids=every, **settings)
        ours = adapted.generate(ids, negative_prompt_ids=given, **settings)
        assert torch.equal(theirs.sequences, ours.sequences)
        for name in ("scores", "logits"):
            for a, b in zip(getattr(theirs, name), getattr(ours, name), strict=True):
                assert torch.allclose(a, b, atol=1e-4), name


@pytest.mark.parametrize("name", ["groups", "constrained", "contrastive"])
def test_other_criteria_end_a_text_with_its_token(both, sources, name):
    def fourth(input_ids, scores, **kwargs):
        return (input_ids.shape[1] > 4) & (input_ids[:, -1] % 3 == 0)

    settings = {**SEARCHES[name], "max_new_tokens": 12, "eos_token_id": None, "pad_token_id": 1}
    if "num_beams" in settings:
        settings |= {"early_stopping": True, "length_penalty": -1.0}
    if name == "constrained":
        settings["force_words_ids"] = [[int(both[0].generate(**sources, max_new_tokens=3)[0, 2])]]  # a likely word
    ids = both[0].generate(**sources, **settings, stopping_criteria=[fourth])
    ended = 0
    for row in ids[:, 1:].tolist():
        text = [token for token in row if token != 1]
        assert all(token % 3 for token in text[3:-1])
        ended += len(text) < 12 and text[-1] % 3 == 0
    assert ended
