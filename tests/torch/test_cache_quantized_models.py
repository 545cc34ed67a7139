"""Decoding over a quantized cache: every family, every search, bf16, whole-number weights, and what is saved."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.generation import GenerationConfig, QuantizedCacheConfig
from seqgraft.torch.cache_quantized import QuantizedCache
from seqgraft.torch.decoding import DecodingState
from seqgraft.torch.halves import CausalModel
from seqgraft.torch.record import Memory

from ..families.rows import Row
from ..generation.test_speculation_models import gpt2, noisy, pair, sources, spread
from .test_decoding import STEPPED, drawn, plain
from .test_family_mathematics import memory, stepped

LOSSLESS = {"q_group_size": 1, "residual_length": 2}
"""A number by itself is its own zero: then all the ways of the cache are taken, and nothing is rounded."""
Started = tuple[DecodingState, dict[str, Tensor]]


def started(model: Any, cross: bool, count: int, how: QuantizedCacheConfig) -> Started:
    """A state before the prompt, and what a plain pass needs to see the same memory."""
    if not cross:
        return model.start(Memory(), quantized=how), {}
    states = memory()["encoder_hidden_states"][:1].repeat(count, 1, 1) + torch.arange(count)[:, None, None] * 0.1
    return model.start(Memory(states), quantized=how), {"encoder_hidden_states": states}


ROUNDED = [
    pytest.param(*one.values, fields, bound, id=f"{one.id}-{name}")
    for one in STEPPED
    for name, fields, bound in (
        ("lossless", LOSSLESS, 2e-5),
        ("8", {"nbits": 8, "residual_length": 2}, 0.03),
        ("4", {"nbits": 4, "residual_length": 2}, 0.5),
    )
    if name != "4" or one.values[0].name in ("bert", "bart", "mixtral")
]


@pytest.mark.parametrize(("row", "cross", "fields", "bound"), ROUNDED)
@torch.no_grad()
def test_beams_of_every_family(made: Any, row: Row, cross: bool, fields: dict[str, Any], bound: float) -> None:
    """Rows that change places and leave, over many more tokens than stay as they are, against plain passes in float.

    Logits by their largest. Of all families at most 0.012 and 0.22 were measured with 8 and 4 bits.
    """
    model = stepped(made, row, cross)
    prompt, each = drawn(2, 6), 2
    state, seen = started(model, cross, 2, QuantizedCacheConfig(**fields))
    _, state = model.step(prompt, state)
    state = model.spread(state, each)
    ids, worst = prompt.repeat_interleave(each, 0), 0.0
    for turn in range(9):
        new = drawn(len(ids), 1, seed=100 + turn)
        ids = torch.cat((ids, new), 1)
        step, state = model.step(new, state)
        if turn % 3 == 1:
            exact = plain(model, ids, seen, each)[:, -1]
            worst = max(worst, float((step.logits - exact).abs().max() / exact.abs().max()))
        rows = torch.tensor([[0, 0, 2, 3], [1, 0, 3, 2]][turn % 2])[: len(ids)]
        rows = rows % len(ids) if len(ids) == each else rows
        state, ids = model.reorder(state, rows), ids[rows]
        if turn == 5:
            left = torch.tensor([2, 3])
            state, ids = model.keep(state, left), ids[left]
            seen = {name: value[1:] for name, value in seen.items()}
    assert worst < bound
    assert worst > 1e-6 or fields is LOSSLESS  # else nothing was rounded


@pytest.mark.parametrize(("row", "cross"), [one for one in STEPPED if one.values[0].name in ("bert", "t5", "llama")])
@torch.no_grad()
def test_rows_take_back_tokens_of_their_own(made: Any, row: Row, cross: bool) -> None:
    """Drafts of four tokens, of which each row keeps another number: slots go, and the others move together."""
    model = stepped(made, row, cross)
    state, seen = started(model, cross, 3, QuantizedCacheConfig(**LOSSLESS))
    prompt = drawn(3, 2)
    _, state = model.step(prompt, state)
    texts = [list(one) for one in prompt.tolist()]
    generator = torch.Generator().manual_seed(2)
    for turn in range(18):
        new = drawn(3, 4, seed=turn)
        logits, state = model.score(new, state)
        counts = torch.randint(1, 5, (3,), generator=generator)
        for at, (text, more) in enumerate(zip(texts, new.tolist(), strict=True)):
            text += more
            own = {name: value[at : at + 1] for name, value in seen.items()}
            exact = plain(model, torch.tensor([text]), own)[0, -4:]
            assert float((logits[at] - exact).abs().max() / exact.abs().max()) < 2e-5
            del text[len(text) - int(counts[at]) :]
        state = model.forget(state, counts)
    assert state.cache.layers[0].length < 2 + 4 * 18  # else nothing moved


SEARCHES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beams": {"num_beams": 3, "num_return_sequences": 2},
    "beams-watched": {"num_beams": 3, "output_attentions": True, "return_dict_in_generate": True},
    "groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
    "constrained": {"num_beams": 3, "force_words_ids": [[9]]},
    "sampled": {"do_sample": True, "num_return_sequences": 2},
    "beam-sample": {"do_sample": True, "num_beams": 3},
    "contrastive": {"penalty_alpha": 0.4, "top_k": 4},
    "contrastive-low": {"penalty_alpha": 0.4, "top_k": 4, "low_memory": True},
    "lookup": {"prompt_lookup_num_tokens": 4},
    "assisted": {"num_assistant_tokens": 4, "assistant_confidence_threshold": 0},
    "guided": {"guidance_scale": 1.5},
}


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("name", ["bert-llama", "t5", "prophetnet"])
def test_every_search_goes_its_way(name: str, search: str) -> None:
    """Where nothing is rounded, the tokens are those of the plain cache; attentions and scores too."""
    model, more = pair(name), dict(SEARCHES[search])
    if search == "assisted":
        more["assistant_model"] = noisy(model, 0.1)
    found = []
    for kept in ({}, {"cache_implementation": "quantized", "cache_config": LOSSLESS}):
        torch.manual_seed(0)
        found.append(model.generate(**sources(), max_new_tokens=22, min_new_tokens=18, **kept, **more))
    theirs, ours = (one if isinstance(one, Tensor) else one.sequences for one in found)
    assert torch.equal(theirs, ours)
    if search == "beams-watched":
        for their_step, our_step in zip(found[0].cross_attentions, found[1].cross_attentions, strict=True):
            for one, other in zip(their_step, our_step, strict=True):
                torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["bert-bert", "bert-gpt2", "bert-llama", "bart", "t5", "prophetnet"])
def test_tokens_in_8_bits_where_margins_allow(name: str) -> None:
    """Rows in which the best token is always ahead by more than rounding moves scores."""
    compared = 0
    for seed in range(4):
        model, given = pair(name, seed), sources(seed=seed)
        how = {"max_new_tokens": 10, "min_new_tokens": 10, "return_dict_in_generate": True, "output_scores": True}
        exact = model.generate(**given, **how)
        low = model.generate(**given, **how, cache_implementation="quantized", cache_config={"residual_length": 0})
        assert isinstance(low.past_key_values, QuantizedCache)
        scores = torch.stack(exact.scores, 1)
        best = scores.topk(2).values
        clear = ((best[..., 0] - best[..., 1]) / best.abs().amax()).amin(1) > 0.02
        assert torch.equal(low.sequences[clear], exact.sequences[clear])
        compared += int(clear.sum())
    assert compared >= 4


def test_both_branches_of_guidance(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    whole = QuantizedCache.__init__

    def counted(cache: QuantizedCache, layers: int, config: QuantizedCacheConfig | None = None) -> None:
        made.append(layers)
        whole(cache, layers, config)

    monkeypatch.setattr(QuantizedCache, "__init__", counted)
    pair("bart").generate(**sources(), max_new_tokens=3, guidance_scale=1.5, cache_implementation="quantized")
    assert made == [2, 2]


def test_a_decoder_alone() -> None:
    model = spread(CausalModel(gpt2()), 3)
    ids = drawn(2, 5) % 30
    how = {"max_new_tokens": 20, "num_beams": 2, "eos_token_id": None, "pad_token_id": 0}
    kept = {"cache_implementation": "quantized", "cache_config": LOSSLESS}
    assert torch.equal(model.generate(ids, **how), model.generate(ids, **how, **kept))


@pytest.mark.parametrize("kind", ["bfloat16", "int8"])
def test_other_numbers(kind: str) -> None:
    """Models in bf16 and with weights in whole numbers, where a group is a number: the tokens of their plain cache."""
    model = pair("bert-bert")
    model = model.to(torch.bfloat16) if kind == "bfloat16" else model.quantize("int8")
    for more in ({}, {"num_beams": 3}, {"prompt_lookup_num_tokens": 3}):
        how = {"max_new_tokens": 16, "min_new_tokens": 16, **more}
        exact = model.generate(**sources(), **how)
        kept = model.generate(**sources(), **how, cache_implementation="quantized", cache_config=LOSSLESS)
        assert torch.equal(exact, kept)
    low = model.generate(
        **sources(),
        max_new_tokens=9,
        return_dict_in_generate=True,
        cache_implementation="quantized",
        cache_config={"residual_length": 1},
    )
    key, _, memory_key, _ = low.past_key_values[1]
    assert key is not None
    assert memory_key is not None
    assert key.dtype == memory_key.dtype == (torch.bfloat16 if kind == "bfloat16" else torch.float32)


def held(value: Any, seen: set[int]) -> Iterator[Tensor]:
    """Every tensor that can be reached from an object of ours."""
    if isinstance(value, Tensor):
        yield value
    elif id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, (list, tuple)):
        for one in value:
            yield from held(one, seen)
    elif type(value).__module__.startswith("seqgraft.torch.cache"):
        slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
        for name in {*slots, *getattr(value, "__dict__", {})}:
            yield from held(getattr(value, name), seen)


def bytes_of(cache: Any) -> int:
    """Of the storages, each once."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held(cache, set())}
    return sum(storages.values())


