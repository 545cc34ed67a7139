"""Fault 20: what the reference took away is here (pipelines and the command line: `tests/documentation`)."""

import pytest
import torch
import transformers

import seqgraft
from seqgraft import AutoModelForCausalLM, EncoderDecoderModel

from . import tiny


@pytest.mark.parametrize("auto", ["AutoModel", "AutoModelForCausalLM", "AutoModelForSeq2SeqLM"])
def test_every_auto_class_opens_a_pair(auto, tmp_path):
    model = tiny.pair()
    model.save_pretrained(tmp_path)
    again = getattr(seqgraft, auto).from_pretrained(
        tmp_path, torch_dtype=torch.float64, device_map="auto", attn_implementation="sdpa"
    )
    assert type(again) is EncoderDecoderModel
    assert again.dtype == torch.float64
    made = again.generate(tiny.source().to(again.device), max_length=6, num_beams=4, early_stopping=True)
    expected = model.double().generate(tiny.source(), max_length=6, num_beams=4, early_stopping=True)
    assert torch.equal(made.cpu(), expected)
    assert type(getattr(seqgraft, auto).from_config(model.config)) is EncoderDecoderModel


def test_the_reference_refuses(tmp_path):
    tiny.pair().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="EncoderDecoderConfig"):
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    with pytest.raises(KeyError, match="summarization"):
        transformers.pipeline("summarization", model=str(tmp_path))


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_one_model_stays_one_model(family, written):
    model = AutoModelForCausalLM.from_pretrained(written[family])
    assert type(model).__name__ == tiny.causal_class(family).__name__
    with pytest.raises(ValueError, match=r"model_type must be 'encoder-decoder'.*from_encoder_decoder_pretrained"):
        seqgraft.AutoModelForSeq2SeqLM.from_pretrained(written[family])
