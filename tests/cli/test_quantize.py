"""`seqgraft quantize`, and `inspect` of what it makes."""

import json

import pytest
import torch
from safetensors.torch import load_file

import seqgraft as library
from seqgraft.torch import product_int8

from ..pipelines.tiny import TEXTS


def test_a_pair(seqgraft, folder, tmp_path):
    out = tmp_path / "small"
    done = seqgraft("quantize", folder, "-o", out)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == ""
    model = library.EncoderDecoderModel.from_pretrained(folder)
    before = sum(p.numel() * p.element_size() for p in model.parameters())
    small = library.EncoderDecoderModel.from_pretrained(out)
    after = sum(p.numel() * p.element_size() for p in small.parameters())
    assert f"Weights: {before / 1000:.1f} kB before, {after / 1000:.1f} kB after" in done.stderr
    assert "Products on this machine's CPU: " in done.stderr
    assert "opens in seqgraft alone" in done.stderr
    ids = {"input_ids": torch.tensor([[2, 7, 9, 3]]), "decoder_input_ids": torch.tensor([[2, 6, 8]])}
    with torch.no_grad():
        assert torch.equal(model.quantize()(**ids).logits, small(**ids).logits)
    tokenizer = library.AutoTokenizer.from_pretrained(out)
    assert tokenizer(TEXTS[0])["input_ids"] == library.AutoTokenizer.from_pretrained(folder)(TEXTS[0])["input_ids"]
    assert small.config.special("eos_token_id") == model.config.special("eos_token_id")
    done = seqgraft("run", "--task", "summarization", "--model", out, "--max-new-tokens", 3, stdin=TEXTS[0] + "\n")
    assert done.exit_code == 0, done.stderr


def test_what_inspect_shows(seqgraft, folder, tmp_path, monkeypatch):
    out = tmp_path / "small"
    assert seqgraft("quantize", folder, "-o", out, "--skip", "decoder.head.dense").exit_code == 0
    done = seqgraft("inspect", out)
    assert done.exit_code == 0, done.stderr
    assert "int8, but floats in decoder.head.dense; opens here alone" in done.stdout
    report = json.loads(seqgraft("inspect", out, "--json").stdout)
    assert report["quantization"]["dtype"] == "int8"
    stored = load_file(out / "model.int8.safetensors")
    assert report["dtypes"]["I8"] == sum(t.numel() for t in stored.values() if t.dtype is torch.int8)
    assert report["memory"]["weights"] == sum(t.numel() * t.element_size() for t in stored.values())
    assert report["products"] == product_int8.described()
    assert f"products on this CPU {report['products']}" in " ".join(done.stdout.split())
    monkeypatch.setenv(product_int8.SETTING, "float")
    product_int8.kernel.cache_clear()
    assert json.loads(seqgraft("inspect", out, "--json").stdout)["products"] == "float"
    product_int8.kernel.cache_clear()
    plain = json.loads(seqgraft("inspect", folder, "--json").stdout)
    assert plain["quantization"] is None
    assert report["total"] == plain["total"]
    assert report["memory"]["cache_per_target_token"] == plain["memory"]["cache_per_target_token"]


def test_inspect_of_a_published_encoder_decoder(seqgraft, tmp_path):
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    config = library.BartConfig(vocab_size=40, encoder_attention_heads=2, decoder_attention_heads=2, **sizes)
    model = library.EncoderDecoderModel(config)
    total = model.num_parameters()
    model.quantize().save_pretrained(tmp_path / "bart")
    report = json.loads(seqgraft("inspect", tmp_path / "bart", "--json").stdout)
    assert report["problems"] == []
    assert report["total"] == total
    assert report["encoder"]["layers"] == 1


def test_inspect_of_a_damaged_folder(seqgraft, folder, tmp_path):
    out = tmp_path / "small"
    assert seqgraft("quantize", folder, "-o", out).exit_code == 0
    said = json.loads((out / "config.json").read_text())
    said["decoder"]["intermediate_size"] += 1
    (out / "config.json").write_text(json.dumps(said))
    done = seqgraft("inspect", out)
    assert done.exit_code == 1
    assert "decoder.layers.0.feed_forward.up.weight must be [33, 16], but is [32, 16]" in done.stderr


@pytest.mark.parametrize("dtype", ["int8", "fp8"])
def test_json(seqgraft, folder, tmp_path, dtype):
    out = tmp_path / "small"
    done = seqgraft("quantize", folder, "-o", out, "--dtype", dtype, "--json")
    report = json.loads(done.stdout)
    assert report["dtype"] == dtype
    assert report["bytes_after"] < 0.5 * report["bytes_before"]
    assert (out / f"model.{dtype}.safetensors").is_file()
    shown = json.loads(seqgraft("inspect", out, "--json").stdout)["products"]
    assert shown == (product_int8.described() if dtype == "int8" else "float")
    told = seqgraft("quantize", folder, "-o", out, "--dtype", dtype, "--force").stderr
    assert ("Products on this machine's CPU" in told) == (dtype == "int8")


def test_refusals(seqgraft, folder, bert, tmp_path):
    out = tmp_path / "small"
    assert seqgraft("quantize", folder, "-o", out).exit_code == 0
    for arguments, code, told in (
        ((folder, "-o", out), 1, "pass --force to write over it"),
        ((out, "-o", tmp_path / "again"), 1, "must hold floats to be quantised, but is quantised already"),
        ((bert, "-o", tmp_path / "again"), 1, "from_encoder_decoder_pretrained"),
        ((folder, "-o", tmp_path / "again", "--skip", "brain.*"), 1, "nothing is called brain.*"),
        ((folder, "-o", tmp_path / "again", "--dtype", "int4"), 2, "int4"),
        ((tmp_path / "no" / "where", "-o", tmp_path / "again"), 1, "no folder here"),
    ):
        done = seqgraft("quantize", *arguments)
        assert done.exit_code == code, (arguments, done.stderr)
        assert told in " ".join(done.stderr.split()), done.stderr
        assert not (tmp_path / "again").exists()


def test_over_its_own_folder(seqgraft, folder, tmp_path):
    model = library.EncoderDecoderModel.from_pretrained(folder)
    model.save_pretrained(tmp_path)
    assert seqgraft("quantize", tmp_path, "-o", tmp_path, "--force").exit_code == 0
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["model.int8.safetensors"]
    assert library.EncoderDecoderModel.from_pretrained(tmp_path).config.quantization_config["dtype"] == "int8"
