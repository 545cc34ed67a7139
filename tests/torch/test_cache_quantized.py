"""Whole numbers with a scale: how far off they may be, and every operation against the plain cache."""

from typing import Any

import pytest
import torch
from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.generation import QuantizedCacheConfig
from seqgraft.torch.cache import LayerCache
from seqgraft.torch.cache_quantized import Buffer, Codes, QuantizedCache, QuantizedLayerCache

WIDTH, GROUPS = 8, 2


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Of very different size from slot to slot, and far from 0 in some channels, as keys are."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator) * torch.randn((*shape[:-1], 1), generator=generator).exp()
    x[..., 1] += 5.0
    return x.to(dtype)


def half_a_step(x: Tensor, bits: int, together: int) -> Tensor:
    """What may be lost of each number of x [..., width], computed in float64."""
    parts = x.double().unflatten(-1, (-1, together))
    step = (parts.amax(-1, keepdim=True) - parts.amin(-1, keepdim=True)) / (2**bits - 1)
    return (step / 2).expand_as(parts).flatten(-2)


def layer(bits: int = 8, residual: int = 3, together: int = 4, buffer: Buffer | None = None) -> QuantizedLayerCache:
    how = QuantizedCacheConfig(nbits=bits, residual_length=residual, q_group_size=together)
    return QuantizedLayerCache(how, buffer or Buffer())


@pytest.mark.parametrize("together", [2, 4, 64])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_at_most_half_a_step_is_lost(dtype: torch.dtype, bits: int, together: int) -> None:
    x = numbers(2, 3, GROUPS, 21, WIDTH, dtype=dtype)
    codes, out = Codes(bits, together), torch.full_like(x, torch.nan)
    for piece in x.split((1, 16, 4), 3):
        codes.add(piece)
    codes.read(out)
    lost = (out.double() - x.double()).abs()
    bound = half_a_step(x, bits, min(together, WIDTH))
    rounding = torch.finfo(dtype).eps * 1.01 * x.double().abs().amax(-1, keepdim=True)  # of the numbers' own dtype
    assert bool((lost <= bound + rounding).all())
    if together == 64:
        assert float((lost / bound).amax()) > 0.9  # else a finer step is possible
    extremes = x.unflatten(-1, (-1, min(together, WIDTH))).amin(-1)
    assert torch.equal(out.unflatten(-1, (-1, min(together, WIDTH))).amin(-1), extremes)


def test_what_is_read_is_rounded_to_itself() -> None:
    x = numbers(2, 1, 1, 300, WIDTH, seed=4)
    once, twice = torch.empty_like(x), torch.empty_like(x)
    for out, of in ((once, x), (twice, once)):
        codes = Codes(4, 4)
        codes.add(of)
        codes.read(out)
    torch.testing.assert_close(twice, once, rtol=0, atol=2e-6 * float(x.abs().max()))


def test_numbers_that_are_all_alike() -> None:
    x = torch.full((2, 1, 1, 3, WIDTH), -2.5)
    codes, out = Codes(8, 64), torch.empty_like(x)
    codes.add(x)
    codes.read(out)
    assert torch.equal(out, x)


def near(ours: Tensor, exact: Tensor, bits: int, together: int) -> None:
    assert ours.shape == exact.shape
    bound = half_a_step(exact, bits, together) * (1 + 1e-3) + 1e-5
    assert bool(((ours.double() - exact.double()).abs() <= bound).all())


