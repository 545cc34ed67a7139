"""Fault 4: a BART checkpoint holds only its shared table; as either half nothing is random that the file holds."""

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import seqgraft
from seqgraft import EncoderDecoderModel

from . import tiny


@pytest.fixture(scope="module")
def stored(written):
    tensors = load_file(f"{written['bart']}/model.safetensors")
    assert [n for n in tensors if "embed_tokens" in n or "shared" in n or "lm_head" in n] == ["model.shared.weight"]
    return tensors


def _all_from_the_file(model, side, stored):
    """Every parameter that the file has a name for is the file's; returns the rest."""
    rest = []
    for name, value in model.tensors(headed=True).items():
        source = "model.shared.weight" if name.endswith("embed_tokens.weight") else name
        if source in stored:
            assert torch.equal(value, stored[source]), name
        else:
            rest.append(name)
    assert torch.equal(model.get_input_embeddings().weight, stored["model.shared.weight"])
    return rest


def test_the_reference_loses_the_table(written, stored):
    model = transformers.BartForCausalLM.from_pretrained(written["bart"])
    assert not torch.equal(model.model.decoder.embed_tokens.weight, stored["model.shared.weight"])


def test_decoder_alone(written, stored, caplog):
    model = seqgraft.BartForCausalLM.from_pretrained(written["bart"], is_decoder=True, add_cross_attention=True)
    assert _all_from_the_file(model, "decoder", stored) == []
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert "new" not in caplog.text, "BART's cross-attention is in its file"


def test_encoder_alone(written, stored):
    assert _all_from_the_file(seqgraft.BartEncoder.from_pretrained(written["bart"]), "encoder", stored) == []


@pytest.mark.parametrize(("encoder", "decoder"), [("bert", "bart"), ("bart", "bert"), ("bart", "bart")])
def test_in_a_pair(encoder, decoder, written, stored, tmp_path):
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(written[encoder], written[decoder])
    if decoder == "bart":
        assert _all_from_the_file(model.decoder, "decoder", stored) == []
    if encoder == "bart":
        assert _all_from_the_file(model.encoder, "encoder", stored) == []
    model.save_pretrained(tmp_path)
    again = EncoderDecoderModel.from_pretrained(tmp_path)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_bart_in_front_of_itself_is_bart(written):
    """The whole model, put together of its two halves, computes what the published one does."""
    theirs = transformers.BartForConditionalGeneration.from_pretrained(written["bart"]).eval()
    ours = EncoderDecoderModel.from_encoder_decoder_pretrained(written["bart"], written["bart"])
    inputs = {"input_ids": tiny.source(), "decoder_input_ids": tiny.target()}
    torch.testing.assert_close(ours(**inputs).logits, theirs(**inputs).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("held", ["shared", "encoder.embed_tokens", "decoder.embed_tokens", "all", "lm_head"])
def test_whichever_copy_the_file_holds(held, written, stored, tmp_path):
    """Other writers keep another of the equal tables."""
    copies = {
        "shared": ["model.shared.weight"],
        "encoder.embed_tokens": ["model.encoder.embed_tokens.weight"],
        "decoder.embed_tokens": ["model.decoder.embed_tokens.weight"],
        "lm_head": ["lm_head.weight"],
    }
    copies["all"] = [name for names in copies.values() for name in names]
    table = stored["model.shared.weight"]
    tensors = {n: t for n, t in stored.items() if n != "model.shared.weight"}
    save_file(tensors | {name: table.clone() for name in copies[held]}, tmp_path / "model.safetensors")
    tiny.config("bart").save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert set(copies[held]) <= set(file.keys())
    if held != "encoder.embed_tokens":
        model = seqgraft.BartForCausalLM.from_pretrained(tmp_path, is_decoder=True, add_cross_attention=True)
        assert torch.equal(model.get_input_embeddings().weight, table)
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    if held not in ("decoder.embed_tokens", "lm_head"):
        assert torch.equal(seqgraft.BartEncoder.from_pretrained(tmp_path).get_input_embeddings().weight, table)
