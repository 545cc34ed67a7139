"""Steps of fixed shapes against plain passes over whole rows, run as they are and recorded."""

import copy
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import seqgraft
from seqgraft.torch import graphs
from seqgraft.torch.graphs import Plan, Replay
from seqgraft.torch.prepare import prepare
from seqgraft.torch.record import Memory
from seqgraft.torch.static_step import bucket

from ..families.rows import Row
from .test_decoding import STEPPED, close, drawn, plain, started
from .test_family_mathematics import stepped


class Tape(TorchDispatchMode):
    """Every operation that runs, with what it read and wrote; and what it wrote in place, as it was before."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self.before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._schema.is_mutable:
            self.before.append((args[0], args[0].clone()))
        out = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, out))
        return out


class Stand:
    """A stand-in for CUDA graphs: the operations of one step, run again with the same tensors and the same numbers.

    What a step takes from the host is thus frozen, as in a graph. A replay must find all buffers where they were.
    """

    def __init__(self) -> None:
        self.warmed = self.captures = self.replays = 0

    def warm(self, run: Callable[[], Tensor]) -> Tensor:
        self.warmed += 1
        return run()

    def capture(self, run: Callable[[], Tensor]) -> Replay:
        self.captures += 1
        with Tape() as tape:
            result = run()
        for tensor, old in reversed(tape.before):  # recording runs nothing
            tensor.copy_(old)

        def replay() -> Tensor:
            self.replays += 1
            for func, args, kwargs, out in tape.calls:
                again = func(*args, **kwargs)
                pairs = zip(out, again, strict=True) if isinstance(out, (tuple, list)) else [(out, again)]
                for kept, new in pairs:
                    if isinstance(kept, Tensor) and kept.data_ptr() != new.data_ptr():
                        kept.copy_(new)
            return result

        return replay


def planned(model: Any, state: Any, recorder: Stand | None = None, longest: int = 20) -> Any:
    return model.planned(state, Plan(longest, recorder))


SERVED = pytest.mark.parametrize(("row", "cross"), STEPPED)


@pytest.mark.parametrize("recorded", [False, True])
@SERVED
@torch.no_grad()
def test_beams(made: Any, row: Row, cross: bool, recorded: bool) -> None:
    """Two sources of three rows that change places, past a bucket of 64 slots; then one source alone."""
    model = stepped(made, row, cross)
    prompt, sources, each = drawn(2, 3), 2, 3
    state, seen = started(model, cross, sources)
    stand = Stand()
    state = planned(model, state, stand if recorded else None)
    if model.static_step_refusal:
        assert state.plan is None
        return
    _, state = model.step(prompt, state)
    state = model.spread(state, each)
    ids = prompt.repeat_interleave(each, 0)
    generator = torch.Generator().manual_seed(1)
    for turn in range(36):
        new = drawn(6, 1, seed=100 + turn)
        ids = torch.cat((ids, new), 1)
        step, state = model.step(new, state)
        assert state.fixed is not None
        if turn % 6 == 5 or turn < 3 or 18 < turn < 24:
            close(step.logits, plain(model, ids, seen, each)[:, -1])
        rows = torch.randint(0, each, (2, each), generator=generator)
        rows = (rows + torch.tensor([[0], [each]])).flatten()
        state, ids = model.reorder(state, rows), ids[rows]
    left = torch.tensor([3, 4, 5])
    state, ids = model.keep(state, left), ids[left]
    seen = {name: value[1:] for name, value in seen.items()}
    for turn in range(4):
        new = drawn(3, 1, seed=300 + turn)
        ids = torch.cat((ids, new), 1)
        step, state = model.step(new, state)
        close(step.logits, plain(model, ids, seen, each)[:, -1])
    if recorded:
        shapes = len(state.prepared.fixed)
        assert 2 <= shapes <= 4
        assert stand.warmed == shapes  # the first step of every shape runs as it is
        assert shapes - 1 <= stand.captures <= shapes
        assert stand.replays == 40 - shapes


@pytest.mark.parametrize("mixing", [True, False])
@SERVED
@torch.no_grad()
def test_padded_prompts(made: Any, row: Row, cross: bool, mixing: bool) -> None:
    """Prompts padded at the left, two rows a source; rows of one source that do not mix leave one by one."""
    model = stepped(made, row, cross)
    if model.static_step_refusal:
        pytest.skip(model.static_step_refusal)
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    prompt = drawn(2, 4)
    state, seen = started(model, cross, 2, mask)
    state = planned(model, state, Stand())
    _, state = model.step(prompt, state)
    state = model.spread(state, 2, mixing=mixing)
    ids, mask = prompt.repeat_interleave(2, 0), mask.repeat_interleave(2, 0)
    kept = torch.arange(4)
    for turn in range(7):
        new = drawn(len(kept), 1, seed=turn)
        ids, mask = torch.cat((ids, new), 1), torch.cat((mask, torch.ones_like(new)), 1)
        step, state = model.step(new, state)
        expected = [
            plain(model, ids[at : at + 1], {n: v[r // 2 : r // 2 + 1] for n, v in seen.items()}, 1, mask[at : at + 1])
            for at, r in enumerate(kept.tolist())
        ]
        close(step.logits, torch.cat(expected)[:, -1])
        if turn == 3 and not mixing:
            rows = torch.tensor([0, 1, 3])
            state, ids, mask, kept = model.keep(state, rows), ids[rows], mask[rows], kept[rows]
        elif turn == 3:
            rows = torch.tensor([1, 1, 2, 3])
            state, ids, mask = model.reorder(state, rows), ids[rows], mask[rows]


def test_buckets() -> None:
    assert [bucket(n) for n in (1, 64, 65, 96, 97, 128, 129, 193, 300)] == [64, 64, 96, 96, 128, 128, 192, 256, 384]


PAIR = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
PAIR |= {"vocab_size": 90, "max_position_embeddings": 200, "initializer_range": 0.4}


@pytest.fixture(scope="module")
def pair() -> Any:
    torch.manual_seed(0)
    half = seqgraft.BertConfig(**PAIR)
    config = seqgraft.EncoderDecoderConfig(
        encoder=half, decoder=half, decoder_start_token_id=1, pad_token_id=0, eos_token_id=2
    )
    return seqgraft.EncoderDecoderModel(config).eval()


SOURCE = torch.tensor([[5, 6, 7, 8, 9], [11, 12, 13, 0, 0], [21, 22, 0, 0, 0], [0, 0, 0, 0, 0]])
SETTINGS = [
    {"num_beams": 1},
    {"num_beams": 4},
    {"num_beams": 4, "num_return_sequences": 2, "return_dict_in_generate": True, "output_scores": True},
    {"do_sample": True, "num_return_sequences": 3},
    {"do_sample": True, "num_beams": 3},
    {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.3},
    {"guidance_scale": 1.5},
    {"penalty_alpha": 0.5, "top_k": 3},
    {"prompt_lookup_num_tokens": 3},
]


def generated(model: Any, **settings: Any) -> Tensor:
    torch.manual_seed(3)
    found = model.generate(SOURCE, attention_mask=(SOURCE != 0).long(), max_new_tokens=50, **settings)
    return getattr(found, "sequences", found)


@pytest.fixture
def stand(pair: Any, monkeypatch: pytest.MonkeyPatch) -> Stand:
    """What records the steps of all generations, from now on."""
    prepare(pair.decoder).fixed.clear()
    one = Stand()
    monkeypatch.setattr(graphs, "recorder", lambda device: one)
    return one


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: "-".join(settings))
def test_generate(pair: Any, settings: dict[str, Any], stand: Stand) -> None:
    """The same tokens with every search, some rows ending early; twice, in the same buffers."""
    ordinary = generated(pair, **settings)
    assert torch.equal(generated(pair, cache_implementation="static", **settings), ordinary)
    first, recorded = stand.replays, stand.captures
    if "penalty_alpha" in settings or "prompt_lookup_num_tokens" in settings:
        assert stand.warmed == 0  # looks at states, or takes several tokens a step
        return
    assert first > 20
    assert recorded > 0
    assert torch.equal(generated(pair, cache_implementation="static", **settings), ordinary)
    assert stand.captures <= stand.warmed  # all that was recorded serves again
    assert stand.replays - first >= first + recorded
    both = stand.replays
    assert torch.equal(generated(pair, cache_implementation="static", disable_compile=True, **settings), ordinary)
    assert torch.equal(generated(pair, cache_implementation="dynamic", **settings), ordinary)
    assert stand.replays == both


def test_new_weights_are_recorded_anew(pair: Any, stand: Stand) -> None:
    model = copy.deepcopy(pair)
    before = generated(model, cache_implementation="static")
    held = stand.captures
    with torch.no_grad():
        model.decoder.layers[0].feed_forward.up.weight.mul_(-1.0)
        model.decoder.layers[1].self_attention_norm.weight.add_(0.5)
    after = generated(model, cache_implementation="static")
    assert stand.captures == 2 * held > 0
    assert not torch.equal(before, after)
    assert torch.equal(after, generated(model))


def test_a_watched_decoder_is_called(pair: Any) -> None:
    seen: list[int] = []
    handle = pair.decoder.layers[0].register_forward_hook(lambda *_: seen.append(1))
    generated(pair, cache_implementation="static")
    handle.remove()
    assert len(seen) > 20


def test_two_generations_at_once(pair: Any) -> None:
    """Each has buffers of its own; those of one that is over serve the next."""
    with torch.no_grad():
        states = [pair.decoder.start(Memory(torch.randn(1, 5, 32))) for _ in range(2)]
        results = []
        for plan in (None, Plan(20)):
            if plan is not None:
                states = [pair.decoder.start(state.memory) for state in states]
            states = [pair.decoder.planned(state, plan) for state in states]
            logits = []
            for turn in range(5):
                for place, state in enumerate(states):
                    step, states[place] = pair.decoder.step(drawn(1, 1, seed=10 * turn + place), state)
                    logits.append(step.logits)
            results.append(torch.stack(logits))
    close(results[1], results[0])
    buffers = {id(state.fixed) for state in states}
    assert len(buffers) == 2
    del states, state
    with torch.no_grad():
        state = pair.decoder.planned(pair.decoder.start(Memory(torch.randn(1, 5, 32))), Plan(20))
        for turn in range(2):
            _, state = pair.decoder.step(drawn(1, 1, seed=turn), state)
    assert id(state.fixed) in buffers


REFUSED = {
    "its streams look ahead": {"prophetnet", "prophetnet-smoothed", "prophetnet-three"},
    "its scores depend on distances and contents together": {"xlnet", "xlnet-uni", "xlnet-clamped"},
    "its experts are chosen token by token": {"mixtral", "mixtral-windowed", "gpt_oss"},
    "its rotation depends on the length of the text": {"phi3-longrope", "qwen3-dynamic"},
}


def test_what_has_no_such_step(made: Any) -> None:
    found: dict[str, set[str]] = {}
    for param in STEPPED:
        row, cross = param.values
        if not cross and (why := stepped(made, row, False).static_step_refusal):
            found.setdefault(why, set()).add(row.name)
    assert found == REFUSED


@pytest.mark.long
@pytest.mark.skipif(shutil.which("c++") is None and shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("beams", [1, 3])
def test_compiled(pair: Any, beams: int) -> None:
    """The whole step without a break, by the reference's settings."""
    config = transformers.generation.CompileConfig(fullgraph=True)
    compiled = generated(pair, compile_config=config, num_beams=beams)
    assert torch.equal(compiled, generated(pair, num_beams=beams))
    fixed = prepare(pair.decoder).fixed[-1]
    assert fixed.is_compiled
