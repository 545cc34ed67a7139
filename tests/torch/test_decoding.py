"""The decoding that searches run (shared slots, straight steps, prompts once, rows that leave) against plain passes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from seqgraft.torch.cache import EncoderDecoderCache
from seqgraft.torch.decoding import DecodingState
from seqgraft.torch.record import Memory
from seqgraft.torch.search import best
from seqgraft.torch.search import drawn as drawn_by

from ..families.rows import ROWS, VOCABULARY, Row
from .test_family_mathematics import memory, stepped

BOUND = 2e-5
STEPPED = [
    pytest.param(row, cross, id=f"{row.name}-{'cross' if cross else 'alone'}")
    for row in ROWS
    if row.causal
    for cross in ((False, True) if row.cross else (False,))
]


def started(model: Any, cross: bool, sources: int, mask: Tensor | None = None) -> tuple[DecodingState, dict[str, Any]]:
    """A state before the prompt, and what a plain pass needs to see the same memory, a row a source."""
    if not cross:
        return model.start(Memory(), mask), {}
    held = memory()
    states = held["encoder_hidden_states"][:1].repeat(sources, 1, 1) + torch.arange(sources)[:, None, None] * 0.1
    return model.start(Memory(states), mask), {"encoder_hidden_states": states}


def plain(model: Any, ids: Tensor, seen: dict[str, Tensor], each: int = 1, mask: Tensor | None = None) -> Tensor:
    """Logits [rows, time, vocabulary] of whole rows of ids in one pass."""
    repeated = {name: value.repeat_interleave(each, 0) for name, value in seen.items()}
    more = {} if mask is None else {"attention_mask": mask}
    logits: Tensor = model(ids, **repeated, **more).logits
    return logits


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(4, VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


def close(ours: Tensor, theirs: Tensor) -> None:
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < BOUND


@pytest.mark.parametrize(("row", "cross"), STEPPED)
@torch.no_grad()
def test_beams_share_their_slots(made: Any, row: Row, cross: bool) -> None:
    """Two sources of three rows that change places: every step as if the rows were run whole."""
    model = stepped(made, row, cross)
    prompt, sources, each = drawn(2, 3), 2, 3
    state, seen = started(model, cross, sources)
    first, state = model.step(prompt, state)
    close(first.logits, plain(model, prompt, seen)[:, -1])
    state = model.spread(state, each)
    ids = prompt.repeat_interleave(each, 0)
    generator = torch.Generator().manual_seed(1)
    for turn in range(44):
        new = drawn(6, 1, seed=100 + turn)
        ids = torch.cat((ids, new), 1)
        step, state = model.step(new, state)
        if turn % 6 == 5 or turn < 3:
            close(step.logits, plain(model, ids, seen, each)[:, -1])
        rows = torch.randint(0, each, (2, each), generator=generator)
        rows = (rows + torch.tensor([[0], [each]])).flatten()
        state, ids = model.reorder(state, rows), ids[rows]
    left = torch.tensor([3, 4, 5])
    state, ids = model.keep(state, left), ids[left]
    seen = {name: value[1:] for name, value in seen.items()}
    for turn in range(2):
        new = drawn(3, 1, seed=300 + turn)
        ids = torch.cat((ids, new), 1)
        step, state = model.step(new, state)
        close(step.logits, plain(model, ids, seen, each)[:, -1])


def test_slots_that_no_row_sees_are_given_back(made: Any) -> None:
    row = next(one for one in ROWS if one.name == "bert")
    model = stepped(made, row, True)
    with torch.no_grad():
        state, _ = started(model, True, 1)
        _, state = model.step(drawn(1, 2), state)
        state = model.spread(state, 4)
        for turn in range(60):
            _, state = model.step(drawn(4, 1, seed=turn), state)
            state = model.reorder(state, torch.tensor([0, 0, 0, 0]))  # only the first row's past lives on
    own = state.cache.layers[0]
    assert own.length < 2 * 62 + 16 * 4 < 2 + 60 * 4
    assert state.cache.get_seq_length() == 62


@pytest.mark.parametrize(("row", "cross"), STEPPED)
@torch.no_grad()
def test_rows_take_back_tokens_of_their_own(made: Any, row: Row, cross: bool) -> None:
    """Drafts of four tokens, of which each row keeps another number."""
    model = stepped(made, row, cross)
    if model.spec.streams is not None or model.spec.distances is not None:
        pytest.skip("its positions are not of a row by itself")
    state, seen = started(model, cross, 3)
    prompt = drawn(3, 2)
    _, state = model.step(prompt, state)
    texts = [list(one) for one in prompt.tolist()]
    generator = torch.Generator().manual_seed(2)
    for turn in range(9):
        new = drawn(3, 4, seed=turn)
        logits, state = model.score(new, state)
        counts = torch.randint(0, 4, (3,), generator=generator)
        if turn == 4:
            counts = torch.tensor([2, 2, 2])
        for at, (text, more) in enumerate(zip(texts, new.tolist(), strict=True)):
            text += more
            own = {name: value[at : at + 1] for name, value in seen.items()}
            close(logits[at], plain(model, torch.tensor([text]), own)[0, -4:])
            del text[len(text) - int(counts[at]) :]
        state = model.forget(state, counts)
    new = drawn(3, 1, seed=77)
    step, state = model.step(new, state)
    for at, (text, more) in enumerate(zip(texts, new.tolist(), strict=True)):
        own = {name: value[at : at + 1] for name, value in seen.items()}
        close(step.logits[at], plain(model, torch.tensor([text + more]), own)[0, -1])


@pytest.mark.parametrize("mixing", [True, False])
@pytest.mark.parametrize(("row", "cross"), STEPPED)
@torch.no_grad()
def test_padded_prompts_spread(made: Any, row: Row, cross: bool, mixing: bool) -> None:
    """Prompts padded at the left, two rows a source; rows of one source that do not mix leave one by one."""
    model = stepped(made, row, cross)
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    prompt = drawn(2, 4)
    state, seen = started(model, cross, 2, mask)
    step, state = model.step(prompt, state)
    state = model.spread(state, 2, mixing=mixing)
    ids, mask = prompt.repeat_interleave(2, 0), mask.repeat_interleave(2, 0)
    kept = torch.arange(4)
    for turn in range(6):
        new = drawn(len(kept), 1, seed=turn)
        ids, mask = torch.cat((ids, new), 1), torch.cat((mask, torch.ones_like(new)), 1)
        step, state = model.step(new, state)
        expected = [
            plain(model, ids[at : at + 1], {n: v[r // 2 : r // 2 + 1] for n, v in seen.items()}, 1, mask[at : at + 1])
            for at, r in enumerate(kept.tolist())
        ]
        close(step.logits, torch.cat(expected)[:, -1])
        if turn == 2 and not mixing:
            rows = torch.tensor([0, 1, 3])
            state, ids, mask, kept = model.keep(state, rows), ids[rows], mask[rows], kept[rows]
        elif turn == 2:
            rows = torch.tensor([1, 1, 2, 3])
            state, ids, mask = model.reorder(state, rows), ids[rows], mask[rows]


def test_a_hooked_layer_is_called(made: Any) -> None:
    model = stepped(made, next(one for one in ROWS if one.name == "bert"), False)
    seen: list[int] = []
    with torch.no_grad():
        for watched in (False, True):
            state, _ = started(model, False, 1)
            for turn in range(4):
                _, state = model.step(drawn(1, 1, seed=turn), state)
            assert len(seen) == 4 * watched
            handle = model.layers[0].feed_forward.register_forward_hook(lambda *_: seen.append(1))
    handle.remove()


def test_a_cache_of_the_forward_pass_has_no_seats() -> None:
    cache = EncoderDecoderCache(2)
    assert cache.get_seq_length() == 0
    assert cache.seats is None


@pytest.mark.parametrize("count", [1, 3])
def test_rows_that_are_left_draw_what_they_would_have_drawn(count: int) -> None:
    scores, live = torch.randn(5, 400, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 4])
    torch.manual_seed(3)
    among_all = drawn_by(scores, count, 5, None)
    torch.manual_seed(3)
    assert torch.equal(drawn_by(scores[live], count, 5, live), among_all[live])


def test_the_best_of_long_rows() -> None:
    scores = torch.randn(3, 30522 * 4, generator=torch.Generator().manual_seed(0))
    scores[1, :30000] = -torch.inf
    scores[2] = scores[2].sort().values  # the best stand in the last block, which is not whole
    values, places = best(scores, 8)
    assert torch.equal(values, scores.topk(8).values)
    assert torch.equal(scores.gather(1, places), values)
    assert len(places[0].unique()) == 8
