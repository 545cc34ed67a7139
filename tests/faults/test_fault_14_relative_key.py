"""Fault 14: `position_embedding_type="relative_key"` is refused, wherever it stands."""

import json

import pytest
import transformers

import seqgraft
from seqgraft import EncoderDecoderModel

from . import tiny

MESSAGE = "`position_embedding_type` must be 'absolute', but is '{}'"
KINDS = ["relative_key", "relative_key_query"]


def test_the_reference_ignores_it():
    inputs = tiny.source()
    model = transformers.BertModel(tiny.config("bert", transformers, position_embedding_type="relative_key"))
    assert not any("distance" in name for name, _ in model.named_parameters())
    assert model(inputs).last_hidden_state is not None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_refused(family, kind, written, tmp_path):
    message = MESSAGE.format(kind)
    with pytest.raises(ValueError, match=message):
        tiny.config(family, position_embedding_type=kind)
    spoilt = tiny.config(family)
    spoilt.position_embedding_type = kind
    for make in (
        lambda: seqgraft.AutoModel.from_config(spoilt),
        lambda: seqgraft.AutoModelForCausalLM.from_config(spoilt),
        lambda: seqgraft.AutoModel.from_pretrained(written[family], config=spoilt),
        lambda: seqgraft.AutoModel.from_pretrained(written[family], position_embedding_type=kind),
        lambda: seqgraft.EncoderDecoderConfig(spoilt, tiny.config("bert")),
        lambda: seqgraft.EncoderDecoderConfig(tiny.config("bert"), spoilt.to_dict()),
        lambda: EncoderDecoderModel.from_encoder_decoder_pretrained(
            written[family], written["bert"], encoder_position_embedding_type=kind
        ),
        lambda: EncoderDecoderModel.from_encoder_decoder_pretrained(
            written["bert"], written[family], decoder_config=spoilt
        ),
    ):
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_refused_in_a_folder(side, tmp_path):
    model = tiny.pair()
    model.save_pretrained(tmp_path)
    said = json.loads((tmp_path / "config.json").read_text())
    said[side]["position_embedding_type"] = "relative_key"
    (tmp_path / "config.json").write_text(json.dumps(said))
    with pytest.raises(ValueError, match=MESSAGE.format("relative_key")):
        EncoderDecoderModel.from_pretrained(tmp_path)
    config = tiny.pair_config()
    getattr(config, side).position_embedding_type = "relative_key"
    for make in (EncoderDecoderModel, lambda c: EncoderDecoderModel.from_pretrained(tmp_path, config=c)):
        with pytest.raises(ValueError, match=MESSAGE.format("relative_key")):
            make(config)


def test_any_other_field_that_becomes_impossible_is_refused_too():
    """What a field may be is looked at again when a model is built of it."""
    config = tiny.config("bert")
    config.num_attention_heads = 3
    with pytest.raises(ValueError, match="`num_attention_heads` must divide `hidden_size`"):
        seqgraft.BertModel(config)
    config = tiny.config("llama")
    config.rope_parameters = {"rope_type": "nonsense", "rope_theta": 1e4}
    with pytest.raises(ValueError, match="rope_type"):
        seqgraft.LlamaForCausalLM(config)
