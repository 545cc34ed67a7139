"""From a call's settings to the description of a search: what it says, and what is refused by name."""

from types import SimpleNamespace
from typing import Any

import pytest

from seqgraft.functional.settings import OFFERED, Settings, asked, settings
from seqgraft.generation import GenerationConfig
from seqgraft.generation.fields import ARGUMENTS, PUBLISHED, UNSUPPORTED

HALF = SimpleNamespace(
    pad_token_id=3, eos_token_id=2, bos_token_id=1, decoder_start_token_id=1, max_position_embeddings=16
)
REFUSED: dict[str, Any] = {
    "max_time": 3.0,
    "stop_strings": ["."],
    "num_beam_groups": 2,
    "diversity_penalty": 0.5,
    "constraints": [object()],
    "force_words_ids": [[4]],
    "penalty_alpha": 0.6,
    "guidance_scale": 2.0,
    "low_memory": True,
    "cache_implementation": "quantized",
    "cache_config": {"backend": "quanto"},
    "compile_config": {"fullgraph": True},
    "disable_compile": True,
    "top_h": 0.5,
    "typical_p": 0.9,
    "epsilon_cutoff": 0.1,
    "eta_cutoff": 0.1,
    "encoder_repetition_penalty": 1.2,
    "encoder_no_repeat_ngram_size": 2,
    "sequence_bias": {(4,): 1.0},
    "exponential_decay_length_penalty": (2, 1.1),
    "remove_invalid_values": True,
    "renormalize_logits": True,
    "watermarking_config": {"bias": 2.0},
    "num_assistant_tokens": 4,
    "num_assistant_tokens_schedule": "constant",
    "assistant_confidence_threshold": 0.3,
    "prompt_lookup_num_tokens": 3,
    "max_matching_ngram_size": 2,
    "output_attentions": True,
    "output_hidden_states": True,
    "output_scores": True,
    "output_logits": True,
    "use_mtp": True,
    "max_cache_len": 9,
    "token_healing": True,
    "is_assistant": True,
    "assistant_early_exit": 2,
    "assistant_lookbehind": 5,
    "target_lookbehind": 5,
    "assistant_ensemble_weight": 0.5,
    "speculation_type": "x",
    "continuous_batching_config": {},
    "dola_layers": "low",
    "prefill_chunk_size": 4,
}

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def described(prompt: int = 1, given: GenerationConfig | None = None, **call: Any) -> Settings:
    config, ids = asked(call, given, GenerationConfig(), [HALF])
    return settings(config, ids, prompt, HALF.max_position_embeddings)


def test_every_published_setting_is_offered_or_refused() -> None:
    assert set(PUBLISHED) == {*OFFERED, *REFUSED}
    assert set(UNSUPPORTED) <= set(REFUSED)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_offered_is_refused_by_name(name: str) -> None:
    needed: dict[str, Any] = {
        "num_beam_groups": {"num_beams": 4, "diversity_penalty": 1.0},
        "diversity_penalty": {"num_beams": 4, "num_beam_groups": 2},
        "constraints": {"num_beams": 2},
        "force_words_ids": {"num_beams": 2},
        "low_memory": {"num_beams": 2},
    }.get(name, {"return_dict_in_generate": True} if name.startswith("output") else {})
    sampled = {"do_sample": True} if name in ("top_h", "typical_p", "epsilon_cutoff", "eta_cutoff") else {}
    with pytest.raises(ValueError, match=f"`{name}`"):
        described(**needed, **sampled, **{name: REFUSED[name]})


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_are_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"`{name}` must be None in a compiled search, but is given"):
        described(**{name: object()})
    assert described(**{name: None}) == described()


def test_names_that_are_none() -> None:
    with pytest.raises(TypeError, match="unexpected arguments: num_beans"):
        described(num_beans=2)
    with pytest.raises(ValueError, match="`num_return_sequences` must be at most `num_beams`"):
        described(num_beams=2, num_return_sequences=3)


def test_what_files_hold_and_nothing_reads() -> None:
    """Drafting's numbers and sampling's settings say nothing until somebody drafts or samples."""
    held = GenerationConfig(num_assistant_tokens=7, typical_p=0.9, top_p=0.5, length_penalty=2.0, guidance_scale=1.0)
    assert described(given=held, cache_implementation="static", use_cache=False) == described()
    with pytest.raises(ValueError, match="`typical_p`"):
        described(given=held, do_sample=True)


def test_what_is_described() -> None:
    made = described(2, max_new_tokens=5)
    assert made == Settings(2, 7, ends=(2,), pad=3)
    assert hash(made) == hash(described(2, max_new_tokens=5))
    assert made != described(2, max_new_tokens=6)
    assert described() == Settings(1, 16, ends=(2,), pad=3)  # 20 new ones would be more than there are positions
    assert described(max_length=9, min_length=4, min_new_tokens=6).min_length == 7
    assert described(min_length=4, eos_token_id=None, pad_token_id=0) == Settings(1, 16, pad=0)
    assert described(eos_token_id=[5, 2, 5], pad_token_id=None) == Settings(1, 16, ends=(5, 2), pad=5)
    beams = described(num_beams=3, num_return_sequences=2, length_penalty=0.5, early_stopping="never")
    assert (beams.beams, beams.returned, beams.each) == (3, 2, 3)
    assert (beams.length_penalty, beams.early_stopping, beams.with_scores) == (0.5, "never", False)
    assert described(num_beams=2, output_scores=True, return_dict_in_generate=True).with_scores
    drawn = described(do_sample=True, num_return_sequences=4)
    assert (drawn.each, drawn.top_k, drawn.temperature, drawn.top_p, drawn.min_p) == (4, 50, 1.0, 1.0, None)
    assert described(do_sample=True, top_k=None).top_k == 0
    assert described(top_k=5, temperature=0.5) == described()
    rules = described(
        bad_words_ids=[[2], [4], [5, 6]],
        suppress_tokens=[7],
        begin_suppress_tokens=[8],
        forced_bos_token_id=9,
        forced_eos_token_id=[2, 4],
        repetition_penalty=1.5,
        no_repeat_ngram_size=3,
    )
    assert rules == Settings(
        1,
        16,
        ends=(2,),
        pad=3,
        bad_words=((4,), (5, 6)),
        suppressed=(7,),
        suppressed_first=(8,),
        forced_first=9,
        forced_last=(2, 4),
        repetition_penalty=1.5,
        no_repeat_ngram=3,
    )
