"""The best token without all logits: the same as the highest of all of them, or said to be unknown."""

import pytest
import torch
from torch import nn

from seqgraft import BertConfig, EncoderDecoderConfig, EncoderDecoderModel
from seqgraft.torch import screen as module
from seqgraft.torch.product import library
from seqgraft.torch.product_int8 import kernel
from seqgraft.torch.screen import screen

pytestmark = pytest.mark.skipif(
    library() != "onednn" or kernel()[0] != "fbgemm", reason="this machine's rule chooses other products"
)

WIDTH, OUTPUTS = 96, 20_000


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(module, "_LEAST", 1)
    with torch.no_grad():
        yield


def table(seed: int = 0, spread: float = 0.02) -> nn.Linear:
    torch.manual_seed(seed)
    linear = nn.Linear(WIDTH, OUTPUTS)
    linear.weight.data.normal_(0, spread)
    linear.bias.data.normal_(0, 0.1 * spread)
    return linear.eval()


@pytest.mark.parametrize("rows", [1, 2, 7, 16])
def test_it_is_the_highest_logit(rows):
    linear = table()
    found = screen(linear)
    for seed in range(40):
        torch.manual_seed(seed)
        x = torch.randn(rows, WIDTH) * 10.0 ** torch.randint(-3, 3, (rows, 1))
        assert torch.equal(found(x), linear(x).argmax(-1))


def test_an_input_of_zeros_leaves_the_bias_alone():
    linear = table()
    assert screen(linear)(torch.zeros(2, WIDTH)).tolist() == [int(linear.bias.argmax())] * 2


def test_the_first_of_equal_ones():
    linear = table()
    x = torch.randn(1, WIDTH)
    best = int(linear(x).argmax())
    linear.weight.data[[17, OUTPUTS - 1]] = linear.weight.data[best].clone()
    linear.bias.data[[17, OUTPUTS - 1]] = linear.bias.data[best].clone()
    assert screen(linear)(x).tolist() == [17]


def test_where_whole_numbers_alone_are_wrong():
    """Rows nearer to each other than their 8-bit copies can tell: each of them is found where it is the best."""
    linear = table()
    torch.manual_seed(3)
    x = torch.randn(1, WIDTH)
    close = linear.weight.data[int(linear(x).argmax())] * 1.5
    wrong = 0
    for seed in range(50):
        torch.manual_seed(seed)
        linear.weight.data[100:140] = close + 1e-4 * torch.randn(40, WIDTH)
        copied = (linear.weight / (scale := linear.weight.abs().amax(-1, keepdim=True) / 127)).round() * scale
        exact = int(linear(x).argmax())
        assert screen(linear)(x).tolist() == [exact]
        wrong += int((x @ copied.t() + linear.bias).argmax()) != exact
    assert wrong > 10  # or this table would show nothing


def test_the_bound_holds_where_it_is_reached():
    """An input along the very difference between a row and its copy, which no copy is further from."""
    linear = table()
    linear.bias = None
    scale = linear.weight.abs().amax(-1, keepdim=True) / 127
    difference = linear.weight - (linear.weight / scale).round() * scale
    for row in difference.norm(dim=-1).topk(20).indices:
        x = difference[row][None] * 1000
        assert torch.equal(screen(linear)(x), linear(x).argmax(-1))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_left_to_all_logits(bad):
    x = torch.ones(2, WIDTH)
    x[1, 5] = bad
    assert screen(table())(x) is None


def test_a_table_with_such_numbers_has_no_bound():
    linear = table()
    linear.weight.data[3, 3] = float("nan")
    assert screen(linear) is None


def test_a_table_too_even_is_given_up(monkeypatch):
    linear = table()
    linear.weight.data[:] = linear.weight.data[:1] + 1e-6 * torch.randn(OUTPUTS, WIDTH)
    linear.bias.data.zero_()
    found, asked = screen(linear), 0

    class Counting:
        def __call__(self, tensors):
            nonlocal asked
            asked += 1
            return cat(tensors)

    cat = torch.cat
    monkeypatch.setattr(module.torch, "cat", Counting())
    assert all(found(torch.randn(1, WIDTH)) is None for _ in range(60))
    assert 16 <= asked <= 20


def test_more_rows_than_pay_are_left_to_all_logits():
    assert screen(table())(torch.randn(17, WIDTH)) is None


def test_maps_that_it_does_not_serve(monkeypatch):
    assert screen(table().to(torch.bfloat16)) is None
    watched = table()
    watched.register_forward_hook(lambda *_: None)
    assert screen(watched) is None
    monkeypatch.setattr(module, "_LEAST", 1 << 22)
    assert screen(table()) is None  # small tables cost less than the calls


@pytest.mark.parametrize("batch", [1, 5])
def test_generation_is_the_same(monkeypatch, batch):
    torch.manual_seed(1)
    half = {
        "vocab_size": 5000,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    config = EncoderDecoderConfig.from_encoder_decoder_configs(BertConfig(**half), BertConfig(**half))
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 7
    model = EncoderDecoderModel(config).eval()
    ids = torch.randint(8, 5000, (batch, 12))
    with torch.no_grad():
        model.generate(input_ids=ids, max_new_tokens=2)  # prepares
        step = model.decoder.best
        calls = []
        monkeypatch.setattr(type(model.decoder), "best", lambda self, *more: calls.append(1) or step(*more))
        quick = model.generate(input_ids=ids, max_new_tokens=30)
        assert len(calls) == 29
        every = model.generate(input_ids=ids, max_new_tokens=30, output_scores=True, return_dict_in_generate=True)
        assert len(calls) == 29
    assert torch.equal(quick, every.sequences)
