"""The preflight: a sound model passes; each way of breaking one fails the one check that is about it."""

import copy
import io

import pytest
import torch
from torch import nn

import seqgraft
from seqgraft.torch.check import NAMES, check

from ..pipelines.tiny import spread
from ..training.conftest import half, tiny

KINDS = [("bert", "bert"), ("bert", "gpt2"), ("bart", "bart"), ("gpt2", "bert")]


def made(encoder="bert", decoder="bert"):
    """A sound pair with large weights, and its tokenizers."""
    from seqgraft.training.special import settle_special_ids

    pair = tiny(encoder, decoder)
    spread(pair.model)
    settle_special_ids(pair.model, pair.tokenizer)
    return pair


def grafted(**graft):
    """BERT in front of a LLaMA, its gates shut."""
    torch.manual_seed(1)
    llama = seqgraft.LlamaConfig(
        vocab_size=257, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, bos_token_id=256, eos_token_id=256, pad_token_id=255, graft=graft or None,
    )  # fmt: skip
    config = seqgraft.EncoderDecoderConfig(half("bert", 21), llama, decoder_start_token_id=256)
    return seqgraft.EncoderDecoderModel(config=config)


def failed(pair):
    return [finding.name for finding in pair.model.check(pair.tokenizer).failures]


@pytest.mark.parametrize(("encoder", "decoder"), KINDS)
def test_a_sound_pair_passes(encoder, decoder):
    report = made(encoder, decoder).model.check(made(encoder, decoder).tokenizer)
    assert report.passed, str(report)
    assert [finding.name for finding in report] == list(NAMES)
    assert all(finding.passed is True for finding in report)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", [*KINDS, "graft"])
def test_every_dtype(kind, dtype):
    model = grafted() if kind == "graft" else made(*kind).model
    report = model.to(dtype).check()
    assert report.passed, str(report)


@pytest.mark.parametrize("graft", [{}, {"how": "inserted"}, {"gate": None}, {"every": 2}])
def test_gates_are_opened_and_shut_again(graft):
    model = grafted(**graft)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = model.check()
    assert report.passed, str(report)
    assert ("opened for it" in report["encoder"].told) == (graft.get("gate", "tanh") == "tanh")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_nothing_is_left_behind():
    model = grafted()
    model.train()
    model.encoder.layers[0].eval()
    model.encoder.embed.weight.requires_grad_(False)
    model.decoder.embed.weight.grad = gradient = torch.ones_like(model.decoder.embed.weight)
    modes = [module.training for module in model.modules()]
    versions = copy.deepcopy(model.generation_config.to_dict())
    state = torch.random.get_rng_state()
    assert model.check().passed
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.decoder.embed.weight.grad is gradient
    assert bool((gradient == 1).all())
    assert all(p.grad is None for p in model.parameters() if p is not model.decoder.embed.weight)
    assert model.generation_config.to_dict() == versions
    assert not any(p._backward_hooks or p._post_accumulate_grad_hooks for p in model.parameters())


def zero_cross_attention(pair):
    for layer in pair.model.decoder.layers:
        nn.init.zeros_(layer.cross_attention.output.weight)


def test_a_decoder_that_ignores_its_encoder():
    pair = made()
    zero_cross_attention(pair)
    assert "encoder" in failed(pair)
    assert set(failed(pair)) <= {"encoder", "gradients"}  # nothing of the encoder is reached either
    assert "ignores its encoder" in pair.model.check()["encoder"].advice


def test_a_decoder_that_sees_the_future(monkeypatch):
    pair = made()
    spec = copy.copy(pair.model.decoder.spec)
    object.__setattr__(spec, "causal", False)
    monkeypatch.setattr(pair.model.decoder, "spec", spec)
    assert failed(pair) == ["future", "cache"]


@pytest.mark.parametrize(("half", "name"), [("encoder", "source padding"), ("decoder", "target padding")])
def test_a_half_that_forgets_its_mask(monkeypatch, half, name):
    pair = made()
    stack = getattr(pair.model, half)
    states = stack.states
    monkeypatch.setattr(stack, "states", lambda *a, **k: states(*a, **{**k, "mask": None}))
    assert failed(pair) == [name]


def test_a_cache_that_is_not_used(monkeypatch):
    pair = made()
    states = pair.model.decoder.states
    monkeypatch.setattr(pair.model.decoder, "states", lambda *a, **k: states(*a, **{**k, "cache": None}))
    assert failed(pair) == ["cache"]


