"""The watermark and its detector against the reference's classes, and against chance."""

import numpy as np
import pytest
import torch
import transformers

from seqgraft.errors import GenerationError
from seqgraft.generation import GenerationConfig, WatermarkingConfig
from seqgraft.torch.processors import WatermarkDetector, WatermarkLogitsProcessor

SETTINGS = [
    {},
    {"greenlist_ratio": 0.5, "bias": 4.0},
    {"hashing_key": 17, "context_width": 3},
    {"seeding_scheme": "selfhash"},
    {"seeding_scheme": "selfhash", "context_width": 3, "bias": 1.5, "greenlist_ratio": 0.4},
]


def ids(rows, time, vocab, seed=0):
    return torch.randint(0, vocab, (rows, time), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("vocab", [64, 301])
def test_equal_to_the_class_of_the_reference(settings, vocab):
    ours = WatermarkLogitsProcessor(vocab, "cpu", **settings)
    theirs = transformers.WatermarkLogitsProcessor(vocab, "cpu", **settings)
    for seed in range(3):
        rows = ids(4, 5, vocab, seed)
        scores = torch.randn(4, vocab, generator=torch.Generator().manual_seed(seed)) * 4
        before = scores.clone()
        marked = ours(rows, scores)
        assert torch.equal(marked, theirs(rows, scores))
        assert torch.equal(scores, before)
        assert not torch.equal(marked, scores)


def test_remembered_seeds_change_nothing():
    processor = WatermarkLogitsProcessor(50)
    fresh = {seed: WatermarkLogitsProcessor(50).green(seed) for seed in range(300)}
    for seed in [*range(300), *range(299, -1, -1), 5, 5]:
        assert torch.equal(processor.green(seed), fresh[seed])
    assert len(processor._green) == 128
    assert fresh[0].sum() == 12


def test_a_start_that_is_too_short_is_not_marked():
    scores = torch.randn(2, 64)
    with pytest.warns(UserWarning, match="needs 3 tokens to begin with, but a row has 2"):
        assert torch.equal(WatermarkLogitsProcessor(64, context_width=3)(ids(2, 2, 64), scores), scores)


class Config:
    is_encoder_decoder = False
    bos_token_id = 1
    vocab_size = 64


class PairConfig:
    is_encoder_decoder = True
    decoder_start_token_id = 1
    decoder = Config()


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("repeated", [True, False])
def test_the_detector_equals_the_references(settings, repeated):
    arguments = {"device": "cpu", "ignore_repeated_ngrams": repeated}
    ours = WatermarkDetector(Config(), watermarking_config=settings, **arguments)
    pair = WatermarkDetector(PairConfig(), watermarking_config=WatermarkingConfig(**settings), **arguments)
    theirs = transformers.WatermarkDetector(
        Config(), watermarking_config=transformers.WatermarkingConfig(**settings), **arguments
    )
    rows = ids(5, 40, 64).clamp(min=2) % 9 + 2  # few tokens: windows come again
    started = torch.cat((torch.ones(5, 1, dtype=torch.long), rows), dim=1)
    for given in (rows, started, rows[:, :6]):
        expected = theirs(given, return_dict=True)
        for found in (ours(given, return_dict=True), pair(given, return_dict=True)):
            for name, value in vars(expected).items():
                np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)
        np.testing.assert_array_equal(ours(given, z_threshold=0.3), theirs(given, z_threshold=0.3))


def test_the_detector_refuses():
    detector = WatermarkDetector(Config(), "cpu", {"context_width": 3})
    with pytest.raises(GenerationError, match=r"first token \(1\) in all rows or in none, but 1 of 2 rows do"):
        detector(torch.tensor([[1, 2, 3, 4, 5], [2, 2, 3, 4, 5]]))
    with pytest.raises(GenerationError, match=r"at least 4 tokens after the start .*but has 3"):
        detector(torch.tensor([[1, 2, 3, 4]]))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("settings", SETTINGS[:3])  # "selfhash" there tries 40 tokens, and this vocabulary has 24
@pytest.mark.parametrize("beams", [1, 3])
def test_generate_marks_as_the_reference(pair, sources, settings, beams):
    model, adapted = pair
    how = {"max_new_tokens": 12, "num_beams": beams, "renormalize_logits": True, "eos_token_id": 2}
    theirs = model.generate(
        **sources, use_cache=False, watermarking_config=transformers.WatermarkingConfig(**settings), **how
    )
    for config in (settings, WatermarkingConfig(**settings), transformers.WatermarkingConfig(**settings)):
        assert torch.equal(adapted.generate(**sources, watermarking_config=config, **how), theirs)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("settings", [{"bias": 6.0}, {"bias": 6.0, "seeding_scheme": "selfhash", "context_width": 2}])
def test_what_is_marked_is_found(pair, sources, settings):
    _, adapted = pair
    how = {"do_sample": True, "top_k": 0, "temperature": 3.0, "max_new_tokens": 60, "eos_token_id": None}
    torch.manual_seed(0)
    detector = WatermarkDetector(adapted.config, "cpu", settings)
    marked = detector(adapted.generate(**sources, watermarking_config=settings, **how), return_dict=True)
    plain = detector(adapted.generate(**sources, **how), return_dict=True)
    assert marked.prediction.all()
    assert marked.p_value.max() < 1e-3
    assert marked.z_score.min() > plain.z_score.max() + 3


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"bias": "x"}, "`bias` of a watermark must be a number, but is 'x'"),
        (
            {"greenlist_ratio": 1.0},
            r"`greenlist_ratio` of a watermark must be more than 0 and less than 1, but is 1\.0",
        ),
        ({"seeding_scheme": "left"}, "must be 'lefthash' or 'selfhash', but is 'left'"),
        ({"context_width": 0}, "`context_width` of a watermark must be an integer of at least 1, but is 0"),
        ({"hashing_key": 1.5}, r"`hashing_key` of a watermark must be an integer, but is 1\.5"),
        ({"width": 2}, "`watermarking_config` may have greenlist_ratio, .* but has width"),
        ({"ngram_len": 5, "keys": [1, 2]}, r"fields of SynthID\. .*synthid-text 0\.2\.1"),
        (7, "`watermarking_config` must be a WatermarkingConfig or its fields, but is 7"),
    ],
)
def test_impossible_watermarks(value, said):
    with pytest.raises(GenerationError, match=said):
        GenerationConfig(watermarking_config=value)
    with pytest.raises(GenerationError, match=said):
        WatermarkingConfig.of(value).validate()


def test_synthid_objects_of_the_reference_are_refused():
    config = transformers.SynthIDTextWatermarkingConfig(ngram_len=5, keys=[1, 2])
    with pytest.raises(GenerationError, match="SynthID is not offered"):
        GenerationConfig(watermarking_config=config)


def test_files_both_ways(tmp_path):
    settings = {"greenlist_ratio": 0.5, "bias": 1.5, "seeding_scheme": "selfhash", "context_width": 2, "hashing_key": 3}
    transformers.GenerationConfig(watermarking_config=settings).save_pretrained(tmp_path)
    ours = GenerationConfig.from_pretrained(tmp_path)
    assert ours.watermarking_config == WatermarkingConfig(**settings)
    ours.save_pretrained(tmp_path)
    assert transformers.GenerationConfig.from_pretrained(tmp_path).watermarking_config.to_dict() == settings
    assert '"bias": 1.5' in repr(ours)
    ours.watermarking_config.update(bias=2.5)
    assert ours != GenerationConfig(watermarking_config=settings)
    assert WatermarkingConfig.from_dict(settings, bias=2.5) == ours.watermarking_config