@pytest.mark.parametrize("residual", [0, 1, 3, 11])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("seed", range(12))
def test_every_operation_does_what_the_plain_cache_does(seed: int, bits: int, residual: int) -> None:
    """Random sequences of all of them; what is held stays within half a step, and new tokens are read as they are."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    buffer = Buffer()
    ours, plain, other = layer(bits, residual, 4, buffer), LayerCache(), layer(bits, residual, 4, buffer)
    sources, each = draw(1, 4), 1
    assert ours.key is None
    assert ours.value is None
    for turn in range(40):
        does = ("append", "put", "put", "put", "select", "slots", "cut", "share")[draw(0, 8) if turn else 0]
        if does in ("append", "put"):
            rows, new = sources * each, draw(1, 9) if does == "append" else 1
            new = 1 if each > 1 else new
            both = numbers(2, rows, GROUPS, new, WIDTH, seed=1000 * seed + turn)
            if does == "put":
                both = both[:, :, :, 0].transpose(0, 1)
                found, exact = ours.put(both), plain.put(both)
            else:
                found, exact = ours.append(*both), plain.append(*both)
            for one, theirs in zip(found, exact, strict=True):
                near(one, theirs, bits, 4)
                assert torch.equal(one[:, :, -new * each :], theirs[:, :, -new * each :])
            other.append(*numbers(2, 3, GROUPS, 30, WIDTH, seed=turn))  # reads into the same buffer
        elif does == "select":
            rows = torch.randint(0, sources, (draw(1, 4),), generator=generator)
            ours.select(rows)
            plain.select(rows)
            sources = len(rows)
        elif does == "slots":
            count = draw(1, plain.length + 1)
            slots = torch.stack([torch.randperm(plain.length, generator=generator)[:count] for _ in range(sources)])
            slots = slots.sort(1).values if draw(0, 2) else slots
            ours.keep_slots(slots)
            plain.keep_slots(slots)
        elif does == "cut":
            length = draw(1, plain.length + 1)
            ours.cut(length)
            plain.cut(length)
        else:
            each = draw(1, 4)
        assert ours.length == plain.length
        for one, theirs in ((ours.key, plain.key), (ours.value, plain.value)):
            assert one is not None
            assert theirs is not None
            near(one, theirs, bits, 4)


@pytest.mark.parametrize("each", [1, 3])
def test_the_newest_stay_as_they_are(each: int) -> None:
    """At least `residual_length` tokens of a row, and at most a quarter more."""
    ours, plain = layer(residual=8), LayerCache()
    first = numbers(2, 2, GROUPS, 30, WIDTH)
    ours.append(*first)
    plain.append(*first)
    fewest, most = 100, 0
    for turn in range(20):
        both = numbers(2 * each, 2, GROUPS, WIDTH, seed=turn)
        ours.put(both)
        plain.put(both)
        assert ours.key is not None
        assert plain.key is not None
        same = (ours.key == plain.key).all(-1).all(1).all(0)  # [slots]
        run = int(same.flip(0).to(torch.int64).cumprod(0).sum())
        if turn >= 9:  # a slot of the prompt is a token of every row
            fewest, most = min(fewest, run), max(most, run)
    assert 8 * each <= fewest < most < 10 * each


def test_short_pasts_are_the_plain_cache() -> None:
    ours, plain = layer(residual=64), LayerCache()
    for turn in range(40):
        both = numbers(2, 2, GROUPS, WIDTH, seed=turn)
        for one, theirs in zip(ours.put(both), plain.put(both), strict=True):
            assert torch.equal(one, theirs)


def test_what_is_shown_is_in_room_of_its_own() -> None:
    """Layers share the buffer that they read into, and nothing else."""
    cache = QuantizedCache(2, QuantizedCacheConfig(residual_length=2, q_group_size=4))
    given = [numbers(2, 1, GROUPS, 9, WIDTH, seed=seed) for seed in range(4)]
    for index in range(2):
        cache.layers[index].append(*given[index])
        cache.remember(index, (given[2 + index][0], given[2 + index][1]))
    shown = list(cache)
    read = [cache.layers[index].append(*given[index][:, :, :, :1]) for index in range(2)]
    assert read[0][0].data_ptr() == read[1][0].data_ptr()
    first, second = cache.remembered(0), cache.remembered(1)
    assert first is not None
    assert second is not None
    assert first[0].data_ptr() == second[0].data_ptr()
    for index in range(2):
        for which in range(4):
            exact = given[index][which] if which < 2 else given[2 + index][which - 2]
            tensor = shown[index][which]
            assert tensor is not None
            near(tensor, exact, 8, 4)
    assert [kept is not None for kept in cache.cross_attention_cache] == [True, True]


def test_sources_leave_the_encoders_side_too() -> None:
    cache = QuantizedCache(1, QuantizedCacheConfig(q_group_size=4))
    own, memory = numbers(2, 3, GROUPS, 4, WIDTH), numbers(2, 3, GROUPS, 6, WIDTH, seed=1)
    cache.layers[0].append(*own)
    cache.remember(0, (memory[0], memory[1]))
    cache.keep(torch.tensor([2, 0]), torch.tensor([2, 0]))
    kept = cache.remembered(0)
    assert kept is not None
    near(kept[1], memory[1][[2, 0]], 8, 4)
    assert cache.layers[0].value is not None
    assert torch.equal(cache.layers[0].value, own[1][[2, 0]])


@pytest.mark.parametrize(
    ("fields", "width", "said"),
    [
        (
            {"q_group_size": 3},
            8,
            r"`q_group_size` of `cache_config` must divide .* \(8\), but is 3",
        ),
        ({"nbits": 4}, 5, r"`nbits` of `cache_config` must be 8 for heads of an odd width \(5\), but is 4"),
    ],
)
def test_widths_are_refused_at_the_first_token(fields: dict[str, Any], width: int, said: str) -> None:
    cache = QuantizedCache(1, QuantizedCacheConfig(**fields))
    with pytest.raises(GenerationError, match=said):
        cache.layers[0].put(numbers(1, 2, GROUPS, width))
    with pytest.raises(GenerationError, match=said):
        cache.remember(0, (numbers(1, GROUPS, 3, width), numbers(1, GROUPS, 3, width)))


def test_no_gradients_go_through() -> None:
    with pytest.raises(ValueError, match=r"under torch.no_grad\(\)"):
        layer().append(*numbers(2, 1, GROUPS, 1, WIDTH).requires_grad_().unbind(0))
