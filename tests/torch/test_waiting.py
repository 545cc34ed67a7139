"""How often a search waits for the device: at most once a step, counted as if nothing were free to look at."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import seqgraft
from seqgraft.torch import masks, search, search_beams, search_rows
from seqgraft.torch.decoding import CausalDecoding
from seqgraft.torch.graphs import Plan
from seqgraft.torch.record import Memory

from ..families.rows import VOCABULARY, Row
from .test_decoding import STEPPED
from .test_family_mathematics import stepped

COPIES = {"tolist", "cpu", "numpy"}
"""Methods that bring numbers to the host and that no dispatch shows on a CPU."""
WAITING = {
    "_local_scalar_dense",
    "item",
    "is_nonzero",
    "argwhere",
    "nonzero",
    "masked_select",
    "equal",
    "multinomial",
    "unique_dim",
    "_unique2",
}
"""Operations whose result, or its shape, the host must know at once."""


class Copies(TorchFunctionMode):
    def __init__(self, seen: Counter[str]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in COPIES:
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))


class Waits(TorchDispatchMode):
    def __init__(self, seen: Counter[str]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        chosen = name in ("index", "index_put", "index_put_", "_index_put_impl_") and any(
            index is not None and index.dtype is torch.bool for index in args[1]
        )
        if name in WAITING or chosen or (name == "repeat_interleave" and "Tensor" in func._overloadname):
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[Counter[str]]:
    """What was waited for before each step of the decoder, the first entry before the prompt's."""
    seen: Counter[str] = Counter()
    each: list[Counter[str]] = []
    step, best = CausalDecoding.step, CausalDecoding.best

    def counted(own: Any, self: CausalDecoding, *arguments: Any) -> Any:
        each.append(Counter(seen))
        seen.clear()
        with pytest.MonkeyPatch.context() as inside:  # one of them may call the other
            inside.setattr(CausalDecoding, "step", step)
            return own(self, *arguments)

    monkeypatch.setattr(CausalDecoding, "step", lambda self, *arguments: counted(step, self, *arguments))
    monkeypatch.setattr(CausalDecoding, "best", lambda self, *arguments: counted(best, self, *arguments))
    for module in (masks, search, search_beams, search_rows):
        monkeypatch.setattr(module, "looking_is_free", lambda x: False)
    with Copies(seen), Waits(seen):
        yield each


PROCESSED = {"no_repeat_ngram_size": 3, "repetition_penalty": 1.2, "encoder_no_repeat_ngram_size": 4}
PROCESSED |= {"bad_words_ids": [[7], [8, 9]], "min_new_tokens": 5, "exponential_decay_length_penalty": (20, 1.01)}
PROCESSED |= {"suppress_tokens": [11], "remove_invalid_values": True, "forced_eos_token_id": 2}
WARPED = {"do_sample": True, "top_k": 30, "top_p": 0.9, "min_p": 0.01, "typical_p": 0.9, "eta_cutoff": 0.001}
WARPED |= {"epsilon_cutoff": 0.001, "temperature": 0.8, "top_h": 0.9}


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"num_beams": 4}, WARPED, {**WARPED, "num_beams": 3}, PROCESSED, {**PROCESSED, "num_beams": 4}],
    ids=["greedy", "beams", "sampled", "sampled beams", "processed", "processed beams"],
)
def test_one_wait_a_step(waits: list[Counter[str]], settings: dict[str, Any], cache: str) -> None:
    torch.manual_seed(0)
    half = seqgraft.BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, vocab_size=90
    )
    config = seqgraft.EncoderDecoderConfig(
        encoder=half, decoder=half, decoder_start_token_id=1, pad_token_id=0, eos_token_id=2
    )
    model = seqgraft.EncoderDecoderModel(config).eval()
    source = torch.randint(3, 90, (3, 7))
    source[1, 5:] = 0
    model.generate(source, max_new_tokens=40, cache_implementation=cache, **settings)
    steps = waits[2:]  # before the second step, the prompt is behind
    assert len(steps) > 20
    over = [step for step in steps if step.total() > 1]
    rare = 2 if settings.get("num_beams") else 1  # rows leave, or slots that nobody sees are given back
    assert len(over) <= rare, over
    assert sum(step.total() for step in steps) >= len(steps) / 2  # the counting itself works


def test_a_text_whose_rotation_depends_on_its_length(waits: list[Counter[str]]) -> None:
    config = seqgraft.LlamaConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=40,
        max_position_embeddings=32,
        rope_scaling={"rope_type": "dynamic", "factor": 2.0},
        pad_token_id=0,
        eos_token_id=None,
    )
    model = seqgraft.LlamaForCausalLM(config).eval() if hasattr(seqgraft, "LlamaForCausalLM") else None
    if model is None:
        model = seqgraft.AutoModelForCausalLM.from_config(config).eval()
    model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=40)
    assert max(step.total() for step in waits[2:]) == 0


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(("row", "cross"), STEPPED)
@torch.no_grad()
def test_steps_need_nothing_of_the_host(made: Any, row: Row, cross: bool, fixed: bool) -> None:
    """On a device that has no numbers: nothing is asked of it, and no tensor of another device is mixed in."""
    model = stepped(made, row, cross).to("meta")
    if fixed and model.static_step_refusal:
        pytest.skip(model.static_step_refusal)
    if model.static_step_refusal == "its experts are chosen token by token":
        pytest.skip("the host chooses its experts")
    state = model.start(Memory(torch.zeros(2, 5, 32, device="meta")) if cross else Memory())
    state = model.planned(state, Plan(20) if fixed else None)
    _, state = model.step(torch.zeros(2, 3, dtype=torch.int64, device="meta"), state)
    state = model.spread(state, 3)
    for _ in range(2):
        step, state = model.step(torch.zeros(6, 1, dtype=torch.int64, device="meta"), state)
        state = model.reorder(state, torch.zeros(6, dtype=torch.int64, device="meta"))
    assert step.logits.shape == (6, VOCABULARY)
    assert step.logits.device.type == "meta"
    assert (state.fixed is not None) == fixed
