"""Whole pairs, cached, in plain numpy: the tokens that the reference generates from the same weights."""

import random
from typing import Any

import numpy as np
import pytest
import torch

import seqgraft
from seqgraft.functional.decoding import Decoding
from seqgraft.functional.found import Found
from seqgraft.functional.pair import Pair, encode
from seqgraft.functional.run import Run
from seqgraft.functional.search import search
from seqgraft.functional.settings import asked, settings
from seqgraft.functional.stack import Text

from ..generation.conftest import VOCAB, reference_pair
from .cases import weights
from .numpy_ops import NumpyOps

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "max_length": {"max_length": 9, "max_new_tokens": None},
    "min_length": {"min_length": 10},
    "min_new_tokens": {"min_new_tokens": 9},
    "n-grams": {"no_repeat_ngram_size": 2},
    "repetition": {"repetition_penalty": 1.7},
    "repetition wanted": {"repetition_penalty": 0.6},
    "bad words": {"bad_words_ids": [[9], [16, 16], [12, 6, 20], [2]]},
    "suppressed": {"suppress_tokens": [9, 16], "begin_suppress_tokens": [6, 12, 20]},
    "forced": {"forced_bos_token_id": 7, "forced_eos_token_id": [2, 11], "begin_suppress_tokens": [6, 12, 20]},
    "many results": {"num_beams": 4, "num_return_sequences": 4},
    "early": {"num_beams": 3, "early_stopping": True},
    "never early": {"num_beams": 3, "early_stopping": "never", "length_penalty": 0.6},
    "short": {"num_beams": 3, "length_penalty": -1.0},
}


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The reference, and ours as functions."""
    folder = tmp_path_factory.mktemp("pair")
    theirs = reference_pair(request.param)
    theirs.save_pretrained(folder)
    ours = seqgraft.EncoderDecoderModel.from_pretrained(folder)
    held = {f"encoder.{name}": value for name, value in weights(NumpyOps(), ours.encoder).items()}
    held |= {f"decoder.{name}": value for name, value in weights(NumpyOps(), ours.decoder).items()}
    return theirs, ours, Run(NumpyOps(), held)


@pytest.fixture(scope="module")
def sources() -> dict[str, torch.Tensor]:
    ids = torch.randint(4, VOCAB, (3, 7), generator=torch.Generator().manual_seed(5))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    mask[2, 3:] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}


def generate(both: Any, sources: Any, prompt: Any = None, prompt_mask: Any = None, **call: Any) -> Found:
    _, ours, run = both
    ops, pair = run.ops, Pair.of(ours.config)
    halves = (ours.config, ours.config.decoder)
    config, ids = asked(call, None, ours.generation_config, halves)
    prompt = np.full((3, 1), ids.start, np.int32) if prompt is None else np.array(prompt, np.int32)
    own = settings(config, ids, prompt.shape[1], 64)
    mask = sources["attention_mask"].numpy()
    states = encode(run, pair, Text(sources["input_ids"].numpy(), mask=mask))
    decoding = Decoding.of(run, pair, states, mask, own.each, own.total)
    carried = decoding.start(3, "float32", prompt_mask)
    return search(ops, decoding.step, decoding.take, carried, prompt, own, 0, prompt_mask=prompt_mask)


def same(theirs: torch.Tensor, found: Found) -> None:
    """The reference's rows end where the longest does."""
    ours = found.sequences[:, : int(found.lengths.max())]
    assert ours.tolist() == theirs.tolist()


@pytest.fixture(scope="module")
def middle(both: Any, sources: Any) -> int:
    """A token that greedy search makes in the middle: as an end token it ends some rows early."""
    return int(both[0].generate(**sources, max_new_tokens=8, eos_token_id=None)[0, 5])


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting(both: Any, sources: Any, middle: int, name: str, beams: int) -> None:
    call = {"max_new_tokens": 11, "eos_token_id": [2, middle], "num_beams": beams, **SETTINGS[name]}
    call = {name: value for name, value in call.items() if value is not None}
    details = {"output_scores": True, "return_dict_in_generate": True}
    theirs = both[0].generate(**sources, **call, **details)
    found = generate(both, sources, **call)
    same(theirs.sequences, found)
    if call["num_beams"] > 1:
        np.testing.assert_allclose(found.scores, theirs.sequences_scores, atol=2e-5)


@pytest.mark.parametrize("seed", range(12))
def test_settings_together(both: Any, sources: Any, middle: int, seed: int) -> None:
    r = random.Random(seed)
    beams = r.choice([1, 2, 4, 5])
    call = {
        "num_beams": beams,
        "num_return_sequences": r.randint(1, beams),
        "max_new_tokens": r.randint(1, 14),
        "eos_token_id": r.choice([2, middle, [2, middle], [2, middle, 9]]),
        "no_repeat_ngram_size": r.choice([0, 0, 2, 3]),
        "repetition_penalty": r.choice([1.0, 1.0, 1.4]),
        "min_length": r.choice([0, 0, 6]),
        "pad_token_id": r.choice([3, 8]),
        **({"length_penalty": r.choice([0.0, 0.7, 1.0, 2.0, -0.5])} if beams > 1 else {}),
        **({"early_stopping": r.choice([True, False, "never"])} if beams > 1 else {}),
    }
    same(both[0].generate(**sources, **call), generate(both, sources, **call))


@pytest.mark.parametrize("beams", [1, 3])
def test_a_prompt_of_several_tokens(both: Any, sources: Any, middle: int, beams: int) -> None:
    """Padded at the left as well, where padding is no repetition."""
    call = {"max_new_tokens": 9, "eos_token_id": middle, "num_beams": beams, "repetition_penalty": 1.3}
    prompt = torch.tensor([[1, 9, 4], [1, 8, 8], [1, 7, 5]])
    same(both[0].generate(**sources, decoder_input_ids=prompt, **call), generate(both, sources, prompt, **call))
    prompt = torch.tensor([[1, 9, 4, 6], [3, 1, 8, 8], [3, 3, 1, 7]])
    mask = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1]])
    call["decoder_start_token_id"] = 1
    ours = both[1].generate(**sources, decoder_input_ids=prompt, decoder_attention_mask=mask, **call)
    same(ours, generate(both, sources, prompt, mask.numpy(), **call))
