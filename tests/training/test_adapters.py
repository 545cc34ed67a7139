"""Low-rank adapters through `peft`: what moves, what is saved, and that `PeftModel` loads it again."""

import json
import sys

import pytest
import torch

import seqgraft
from seqgraft.errors import ConfigurationError, MissingExtraError
from seqgraft.training import recipes
from seqgraft.training.adapters import Lora, take_in
from seqgraft.training.groups import is_new
from seqgraft.training.trainer import train

peft = pytest.importorskip("peft")

FAST = {"rows_per_batch": 6, "dropout": False, "progress": False, "device": "cpu", "epochs": 4}
KINDS = [("bert", "bert"), ("bert", "gpt2"), ("bart", "bart")]


def logits(model):
    ids = torch.tensor([[2, 6, 7, 8, 3], [2, 9, 10, 11, 3]])
    with torch.no_grad():
        return model(input_ids=ids, decoder_input_ids=ids).logits


@pytest.mark.parametrize(("encoder", "decoder"), KINDS)
def test_merged_adapters_are_in_the_weights(make, pairs, tmp_path, encoder, decoder):
    made = make(encoder, decoder)
    before = {name: p.detach().clone() for name, p in made.model.named_parameters()}
    shown = []
    settings = recipes.settings("lora", learning_rate=0.05, new_learning_rate=0.01)
    train(made.model, made.tokenizer, pairs, output=tmp_path, tell=shown.extend, **settings, **FAST)
    after = dict(made.model.named_parameters())
    assert set(after) == set(before)
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    adapted = {name for name in before if name.endswith(("self_attention.query.weight", "self_attention.value.weight"))}
    assert adapted <= changed <= adapted | is_new(made.model)
    assert any(".cross_attention." in name for name in changed)
    assert {name.partition(".")[0] for name in adapted} == {"encoder", "decoder"}
    for name in adapted:  # a change of rank 8 at most
        assert torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-4) <= 8
    again = seqgraft.EncoderDecoderModel.from_pretrained(tmp_path)
    assert torch.equal(logits(again), logits(made.model))
    assert all(p.requires_grad for p in again.parameters())
    assert not (tmp_path / "adapter").exists()
    named = {line.pattern: line for line in shown}
    assert named["adapters"].rate == 0.05
    assert named["adapters"].parameters == sum(8 * sum(before[name].shape) for name in adapted)
    assert named["pretrained"].rate is None


@pytest.mark.parametrize(("encoder", "decoder"), KINDS)
def test_separate_adapters_load_again(make, pairs, tmp_path, monkeypatch, encoder, decoder):
    made = make(encoder, decoder)
    settings = recipes.settings("lora", learning_rate=0.05, lora={"save": "separate", "rank": 4})
    result = train(made.model, made.tokenizer, pairs, output=tmp_path, valid_pairs=pairs, **settings, **FAST)
    base = seqgraft.EncoderDecoderModel.from_pretrained(tmp_path)
    assert not torch.allclose(logits(base), logits(made.model), atol=1e-3)
    opened = peft.PeftModel.from_pretrained(base, str(tmp_path / "adapter"))
    assert torch.allclose(logits(opened), logits(made.model), atol=1e-5)
    ids = torch.tensor([[2, 6, 7, 8, 3]])
    theirs = opened.generate(input_ids=ids, max_new_tokens=5)
    assert torch.equal(theirs, made.model.generate(input_ids=ids, max_new_tokens=5))
    plain = seqgraft.EncoderDecoderModel.from_pretrained(tmp_path)
    take_in(plain, tmp_path / "adapter")
    assert torch.allclose(logits(plain), logits(made.model), atol=1e-5)
    piped = seqgraft.pipeline("text2text-generation", str(tmp_path), device="cpu", dtype="float32").model
    assert torch.allclose(logits(piped), logits(made.model), atol=1e-5)
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["r"] == 4
    card = (tmp_path / "README.md").read_text()
    assert "`adapter/` and not in the weights" in card
    assert result.valid_loss is not None
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "peft", None)
        with pytest.raises(MissingExtraError, match=r"seqgraft\[lora\]"):
            seqgraft.pipeline("text2text-generation", str(tmp_path), device="cpu")
    again = make(encoder, decoder)  # merged over it: no adapter of another training stays behind
    train(again.model, again.tokenizer, pairs, output=tmp_path, **recipes.settings("lora"), **FAST)
    assert not (tmp_path / "adapter").exists()


def test_messages(make, pairs, monkeypatch):
    made = make()
    for lora, message in (
        ({"rank": 0}, "at least 1"),
        ({"save": "both"}, "'merged' or 'separate'"),
        ({"width": 3}, "may hold rank, alpha"),
        ({"targets": ("*.nothing",)}, "must match a pretrained linear map"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            train(made.model, made.tokenizer, pairs, output=None, lora=lora, freeze=["encoder.*"], **FAST)
    assert all(parameter.requires_grad for parameter in made.model.parameters())
    assert Lora.of(None) is None
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"seqgraft\[lora\]"):
        train(made.model, made.tokenizer, pairs, output=None, lora={}, **FAST)