def test_a_parameter_that_is_detached(monkeypatch):
    pair = made()
    dense = pair.model.encoder.layers[1].feed_forward.up

    class Detached(nn.Linear):
        def forward(self, x):
            return nn.functional.linear(x, self.weight.detach(), self.bias)

    dense.__class__ = Detached
    assert failed(pair) == ["gradients"]
    told = pair.model.check()["gradients"].told
    assert "encoder.layers.1.feed_forward.up.weight" in told
    dense.weight.requires_grad_(False)
    assert failed(pair) == []
    pair.model.requires_grad_(False)
    assert pair.model.check()["gradients"].passed is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("pad_token_id", 7, "pad_token_id is 7 in the model, but the target tokenizer has pad_token_id 0"),
        ("eos_token_id", 8, "eos_token_id is 8 in the model"),
        ("decoder_start_token_id", 9, "decoder_start_token_id is 9 in the model"),
        ("eos_token_id", 21, "eos_token_id is 21, outside the vocabulary of 21"),
    ],
)
def test_special_ids(name, value, said):
    pair = made()
    setattr(pair.model.config, name, value)
    assert failed(pair) == ["special ids"]
    assert said in pair.model.check(pair.tokenizer)["special ids"].told


def test_an_id_that_is_not_set():
    pair = tiny()
    assert [f.name for f in pair.model.check().failures] == ["special ids"]
    assert "decoder_start_token_id is not set" in pair.model.check()["special ids"].told


def test_the_sources_padding():
    pair = made("bert", "gpt2")
    pair.model.config.encoder.pad_token_id = 3
    assert failed(pair) == ["special ids"]
    assert "model.config.encoder.pad_token_id = 0" in pair.model.check(pair.tokenizer)["special ids"].told


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_a_vocabulary_that_is_too_small(half):
    pair = made()
    getattr(pair.model, half).resize_token_embeddings(19)
    assert failed(pair) == ["vocabularies"]
    side = "source" if half == "encoder" else "target"
    told = pair.model.check(pair.tokenizer)["vocabularies"].told
    assert f"the {side} tokenizer has 21 tokens, but their table 19 rows" in told
    assert pair.model.check().passed  # which asks no tokenizer
    pair.model.resize = getattr(pair.model, half).resize_token_embeddings(21)
    assert failed(pair) == []


def test_a_length_that_generation_cannot_reach():
    pair = made()
    pair.model.generation_config.max_length = 65
    assert failed(pair) == ["longest texts"]
    assert "positions for 64 tokens" in pair.model.check()["longest texts"].told


def test_untied_by_hand():
    pair = made()
    output = pair.model.decoder.head.output
    output.weight = nn.Parameter(output.weight.detach().clone())
    assert failed(pair) == ["ties"]
    pair.model.tie_weights()
    assert failed(pair) == []


def test_halves_untied_by_hand():
    torch.manual_seed(0)
    config = seqgraft.EncoderDecoderConfig(half("bert", 21), half("bert", 21), tie_encoder_decoder=True)
    model = spread(seqgraft.EncoderDecoderModel(config=config))
    assert model.check()["ties"].passed
    part = model.encoder.layers[0].feed_forward.up
    part.weight = nn.Parameter(part.weight.detach().clone())
    assert [f.name for f in model.check().failures if f.name != "special ids"] == ["ties"]


def test_an_error_of_the_model_is_a_finding(monkeypatch):
    pair = made()

    def broken(*arguments, **named):
        raise RuntimeError("out of order")

    monkeypatch.setattr(pair.model.decoder, "logits", broken)
    report = check(pair.model)
    assert [finding.name for finding in report.failures] == ["forward pass"]
    assert "RuntimeError: out of order" in report["forward pass"].told
    assert report["ties"].passed


def test_weights_that_are_no_numbers():
    pair = made()
    pair.model.decoder.embed.weight.data.fill_(float("nan"))
    assert failed(pair) == ["forward pass"]
    assert "not finite" in pair.model.check()["forward pass"].told


def test_two_tokenizers_or_a_pair_of_them():
    pair = made("bert", "gpt2")
    assert pair.model.check(pair.tokenizer.source, pair.tokenizer.target).passed
    wrong = pair.model.check(pair.tokenizer.source, pair.tokenizer.source)
    assert [finding.name for finding in wrong.failures] == ["special ids"]


def test_what_is_shown():
    from rich.console import Console

    pair = made()
    pair.model.config.pad_token_id = 7
    console = Console(width=80, record=True, file=io.StringIO())
    report = pair.model.check(pair.tokenizer)
    console.print(report)
    shown = console.export_text()
    assert "FAILED" in shown
    assert "Set them with" in shown
    assert str(report).count("passed") == len(NAMES) - 1
    assert report.complaint().startswith("FAILED  special ids: ")
    with pytest.raises(KeyError):
        report["weather"]
