"""Output classes: the field's names and order, reached as attributes, keys and positions."""

import copy
import pickle
from dataclasses import fields

import pytest
import transformers.generation.utils as reference_generation
import transformers.modeling_outputs as reference_modeling

from seqgraft.generation import outputs

NAMES = [
    name
    for name, value in vars(outputs).items()
    if isinstance(value, type) and issubclass(value, outputs.ModelOutput) and name != "ModelOutput"
]
# The reference's class for ProphetNet alone has other fields; it says nothing of how assisted generation went.
ASSISTED = {"GenerateAssistedDecoderOnlyOutput", "GenerateAssistedEncoderDecoderOutput"}
OWN = {"CausalLMOutputWithStreams", *ASSISTED}
NAMES = [name for name in NAMES if name not in OWN]


def test_all_classes_are_checked():
    assert len(NAMES) == 10


@pytest.mark.parametrize("name", NAMES)
def test_fields_are_the_references(name):
    theirs = getattr(reference_modeling, name, None) or getattr(reference_generation, name)
    assert [f.name for f in fields(getattr(outputs, name))] == [f.name for f in fields(theirs)]


def test_further_streams_stand_behind_the_fields_of_one():
    one, more = (fields(getattr(outputs, f"CausalLMOutputWith{end}")) for end in ("CrossAttentions", "Streams"))
    assert [f.name for f in more] == [*(f.name for f in one), "logits_ngram"]


@pytest.mark.parametrize("name", sorted(ASSISTED))
def test_what_assistance_adds_stands_behind_the_fields(name):
    more, plain = fields(getattr(outputs, name)), fields(getattr(outputs, name.replace("Assisted", "")))
    assert [f.name for f in more] == [*(f.name for f in plain), "speculation"]


def test_attribute_key_and_position_agree():
    output = outputs.Seq2SeqLMOutput(logits=[1.0], encoder_last_hidden_state="states")
    assert output.logits is output["logits"] is output[0]
    assert output.loss is None
    assert "loss" not in output
    assert list(output) == list(output.keys()) == ["logits", "encoder_last_hidden_state"]
    assert list(output.values()) == [[1.0], "states"]
    assert output[:] == output.to_tuple() == ([1.0], "states")
    assert output[-1] == "states"
    with pytest.raises(KeyError):
        output["loss"]


def test_a_field_set_later_takes_its_place():
    output = outputs.Seq2SeqLMOutput(logits="logits", cross_attentions="cross")
    output.loss = 3.0
    assert output.to_tuple() == (3.0, "logits", "cross")
    output["decoder_attentions"] = "attentions"
    assert list(output) == ["loss", "logits", "decoder_attentions", "cross_attentions"]
    assert output.decoder_attentions == "attentions"
    output.loss = None
    assert list(output) == ["logits", "decoder_attentions", "cross_attentions"]
    with pytest.raises(KeyError, match="has the fields loss"):
        output["lost"] = 1


def test_copies_and_rebuilding_from_pairs():
    output = outputs.Seq2SeqLMOutput(loss=1.0, encoder_attentions=(2, 3))
    for other in (
        copy.copy(output),
        copy.deepcopy(output),
        pickle.loads(pickle.dumps(output)),
        type(output)((k, output[k]) for k in output),
        type(output)(dict(output)),
    ):
        assert type(other) is type(output)
        assert dict(other) == dict(output)
        assert other.encoder_attentions == (2, 3)
        assert other.logits is None


@pytest.mark.parametrize("name", ["pop", "setdefault", "update"])
def test_fixed_fields(name):
    output = outputs.BaseModelOutput("states")
    with pytest.raises(TypeError, match="fixed fields"):
        getattr(output, name)("last_hidden_state", 1)
    with pytest.raises(TypeError, match="fixed fields"):
        del output["last_hidden_state"]
