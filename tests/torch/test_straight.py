"""Which decoders' steps go straight from ids to logits, and that they give what the reference gives."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seqgraft import EncoderDecoderModel
from seqgraft.torch import product
from seqgraft.torch.prepare import prepare
from seqgraft.torch.record import Memory

from ..families.rows import VOCABULARY
from .pairs import reference_pair, source

STRAIGHT, GENERAL = ("bert", "roberta", "gpt2", "bart"), ("xglm", "roformer")
"""Tables of positions; computed ones, and turned queries and keys."""


@pytest.fixture
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small maps are packed too, where the machine's oneDNN is to compute them; or none are."""
    monkeypatch.setenv("SEQGRAFT_PRODUCT", request.param)
    monkeypatch.setattr(product, "_LEAST", 1)
    product.library.cache_clear()
    yield
    monkeypatch.undo()
    product.library.cache_clear()


def opened(tmp_path: Any, decoder: str) -> tuple[Any, EncoderDecoderModel]:
    """The reference's pair and ours."""
    theirs = reference_pair("bert", decoder)
    theirs.save_pretrained(tmp_path)
    return theirs, EncoderDecoderModel.from_pretrained(tmp_path)


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randint(4, VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("library", ["onednn", "torch"], indirect=True)
@pytest.mark.parametrize("decoder", [*STRAIGHT, *GENERAL])
@torch.no_grad()
def test_steps_of_beams_are_the_references(tmp_path: Any, decoder: str, library: None) -> None:
    """Sources of mixed lengths, of two rows each that change places."""
    theirs, ours = opened(tmp_path, decoder)
    assert (prepare(ours.decoder).straight is not None) == (decoder in STRAIGHT)
    inputs, each = source("bert"), 2
    outputs = ours.encode(**inputs)
    model, state = ours.decoding(outputs, inputs["attention_mask"])
    ids = drawn(3, 1, seed=0)
    _, state = model.step(ids, state)
    state, ids = model.spread(state, each), ids.repeat_interleave(each, 0)
    repeated = {name: value.repeat_interleave(each, 0) for name, value in inputs.items()}
    for turn in range(8):
        new = drawn(6, 1, seed=1 + turn)
        ids = torch.cat((ids, new), 1)
        step, state = model.step(new, state)
        expected = theirs(**repeated, decoder_input_ids=ids).logits[:, -1]
        assert float((step.logits - expected).abs().max() / expected.abs().max()) < 2e-5
        rows = torch.tensor([0, 0, 3, 2, 4, 4])
        state, ids = model.reorder(state, rows), ids[rows]


def test_a_hooked_part_is_called(tmp_path: Any) -> None:
    """Also one that the straight way reads without calling it."""
    _, ours = opened(tmp_path, "bert")
    calls: list[nn.Module] = []
    ours.decoder.embed.register_forward_hook(lambda module, given, made: calls.append(module))
    assert prepare(ours.decoder).straight is None
    ours.generate(**source("bert"), max_new_tokens=5, do_sample=False, eos_token_id=None)
    assert len(calls) == 5


@torch.no_grad()
def test_a_step_past_the_table_of_positions_is_an_error(tmp_path: Any) -> None:
    _, ours = opened(tmp_path, "bert")
    model = ours.decoder
    longest = model.spec.positions.longest
    outputs = ours.encode(**source("bert"))
    _, state = model.step(drawn(3, longest - 1, seed=0), model.start(Memory(outputs.last_hidden_state)))
    _, state = model.step(drawn(3, 1, seed=1), state)
    with pytest.raises(ValueError, match=f"at most {longest} tokens"):
        model.step(drawn(3, 1, seed=2), state)
