"""Saving: shards, variants, formats, over an older model, over itself, and killed in the middle."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

import seqgraft
from seqgraft import EncoderDecoderModel

from ..faults import tiny


def _files(folder):
    return sorted(p.name for p in Path(folder).iterdir())


def _same(model, folder, **arguments):
    again = EncoderDecoderModel.from_pretrained(folder, **arguments).state_dict()
    return all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


def test_one_file(tmp_path):
    model = tiny.pair()
    model.save_pretrained(tmp_path / "new" / "folder")
    assert _files(tmp_path / "new" / "folder") == ["config.json", "generation_config.json", "model.safetensors"]
    assert _same(model, tmp_path / "new" / "folder")


@pytest.mark.parametrize("size", ["20KB", 20_000])
def test_shards(size, tmp_path):
    model = tiny.pair()
    model.save_pretrained(tmp_path, max_shard_size=size)
    shards = [name for name in _files(tmp_path) if name.startswith("model-")]
    assert len(shards) > 2
    assert all((tmp_path / name).stat().st_size < 30_000 for name in shards)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == set(shards)
    assert _same(model, tmp_path)
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path)
    inputs = {"input_ids": tiny.source(), "labels": tiny.target()}
    torch.testing.assert_close(theirs(**inputs).logits, model(**inputs).logits, atol=1e-5, rtol=1e-4)


def test_variant(tmp_path):
    model = tiny.pair()
    model.save_pretrained(tmp_path)
    half = tiny.pair().half()
    half.save_pretrained(tmp_path, variant="fp16")
    assert {"model.safetensors", "model.fp16.safetensors"} <= set(_files(tmp_path))
    assert _same(half, tmp_path, variant="fp16")
    assert _same(model, tmp_path)
    assert EncoderDecoderModel.from_pretrained(tmp_path, variant="fp16").dtype == torch.float16
    with pytest.raises(OSError, match="bf16"):
        EncoderDecoderModel.from_pretrained(tmp_path, variant="bf16")


def test_pickles_on_request(tmp_path):
    model = tiny.pair()
    model.save_pretrained(tmp_path, safe_serialization=False)
    assert "pytorch_model.bin" in _files(tmp_path)
    assert _same(model, tmp_path)
    model.save_pretrained(tmp_path)
    assert "pytorch_model.bin" not in _files(tmp_path), "an older file of another format would be read by somebody"
    assert _same(model, tmp_path, use_safetensors=True)


def test_over_an_older_model_no_shard_is_left(tmp_path):
    one, two = tiny.pair(), tiny.pair("bert", "gpt2")
    (tmp_path / "notes.txt").write_text("mine")
    one.save_pretrained(tmp_path, max_shard_size="15KB")
    two.save_pretrained(tmp_path, max_shard_size="30KB")
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert {n for n in _files(tmp_path) if n.startswith("model-")} == set(index["weight_map"].values())
    assert _same(two, tmp_path)
    one.save_pretrained(tmp_path)
    assert _files(tmp_path) == ["config.json", "generation_config.json", "model.safetensors", "notes.txt"]
    assert _same(one, tmp_path)


def test_twice_gives_the_same_bytes(tmp_path):
    model = tiny.pair()
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "two")
    model.save_pretrained(tmp_path / "two")
    EncoderDecoderModel.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "three")
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        first = (tmp_path / "one" / name).read_bytes()
        assert (tmp_path / "two" / name).read_bytes() == first
        if name == "model.safetensors":
            assert (tmp_path / "three" / name).read_bytes() == first


@pytest.mark.parametrize("decoder", ["bert", "gpt2", "llama"])
def test_over_the_folder_that_it_is_mapped_from(decoder, tmp_path):
    expected = tiny.pair("bert", decoder)
    expected.save_pretrained(tmp_path)
    model = EncoderDecoderModel.from_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    assert _same(expected, tmp_path)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert _same(model, tmp_path)


def test_training_never_writes_to_the_file(tmp_path):
    tiny.pair().save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    model = EncoderDecoderModel.from_pretrained(tmp_path)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(input_ids=tiny.source(), labels=tiny.target()).loss.backward()
    optimizer.step()
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert not _same(model, tmp_path)


KILLED = """
import os, sys
sys.path[:] = {path!r}
import torch, seqgraft
from seqgraft.torch import folder
model = seqgraft.EncoderDecoderModel.from_pretrained({source!r})
with torch.no_grad():
    for p in model.parameters():
        p.zero_()
write = folder.write_weights
def half(*a, **k):
    write(*a, **k)
    os._exit(9)
folder.write_weights = half
model.save_pretrained({source!r}, max_shard_size="15KB")
"""


def test_killed_in_the_middle(tmp_path):
    model = tiny.pair()
    model.save_pretrained(tmp_path)
    code = KILLED.format(path=sys.path, source=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ}, timeout=120)
    assert done.returncode == 9
    assert _same(model, tmp_path), "the old folder is whole"
    model.save_pretrained(tmp_path)
    assert _files(tmp_path) == ["config.json", "generation_config.json", "model.safetensors"], "and is swept"


def test_an_interrupted_save_leaves_nothing(tmp_path, monkeypatch):
    from seqgraft.torch import folder

    model = tiny.pair()
    model.save_pretrained(tmp_path / "old")

    def interrupted(*arguments, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(folder, "write_weights", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.save_pretrained(tmp_path / "old", max_shard_size="15KB")
    with pytest.raises(KeyboardInterrupt):
        model.save_pretrained(tmp_path / "new")
    assert _files(tmp_path / "old") == ["config.json", "generation_config.json", "model.safetensors"]
    assert not (tmp_path / "new").exists()
    assert _same(model, tmp_path / "old")


def test_halves_too(tmp_path):
    model = tiny.pair("bert", "gpt2")
    model.decoder.save_pretrained(tmp_path, max_shard_size="10KB")
    model.decoder.save_pretrained(tmp_path, variant="fp16")
    again = seqgraft.GPT2LMHeadModel.from_pretrained(tmp_path, variant="fp16")
    assert all(torch.equal(v, again.state_dict()[n]) for n, v in model.decoder.state_dict().items())


ERRORS = [
    ({"max_shard_size": "many"}, ValueError, "`max_shard_size` must be bytes above zero, .*but is 'many'"),
    ({"max_shard_size": 0}, ValueError, "`max_shard_size` must be bytes above zero, .*but is 0"),
    ({"push_to_hub": True}, TypeError, "push_to_hub"),
    ({"variant": "../x"}, ValueError, "`variant` must be a part of a file's name, such as 'fp16', but is '../x'"),
]


@pytest.mark.parametrize(("arguments", "kind", "message"), ERRORS)
def test_errors(arguments, kind, message, tmp_path):
    with pytest.raises(kind, match=message):
        tiny.pair().save_pretrained(tmp_path / "pair", **arguments)
    assert not (tmp_path / "pair").exists()


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "pair").write_text("")
    with pytest.raises(OSError, match="must be a folder to save into, but is a file"):
        tiny.pair().save_pretrained(tmp_path / "pair")


def test_without_memory(tmp_path):
    with torch.device("meta"):
        model = tiny.pair()
    with pytest.raises(ValueError, match=r"must have memory to be saved, but .* tensors are on the meta device"):
        model.save_pretrained(tmp_path)
