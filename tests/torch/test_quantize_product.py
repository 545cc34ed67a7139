"""Products with 8-bit weights: against torch's own rounding, the theory's bounds, and machines that overflow."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seqgraft.errors import ConfigurationError
from seqgraft.torch import product_int8
from seqgraft.torch.product import preparable, prepared
from seqgraft.torch.quantized import QuantizedEmbedding, QuantizedLinear, quantised, stacked

INTEGER = ("fbgemm", "int_mm")


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    """kernel's name -> products are computed by it."""

    def choose(name: str) -> None:
        monkeypatch.setenv(product_int8.SETTING, name)
        product_int8.kernel.cache_clear()

    yield choose
    monkeypatch.undo()
    product_int8.kernel.cache_clear()


def weight(rows: int = 40, columns: int = 56) -> Tensor:
    """Rows of very different sizes, one of them zero."""
    made = torch.randn(rows, columns) * torch.logspace(-3, 2, rows)[:, None]
    made[3] = 0
    return made


@pytest.mark.filterwarnings("ignore:torch.quantize")
def test_int8_weights_are_what_torch_rounds_them_to() -> None:
    given = weight()
    small, scales = quantised(given, torch.int8)
    theirs = torch.quantize_per_channel(given, scales.double(), torch.zeros(40, dtype=torch.long), 0, torch.qint8)
    assert torch.equal(small, theirs.int_repr())
    apart = (small * scales[:, None] - given).abs()
    assert bool((apart <= scales[:, None] * 0.5001).all())
    assert torch.allclose(scales[4:], given[4:].abs().amax(-1) / 127)
    assert int(small[4:].abs().amax(-1).min()) == 127
    assert not small[3].any()


def test_fp8_weights_are_half_a_step_away() -> None:
    """E4M3 has 3 bits of mantissa, so steps of 1/8 of the power of 2 below; its smallest step is 2**-9."""
    given = weight()
    small, scales = quantised(given, torch.float8_e4m3fn)
    units = given / scales[:, None]
    step = torch.exp2(torch.floor(torch.log2(units.abs().clamp(min=2**-6))) - 3)
    assert bool(((small.float() - units).abs() <= step * 0.5001).all())
    assert float(small.float().abs().max()) == 448


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(value: float) -> None:
    given = weight()
    given[5, 5] = value
    with pytest.raises(ConfigurationError, match="finite numbers"):
        quantised(given, torch.int8)


