"""`EncoderDecoderConfig` and `AutoConfig` as a user meets them."""

import json

import pytest
import transformers

import seqgraft
from seqgraft import AutoConfig, EncoderDecoderConfig

from ..faults import tiny


def test_making():
    encoder, decoder = tiny.config("bert"), tiny.config("gpt2")
    for config in (
        EncoderDecoderConfig(encoder=encoder, decoder=decoder, pad_token_id=3),
        EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder, pad_token_id=3),
        EncoderDecoderConfig(encoder=encoder.to_dict(), decoder=decoder.to_dict(), pad_token_id=3),
    ):
        assert config.model_type == "encoder-decoder"
        assert config.is_encoder_decoder
        assert config.pad_token_id == 3
        assert isinstance(config.encoder, seqgraft.BertConfig)
        assert isinstance(config.decoder, seqgraft.GPT2Config)
        assert config.encoder is not encoder
        assert config.decoder.is_decoder
        assert config.decoder.add_cross_attention
        assert not config.encoder.is_decoder
    assert not decoder.is_decoder


def test_round_trip(tmp_path):
    config = tiny.pair_config("roberta", "gpt2", decoder_start_token_id=4, tie_encoder_decoder=False, own_field=[1, 2])
    config.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="own_field"):
        again = EncoderDecoderConfig.from_pretrained(tmp_path)
    assert again == config
    assert again.own_field == [1, 2]
    assert again.to_dict() == config.to_dict() == json.loads((tmp_path / "config.json").read_text())
    assert EncoderDecoderConfig.from_dict(config.to_dict()) == config
    assert json.loads(config.to_json_string()) == config.to_dict()
    assert type(AutoConfig.from_pretrained(tmp_path)) is EncoderDecoderConfig
    changed = EncoderDecoderConfig.from_pretrained(tmp_path, decoder_start_token_id=9)
    assert changed.decoder_start_token_id == 9
    assert config.decoder_start_token_id == 4


def test_the_reference_reads_ours_and_we_read_the_references(tmp_path):
    ours = tiny.pair_config("bert", "gpt2", decoder_start_token_id=4, pad_token_id=0)
    ours.save_pretrained(tmp_path)
    theirs = transformers.AutoConfig.from_pretrained(tmp_path)
    assert theirs.decoder.n_embd == tiny.WIDTH
    assert theirs.decoder_start_token_id == 4
    theirs.save_pretrained(tmp_path / "back")
    back = AutoConfig.from_pretrained(tmp_path / "back")
    for side in ("encoder", "decoder"):
        mine, other = getattr(ours, side), getattr(back, side)
        assert all(getattr(other, name) == getattr(mine, name) for name in mine.published)


def test_common_names_of_a_family():
    config = tiny.config("gpt2")
    assert (config.hidden_size, config.num_hidden_layers) == (config.n_embd, config.n_layer)
    config.hidden_size = 32
    assert config.n_embd == 32
    assert "hidden_size" not in config.to_dict()
    assert seqgraft.GPT2Config(hidden_size=24, num_attention_heads=2).n_embd == 24
    with pytest.raises(AttributeError, match="GPT2Config has no field 'nonsense'"):
        _ = config.nonsense


def test_dtype_under_both_names():
    config = seqgraft.BertConfig(torch_dtype="bfloat16")
    assert config.dtype == config.torch_dtype == "bfloat16"
    config.torch_dtype = "torch.float16"
    assert config.to_dict()["dtype"] == "float16"


def test_for_model():
    assert AutoConfig.for_model("bert", hidden_size=24, num_attention_heads=2).hidden_size == 24
    with pytest.raises(TypeError, match="AutoConfig is not made"):
        AutoConfig()


def test_printing_shows_the_fields():
    text = repr(tiny.pair_config(pad_token_id=7))
    assert text.startswith("EncoderDecoderConfig {")
    assert '"pad_token_id": 7' in text


ERRORS = [
    (lambda: EncoderDecoderConfig(), "must have the configurations of both halves, but has no `encoder`"),
    (lambda: EncoderDecoderConfig(encoder=tiny.config("bert")), "but has no `decoder`"),
    (lambda: EncoderDecoderConfig("bert", "bert"), "`encoder` must be a configuration or a dictionary, but is a str"),
    (lambda: EncoderDecoderConfig({"hidden_size": 3}, {}), "`encoder` must state its model_type"),
    (
        lambda: EncoderDecoderConfig({"model_type": "nonsense"}, {"model_type": "bert"}),
        "model_type must be one of .*bert.*, but is 'nonsense'",
    ),
    (lambda: AutoConfig.for_model("t6"), "model_type must be one of .*, but is 't6'"),
    (lambda: EncoderDecoderConfig.from_dict({"model_type": "bert"}), "reads model_type 'encoder-decoder', .* 'bert'"),
    (
        lambda: seqgraft.BertConfig(hidden_size=10, num_attention_heads=3),
        r"`num_attention_heads` must divide `hidden_size` \(10\), but is 3",
    ),
    (
        lambda: seqgraft.LlamaConfig(num_attention_heads=12, num_key_value_heads=5),
        r"`num_key_value_heads` must divide `num_attention_heads` \(12\), but is 5",
    ),
    (lambda: seqgraft.BertModel(tiny.config("bert", hidden_act="nonsense")), "must be .*, but is 'nonsense'"),
    (lambda: seqgraft.BertModel(tiny.config("gpt2")), "needs a configuration of model_type 'bert', but .* 'gpt2'"),
]


@pytest.mark.parametrize(("make", "message"), ERRORS)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_folder_without_model_type(tmp_path):
    (tmp_path / "config.json").write_text('{"hidden_size": 3}')
    with pytest.raises(ValueError, match="must state its model_type"):
        AutoConfig.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(OSError, match="must hold a JSON object, but holds a list"):
        AutoConfig.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(OSError, match="must hold JSON, but does not"):
        AutoConfig.from_pretrained(tmp_path)