@pytest.mark.parametrize("bits", [8, 4])
@torch.no_grad()
def test_memory_is_saved(bits: int) -> None:
    """Twelve layers, heads of 64: (64 + 8) or (32 + 8) bytes of 256, and the buffers as large as one layer."""
    config = gpt2(n_embd=128, n_head=2, n_layer=12, n_positions=512, add_cross_attention=True)
    model = CausalModel(config).eval()
    sizes = []
    for how in (None, QuantizedCacheConfig(nbits=bits, residual_length=8)):
        state = model.start(Memory(torch.randn(4, 200, 128)), quantized=how)
        _, state = model.step(drawn(4, 100) % 30, state)
        for turn in range(40):
            _, state = model.step(drawn(4, 1, seed=turn) % 30, state)
        sizes.append(bytes_of(state.cache))
    assert sizes[0] >= 12 * 2 * 4 * 2 * 64 * (200 + 140) * 4
    assert sizes[1] / sizes[0] < (8 * bits + 8) / 256 + 1 / 12 + 0.015


@torch.no_grad()
def test_the_encoders_side_can_stay_as_it_is() -> None:
    model, given = pair("bart"), sources()
    low, exact = (
        model.generate(
            **given,
            max_new_tokens=4,
            return_dict_in_generate=True,
            cache_implementation="quantized",
            cache_config={"cross_attention": wanted},
        ).past_key_values
        for wanted in (True, False)
    )
    plain_cache = model.generate(**given, max_new_tokens=4, return_dict_in_generate=True).past_key_values
    for layer in range(len(plain_cache)):
        assert torch.equal(exact[layer][2], plain_cache[layer][2])
        assert not torch.equal(low[layer][2], plain_cache[layer][2])
        torch.testing.assert_close(low[layer][2], plain_cache[layer][2], rtol=0.05, atol=0.05)


