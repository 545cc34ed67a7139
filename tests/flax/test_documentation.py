"""The documentation's Flax code, as it stands there, in a folder where its names are small checkpoints."""

import numpy as np
import pytest
import torch

pytest.importorskip("jax")
pytest.importorskip("flax")

from seqgraft import BertTokenizer, EncoderDecoderModel, FlaxEncoderDecoderModel, GPT2Tokenizer

from ..documentation.conftest import documented, hub

__all__ = ["documented", "hub"]


def test_generate():
    """004; the ids that are set after loading count."""
    model = FlaxEncoderDecoderModel.from_pretrained("patrickvonplaten/bert2gpt2-cnn_dailymail-fp16")
    tokenizer_input = BertTokenizer.from_pretrained("bert-base-cased")
    tokenizer_output = GPT2Tokenizer.from_pretrained("gpt2")

    article = """Sigma Alpha Epsilon is under fire for a video showing party-bound fraternity members"""

    input_ids = tokenizer_input(article, add_special_tokens=True, return_tensors="np").input_ids
    input_ids = np.minimum(input_ids, model.config.encoder.vocab_size - 1)  # the small pair has fewer words

    model.config.eos_token_id = model.config.decoder.eos_token_id
    model.config.pad_token_id = model.config.eos_token_id

    sequences = model.generate(input_ids, num_beams=4, max_length=12).sequences

    summary = tokenizer_output.batch_decode(sequences, skip_special_tokens=True)[0]

    theirs = EncoderDecoderModel.from_pretrained("patrickvonplaten/bert2gpt2-cnn_dailymail-fp16", dtype=torch.float32)
    theirs.config.eos_token_id = theirs.config.decoder.eos_token_id
    theirs.config.pad_token_id = theirs.config.eos_token_id
    wanted = theirs.generate(torch.from_numpy(np.array(input_ids)).long(), num_beams=4, max_length=12)
    assert summary == tokenizer_output.batch_decode(wanted, skip_special_tokens=True)[0]
    assert sequences.shape == (1, 12)


def test_composing():
    """004: from_encoder_decoder_pretrained, saved and opened again."""
    model = FlaxEncoderDecoderModel.from_encoder_decoder_pretrained("bert-base-cased", "gpt2")
    model.save_pretrained("./bert2gpt2-flax")
    again = FlaxEncoderDecoderModel.from_pretrained("./bert2gpt2-flax")
    ids = np.array([[5, 6, 7]])
    assert np.array_equal(again(ids, decoder_input_ids=ids).logits, model(ids, decoder_input_ids=ids).logits)