@pytest.mark.parametrize("rows", [(1,), (3,), (2, 5), (300,), (0,)], ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "plain"])
@pytest.mark.parametrize("largest", [255, 127])
@pytest.mark.parametrize("name", INTEGER)
def test_products_stay_within_half_a_step_of_the_input(
    name: str, largest: int, bias: bool, rows: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every input is at most half a step off, so an output at most half a step times its weights' sum."""
    monkeypatch.setattr(product_int8, "kernel", lambda: (name, largest))
    linear = nn.Linear(56, 40, bias)
    linear.weight.data = weight()
    small = QuantizedLinear.of(linear)
    x = torch.randn(*rows, 56) * 3
    exact = x.double() @ small.dequantised().double().t()
    exact = exact if linear.bias is None else exact + linear.bias.detach().double()
    out = small(x)
    assert out.shape == exact.shape
    assert out.dtype is torch.float32
    if x.numel():
        half = 0.51 * (x.amax(-1, keepdim=True) - x.amin(-1, keepdim=True)) / largest
        assert bool(((out - exact).abs() <= half * small.dequantised().abs().sum(-1) + 1e-5).all())
        assert not torch.allclose(out.double(), exact, rtol=1e-6)  # whole numbers did compute it


@pytest.mark.parametrize("kind", [torch.int8, torch.float8_e4m3fn], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_products_of_floats(kind: torch.dtype, dtype: torch.dtype, use: Any) -> None:
    use("float")
    linear = nn.Linear(56, 40)
    linear.weight.data = torch.randn(40, 56)
    small = QuantizedLinear.of(linear, kind)
    x = torch.randn(3, 56)
    exact = x @ small.dequantised().t() + linear.bias.detach()
    out = small(x.to(dtype))
    assert out.dtype is dtype
    assert torch.allclose(out.float(), exact, atol={torch.float32: 1e-4}.get(dtype, 0.3), rtol=0.02)


def test_half_precision_does_not_overflow(use: Any) -> None:
    use("float")
    linear = nn.Linear(4096, 8)
    linear.weight.data = torch.full((8, 4096), 0.01)
    out = QuantizedLinear.of(linear)(torch.ones(2, 4096, dtype=torch.float16))
    assert torch.allclose(out.float(), 40.96 + linear.bias.detach(), rtol=0.01)


@pytest.mark.parametrize("name", INTEGER)
def test_a_row_does_not_depend_on_its_neighbours(name: str, use: Any) -> None:
    use(name)
    small = QuantizedLinear.of(nn.Linear(56, 40))
    x = torch.randn(3, 56)
    beside = torch.cat((x[:2], 1e4 * x[2:], 1e-4 * x))
    assert torch.equal(small(x)[:2], small(beside)[:2])
    long = torch.cat((x, 100 * torch.randn(400, 56)))
    assert torch.equal(small(x), small(long)[:3])


@pytest.mark.parametrize("largest", [255, 127])
@pytest.mark.parametrize("name", INTEGER)
def test_a_row_has_the_same_levels_alone_and_in_a_batch(
    name: str, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that what lies between the two answers is rounding of floats, and no step of 8 bits."""
    monkeypatch.setattr(product_int8, "kernel", lambda: (name, largest))
    small = QuantizedLinear.of(nn.Linear(56, 40))
    x = torch.randn(64, 56) * torch.logspace(-6, 3, 64)[:, None]
    for each in (x, nn.functional.gelu(x), x.relu(), 4 * x + x.abs().amax(-1, keepdim=True)):
        alone = torch.cat([small(row[None]) for row in each])
        biased = (alone - small.bias.detach()).norm(dim=-1)
        far = (small(each) - alone).norm(dim=-1)
        assert bool((far <= 1e-5 * biased + 1e-6).all())


@pytest.mark.parametrize("name", INTEGER)
def test_bounds_of_equal_size_stay_within_the_levels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The zero point is then rounded from 127.5 to 128, and the largest value would be level 255.5 of 255."""
    monkeypatch.setattr(product_int8, "kernel", lambda: (name, 255))
    small = QuantizedLinear.of(nn.Linear(56, 40, bias=False))
    x = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(1, 28)
    exact = x @ small.dequantised().t()
    assert bool(((small(x) - exact).abs() <= 0.51 * 2 / 255 * small.dequantised().abs().sum(-1)).all())


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", INTEGER)
def test_one_sided_rows_have_all_levels(name: str, rows: int, use: Any) -> None:
    """What comes out of an activation is as far from the exact product as a row of both signs and half its size."""
    use(name)
    linear = nn.Linear(512, 64, bias=False)
    small = QuantizedLinear.of(linear)
    x = torch.randn(rows, 512)
    far = [(small(each) - each @ small.dequantised().t()).norm() for each in (x.abs() - 0.1, x)]
    assert float(far[0] / far[1]) < 0.7


@pytest.mark.parametrize("name", INTEGER)
@pytest.mark.parametrize("rows", [1, 3])
def test_zeros_and_what_is_no_number(name: str, rows: int, use: Any) -> None:
    use(name)
    small = QuantizedLinear.of(nn.Linear(56, 40))
    x = torch.randn(rows, 56)
    x[0] = 0
    assert torch.allclose(small(x)[0], small.bias.detach(), atol=1e-6)
    if rows > 1:
        x[0, 7] = float("nan")
        assert bool(small(x)[0].isnan().all())
        assert bool(small(x)[1:].isfinite().all())


def _overflows(weight: Tensor, scales: Tensor, bias: Tensor | None, largest: int) -> Any:
    """A machine that adds pairs of products in 16 bits, inputs moved to be unsigned (vpmaddubsw)."""

    def run(x: Tensor) -> Tensor:
        low = x.amin(-1, keepdim=True)
        step = (x.amax(-1, keepdim=True) - low) / largest
        whole = ((x - low) / step).round()
        pairs = (whole[:, None] * weight.float()).unflatten(-1, (-1, 2)).sum(-1).clamp(-(2**15), 2**15 - 1)
        return (pairs.sum(-1) * step + low * weight.float().sum(-1)) * scales

    return run


def test_a_machine_that_overflows_gets_inputs_of_7_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product_int8, "_MAKERS", {"fbgemm": _overflows, "int_mm": _overflows})
    assert product_int8.kernel.__wrapped__() == ("fbgemm", 127)


def test_a_machine_without_kernels_computes_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*arguments: Any) -> Any:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(product_int8, "_MAKERS", {"fbgemm": none, "int_mm": none})
    assert product_int8.kernel.__wrapped__() == ("float", 255)


def test_the_setting(use: Any) -> None:
    use("int_mm")
    assert product_int8.described().startswith("int_mm")
    use("float")
    assert product_int8.described() == "float"
    use("fast")
    with pytest.raises(ValueError, match="SEQGRAFT_INT8_PRODUCT must be one of fbgemm, int_mm, float, but is 'fast'"):
        product_int8.kernel()


@pytest.mark.parametrize("biases", [(True, True, True), (True, False, True), (False, False, False)], ids=str)
@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn], ids=str)
def test_several_maps_of_one_input(biases: tuple[bool, ...], dtype: torch.dtype) -> None:
    maps = [QuantizedLinear.of(nn.Linear(56, out, bias), dtype) for out, bias in zip((8, 16, 24), biases, strict=True)]
    x = torch.randn(3, 56)
    each = torch.cat([one(x) for one in maps], -1)
    assert torch.allclose(stacked(maps)(x), each, atol=1e-6)
    assert torch.allclose(prepared(maps)(x), each, atol=1e-6)
    plain = nn.Linear(56, 8)
    assert torch.allclose(prepared([*maps, plain])(x), torch.cat((each, plain(x)), -1), atol=1e-6)


