"""A pair can be split, its halves saved, and composed again with identical logits."""

import pytest
import torch
import transformers

import seqgraft
from seqgraft import EncoderDecoderModel

from ..faults import tiny

PAIRS = [p.split("2") for p in ("bert2bert", "bert2bart", "bert2llama", "bart2roberta", "llama2llama")]
PAIRS += [("roberta", "gpt2"), ("gpt2", "bert")]


def _out(model):
    with torch.no_grad():
        return model(input_ids=tiny.source(), labels=tiny.target()).logits


@pytest.mark.parametrize(("encoder", "decoder"), PAIRS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_identical_logits(encoder, decoder, dtype, written, tmp_path):
    first = EncoderDecoderModel.from_encoder_decoder_pretrained(written[encoder], written[decoder], dtype=dtype)
    tiny.open_gates(first)
    ids = {"decoder_start_token_id": tiny.START, "pad_token_id": 0}
    first.config.update(dict(ids))
    first.save_pretrained(tmp_path / "pair")
    pair = EncoderDecoderModel.from_pretrained(tmp_path / "pair")
    pair.encoder.save_pretrained(tmp_path / "encoder")
    pair.decoder.save_pretrained(tmp_path / "decoder")
    halves = tmp_path / "encoder", tmp_path / "decoder"
    opened = (
        seqgraft.AutoModel.from_pretrained(halves[0]),
        seqgraft.AutoModelForCausalLM.from_pretrained(halves[1]),
    )
    for again in (
        EncoderDecoderModel.from_encoder_decoder_pretrained(*halves),
        EncoderDecoderModel.from_encoder_decoder_pretrained(encoder_model=opened[0], decoder_model=opened[1]),
        EncoderDecoderModel(encoder=pair.encoder, decoder=pair.decoder),
        EncoderDecoderModel.from_encoder_decoder_pretrained(halves[0], decoder_model=pair.decoder),
    ):
        again.config.update(dict(ids))
        assert again.dtype == pair.dtype
        assert torch.equal(_out(again), _out(first))
    again.save_pretrained(tmp_path / "again")
    assert torch.equal(_out(EncoderDecoderModel.from_pretrained(tmp_path / "again")), _out(first))


def test_nothing_is_new_the_second_time(written, tmp_path, caplog):
    pair = EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], written["gpt2"])
    assert "new" in caplog.text
    pair.encoder.save_pretrained(tmp_path / "encoder")
    pair.decoder.save_pretrained(tmp_path / "decoder")
    caplog.clear()
    EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / "encoder", tmp_path / "decoder")
    assert caplog.text == ""


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2", "bart"])
def test_halves_open_in_the_reference(kind, written, tmp_path):
    pair = EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], written[kind])
    pair.decoder.save_pretrained(tmp_path)
    theirs = tiny.causal_class(kind, transformers).from_pretrained(tmp_path)
    memory = torch.randn(2, 6, tiny.WIDTH)
    ours = pair.decoder(tiny.target(), encoder_hidden_states=memory).logits
    other = theirs(tiny.target(), encoder_hidden_states=memory).logits
    torch.testing.assert_close(ours, other, atol=1e-5, rtol=1e-4)


def test_a_grafted_half_for_another_encoder_is_an_error_that_lists_all(written, tmp_path):
    pair = EncoderDecoderModel.from_encoder_decoder_pretrained(written["bert"], written["llama"])
    pair.decoder.save_pretrained(tmp_path / "decoder")
    tiny.write_reference("bert", tmp_path / "wide", hidden_size=24)
    with pytest.raises(ValueError, match="do not fit the model") as caught:
        EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path / "wide", tmp_path / "decoder")
    message = str(caught.value)
    assert "Of the wrong shape, 4 tensors" in message
    assert "must be [8, 24], but is [8, 16]" in message


def test_a_pair_is_no_half(tmp_path, written):
    tiny.pair().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"holds an encoder-decoder, not one model.*give its half as `encoder_model=`"):
        EncoderDecoderModel.from_encoder_decoder_pretrained(tmp_path, written["gpt2"])
    for load in (seqgraft.BertModel, seqgraft.BertLMHeadModel):
        with pytest.raises(ValueError, match="holds an encoder-decoder: open it with EncoderDecoderModel"):
            load.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"must .*encoder-decoder.*'gpt2'.*from_encoder_decoder_pretrained"):
        EncoderDecoderModel.from_pretrained(written["gpt2"])
