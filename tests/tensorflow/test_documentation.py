"""The documentation's TensorFlow code, as it stands there, in a folder where its names are small checkpoints."""

import tensorflow as tf

from seqgraft import BertTokenizer, EncoderDecoderModel, TFEncoderDecoderModel

from ..documentation.conftest import documented, hub

__all__ = ["documented", "hub"]


def test_call():
    model = TFEncoderDecoderModel.from_encoder_decoder_pretrained("bert-base-cased", "gpt2")
    tokenizer = BertTokenizer.from_pretrained("bert-base-cased")
    input_ids = tokenizer.encode("Hello, my dog is cute", add_special_tokens=True, return_tensors="tf")
    outputs = model(input_ids=input_ids, decoder_input_ids=input_ids)
    assert outputs.logits.shape[:2] == input_ids.shape
    outputs = model(input_ids=input_ids, decoder_input_ids=input_ids, labels=input_ids)
    loss, logits = outputs.loss, outputs.logits
    assert loss.shape == (1,)
    model.save_pretrained("bert2gpt2")
    again = TFEncoderDecoderModel.from_pretrained("bert2gpt2")
    assert float(tf.reduce_max(tf.abs(again(input_ids=input_ids, decoder_input_ids=input_ids).logits - logits))) == 0
    generated = again.generate(input_ids, decoder_start_token_id=model.config.decoder.bos_token_id, max_length=6)
    assert generated[0, 0] == model.config.decoder.bos_token_id


def test_a_pytorch_checkpoint_opens_without_and_with_the_workaround():
    name = "patrickvonplaten/bert2bert-cnn_dailymail-fp16"
    _model = EncoderDecoderModel.from_pretrained(name)
    _model.encoder.save_pretrained("./encoder")
    _model.decoder.save_pretrained("./decoder")
    model = TFEncoderDecoderModel.from_encoder_decoder_pretrained(
        "./encoder", "./decoder", encoder_from_pt=True, decoder_from_pt=True
    )
    # This is only for copying some specific attributes of this particular model.
    model.config = _model.config
    ids = tf.constant([[5, 6, 7, 8]])
    directly = TFEncoderDecoderModel.from_pretrained(name, from_pt=True)
    apart = model(input_ids=ids, labels=ids).logits - directly(input_ids=ids, labels=ids).logits
    assert float(tf.reduce_max(tf.abs(apart))) == 0