def test_what_is_watched_is_not_computed_elsewhere() -> None:
    small = QuantizedLinear.of(nn.Linear(56, 40))
    assert preparable(small)
    small.register_forward_hook(lambda *_: None)
    assert not preparable(small)


def test_a_map_that_changes_is_packed_anew() -> None:
    small = QuantizedLinear.of(nn.Linear(56, 40))
    x = torch.randn(3, 56)
    before = small(x)
    small.scales.data.mul_(2)
    with torch.no_grad():
        small.bias.mul_(2)
    assert torch.allclose(small(x), 2 * before, atol=1e-5)


def test_another_dtype_leaves_the_stored_numbers() -> None:
    small = QuantizedLinear.of(nn.Linear(56, 40))
    kept, scales = small.weight.clone(), small.scales.clone()
    small.to(torch.bfloat16)
    assert torch.equal(small.weight, kept)
    assert torch.equal(small.scales, scales)
    assert small.scales.dtype is torch.float32
    assert small.bias.dtype is torch.bfloat16
    assert small(torch.randn(2, 56, dtype=torch.bfloat16)).dtype is torch.bfloat16
    eight = QuantizedLinear.of(nn.Linear(56, 40), torch.float8_e4m3fn)
    kept = eight.weight.clone()
    assert torch.equal(eight.double().weight.float(), kept.float())
    assert eight.weight.dtype is torch.float8_e4m3fn


def test_copies() -> None:
    small = QuantizedLinear.of(nn.Linear(56, 40))
    x = torch.randn(3, 56)
    out = small(x)
    assert torch.equal(copy.deepcopy(small)(x), out)
    assert torch.equal(pickle.loads(pickle.dumps(small))(x), out)


def test_tables() -> None:
    table = nn.Embedding(30, 16, padding_idx=0)
    small = QuantizedEmbedding.of(table)
    ids = torch.tensor([[0, 29], [7, 7]])
    assert small(ids).shape == (2, 2, 16)
    assert torch.allclose(small(ids), table(ids), atol=0.51 * float(small.scales.detach().max()))
    assert torch.equal(small(ids), small.dequantised()[ids])
    assert not small(ids)[0, 0].any()
    assert small.to(torch.bfloat16)(ids).dtype is torch.bfloat16
    assert (small.num_embeddings, small.embedding_dim) == (30, 16)