def test_settings_of_a_model_and_of_a_file(tmp_path: Any) -> None:
    """As a field of the model's own configuration, written and read; the reference reads the file too."""
    model, given = pair("bart"), sources()
    how = GenerationConfig(cache_implementation="quantized", cache_config=QuantizedCacheConfig(residual_length=2))
    how.save_pretrained(tmp_path)
    again = GenerationConfig.from_pretrained(tmp_path)
    assert again.cache_config == QuantizedCacheConfig(residual_length=2).to_dict()
    model.generation_config = again.over(copy.deepcopy(model.generation_config))
    found = model.generate(**given, max_new_tokens=3, return_dict_in_generate=True)
    assert isinstance(found.past_key_values, QuantizedCache)
    assert found.past_key_values.config == QuantizedCacheConfig(residual_length=2)
    plain_one = model.generate(
        **given, max_new_tokens=3, return_dict_in_generate=True, cache_implementation="dynamic", cache_config=None
    )
    assert not isinstance(plain_one.past_key_values, QuantizedCache)


def test_widths_that_groups_do_not_divide() -> None:
    with pytest.raises(GenerationError, match=r"`q_group_size` of `cache_config` must divide .* \(8\), but is 5"):
        pair("bart").generate(
            **sources(), max_new_tokens=3, cache_implementation="quantized", cache_config={"q_group_size": 5}
        )
