"""`TFEncoderDecoderModel` says what the PyTorch pair of the same weights says, in every way that it may be asked."""

import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

import seqgraft
from seqgraft.tensorflow.model import TFEncoderDecoderModel
from seqgraft.tensorflow.outputs import TFSeq2SeqLMOutput

from ..families.rows import VOCABULARY, distance
from .pairs import BERT, GPT2, IDS, LLAMA, Pairs, batch, configuration, torched

BOUND = 1e-5
NAMES = ["bert", "gpt2", "shared", "bart", "llama"]
DECODERS = {"decoder_input_ids": np.array([[2, 9, 8], [2, 7, 0], [2, 5, 4]], np.int32)}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    return Pairs(tmp_path_factory.mktemp("pairs"))


def apart(ours: Any, theirs: Any) -> float:
    return distance(torch.from_numpy(np.array(ours)), theirs.detach())


@pytest.mark.parametrize("name", NAMES)
def test_everything_that_a_call_says(pairs: Pairs, name: str) -> None:
    asked = {"output_hidden_states": True, "output_attentions": True}
    ours = pairs.ours(name)(**batch(), **asked)
    theirs = pairs.torch(name)(**torched(batch()), **asked)
    assert isinstance(ours, TFSeq2SeqLMOutput)
    assert ours.loss.shape == (1,)
    assert list(ours) == list(theirs)
    assert abs(float(ours.loss[0]) - theirs.loss.item()) < BOUND * theirs.loss.item()
    source = batch()["attention_mask"] == 1
    assert apart(ours.logits, theirs.logits) < BOUND
    assert apart(ours.encoder_last_hidden_state[source], theirs.encoder_last_hidden_state[source]) < BOUND
    for part in ("decoder_hidden_states", "decoder_attentions", "cross_attentions"):
        for own, their in zip(ours[part], theirs[part], strict=True):
            assert apart(own, their) < BOUND, part
    assert [len(ours[p]) for p in ("encoder_hidden_states", "encoder_attentions")] == [3, 2]


def test_a_tuple_a_dictionary_and_a_list(pairs: Pairs) -> None:
    ours, given = pairs.ours("bert"), batch()
    whole = ours(**given)
    loss, logits, states = ours(given, return_dict=False)
    assert np.array_equal(loss, whole.loss)
    assert np.array_equal(logits, whole.logits)
    assert np.array_equal(states, whole.encoder_last_hidden_state)
    first = [given["input_ids"], given["attention_mask"], DECODERS["decoder_input_ids"]]
    apart_ = ours(first).logits - ours(given["input_ids"], given["attention_mask"], **DECODERS).logits
    assert float(tf.reduce_max(tf.abs(apart_))) == 0
    with pytest.raises(ValueError, match="`labels` must be given, but none is"):
        ours(input_ids=given["input_ids"])
    with pytest.raises(TypeError, match="`nonsense` must be left out"):
        ours(**given, nonsense=given["labels"])
    with pytest.raises(ValueError, match="given once"):
        ours(given, labels=given["labels"])


@pytest.mark.parametrize("name", ["bert", "gpt2", "bart"])
def test_the_cache_goes_on(pairs: Pairs, name: str) -> None:
    ours, given = pairs.ours(name), batch()
    del given["labels"]
    ids = np.array([[2, 9, 8, 7], [2, 7, 5, 11], [2, 5, 4, 12]], np.int32)
    whole = ours(**given, decoder_input_ids=ids, use_cache=False)
    assert whole.past_key_values is None
    first = ours(**given, decoder_input_ids=ids[:, :2])
    assert len(first.past_key_values[0]) == 4
    states = (first.encoder_last_hidden_state,)
    rest = ours(
        attention_mask=given["attention_mask"],
        encoder_outputs=states,
        decoder_input_ids=ids[:, 2:],
        past_key_values=first.past_key_values,
    )
    assert apart(rest.logits, torch.from_numpy(whole.logits.numpy()[:, 2:])) < BOUND
    assert rest.past_key_values[0][0].shape[2] == 4


def test_embeddings_and_the_encoder_alone(pairs: Pairs) -> None:
    ours, given = pairs.ours("bert"), batch()
    table = ours.get_input_embeddings()
    source = ours.get_encoder()(given["input_ids"], given["attention_mask"])
    embedded = ours(
        inputs_embeds=tf.gather(table.value, given["input_ids"]), attention_mask=given["attention_mask"], **DECODERS
    )
    reused = ours(encoder_outputs=source, attention_mask=given["attention_mask"], **DECODERS)
    assert apart(embedded.logits, torch.from_numpy(reused.logits.numpy())) < BOUND
    with pytest.raises(TypeError, match="through its pair"):
        ours.get_decoder()(given["input_ids"])


def test_half_precision(pairs: Pairs) -> None:
    half, given = pairs.ours("gpt2", dtype="bfloat16"), batch()
    out = half(given)
    assert out.logits.dtype == tf.bfloat16
    assert out.loss.dtype == tf.float32
    assert (
        distance(torch.from_numpy(out.logits.numpy().astype("float32")), pairs.torch("gpt2")(**torched(given))[1]) < 0.1
    )
    assert half.generate(given["input_ids"], max_length=5).shape == (3, 5)


@pytest.mark.parametrize("compiled", [False, True])
def test_traced_with_unknown_sizes(pairs: Pairs, compiled: bool) -> None:
    ours, given = pairs.ours("bert"), batch()
    spec = {name: tf.TensorSpec((None, None), tf.int32) for name in given}
    traced = tf.function(lambda inputs: ours(inputs), input_signature=[spec], jit_compile=compiled, autograph=False)
    out = traced(given)
    assert apart(out.logits, torch.from_numpy(ours(given).logits.numpy())) < BOUND
    assert abs(float(out.loss[0] - ours(given).loss[0])) < BOUND


@pytest.mark.parametrize("name", ["bert", "gpt2", "shared"])
def test_gradients(pairs: Pairs, name: str) -> None:
    ours, theirs = pairs.ours(name), pairs.torch(name)
    theirs.zero_grad()
    theirs(**torched(batch())).loss.backward()
    with tf.GradientTape() as tape:
        loss = ours(**batch()).loss
    found = tape.gradient(loss, [v.value for v in ours.trainable_variables])
    found = sorted(float(np.linalg.norm(tf.convert_to_tensor(g))) for g in found if g is not None)
    held = {n: p for n, p in theirs.named_parameters() if p.grad is not None}
    wanted = sorted(float(p.grad.norm()) for p in held.values() if float(p.grad.norm()) > 0)
    assert np.allclose(found[-len(wanted) :], wanted, atol=BOUND * wanted[-1])
    theirs.zero_grad()


def test_dropout_is_drawn_anew_and_again(pairs: Pairs) -> None:
    config = configuration("bert")
    config.encoder.hidden_dropout_prob = 0.3
    ours, given = TFEncoderDecoderModel(config), batch()
    plain, first, second = (ours(given, training=t).logits.numpy() for t in (False, True, True))
    assert np.abs(first - plain).max() > 1e-3
    assert np.abs(first - second).max() > 1e-3
    assert np.array_equal(plain, ours(given).logits)


@pytest.mark.parametrize(("beside", "compiled"), [(False, False), (True, False), (False, True)])
def test_fit(pairs: Pairs, beside: bool, compiled: bool) -> None:
    """One epoch is one step of plain descent: the weights that it leaves are torch's."""
    ours, theirs, given = pairs.ours("bert"), Pairs._torch(pairs, "bert"), batch()
    ours.compile(optimizer=keras.optimizers.SGD(0.1), jit_compile=compiled)
    inputs = {name: given[name] for name in ("input_ids", "attention_mask")}
    data = (inputs, given["labels"]) if beside else given
    history = ours.fit(tf.data.Dataset.from_tensors(data), epochs=2, verbose=0).history["loss"]
    optimizer = torch.optim.SGD(theirs.parameters(), 0.1)
    for told in history:
        loss = theirs(**torched(given)).loss
        assert abs(told - loss.item()) < BOUND * loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert apart(ours(given).logits, theirs(**torched(given)).logits) < 1e-4
    assert abs(ours.evaluate(given, verbose=0, batch_size=3) - float(ours(given).loss[0])) < BOUND
    said = ours.predict({**inputs, **DECODERS}, verbose=0)
    assert said["logits"].shape == (3, 3, VOCABULARY)
    assert "past_key_values" not in said


SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beams": {"num_beams": 3, "num_return_sequences": 2},
    "rules": {"no_repeat_ngram_size": 2, "min_length": 6, "bad_words_ids": [[7], [8, 9]]},
}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", ["bert", "bart"])
def test_tokens(pairs: Pairs, name: str, settings: str) -> None:
    given = {name: value for name, value in batch().items() if name != "labels"}
    theirs = pairs.torch(name).generate(**torched(given), max_length=12, **SETTINGS[settings]).numpy()
    assert np.array_equal(pairs.ours(name).generate(**given, max_length=12, **SETTINGS[settings]), theirs)


@pytest.mark.parametrize("settings", ["greedy", "beams"])
def test_tokens_are_the_same_within_a_program(pairs: Pairs, settings: str) -> None:
    """Traced by the caller, and compiled by XLA."""
    ours, given = pairs.ours("bert"), {name: value for name, value in batch().items() if name != "labels"}
    called = ours.generate(**given, max_length=9, **SETTINGS[settings]).numpy()
    for compiled in (False, True):
        program = tf.function(lambda i: ours.generate(**i, max_length=9, **SETTINGS[settings]), jit_compile=compiled)
        found = program(given).numpy()
        assert found.shape[1] == 9
        assert np.array_equal(found[:, : called.shape[1]], called)


def test_other_lengths_are_one_program(pairs: Pairs) -> None:
    ours = pairs.ours("bert")
    for time in (7, 9, 11):
        given = batch(time)
        del given["labels"]
        theirs = pairs.torch("bert").generate(**torched(given), max_length=8).numpy()
        assert np.array_equal(ours.generate(given, max_length=8), theirs)
    (program,) = ours.held.programs.values()
    assert program.experimental_get_tracing_count() == 2


def test_sampling_is_its_seed(pairs: Pairs) -> None:
    ours, ids = pairs.ours("bert"), batch()["input_ids"]
    asked = {"do_sample": True, "max_length": 16, "top_k": 0}
    first = ours.generate(ids, seed=(1, 2), **asked).numpy()
    assert np.array_equal(first, ours.generate(ids, seed=(1, 2), jit_compile=True, **asked))
    assert not np.array_equal(first, ours.generate(ids, seed=5, **asked))
    out = ours.generate(ids, return_dict_in_generate=True, num_beams=2, max_length=8)
    assert out.sequences_scores.shape == (3,)
    with pytest.raises(ValueError, match="logits_processor"):
        ours.generate(ids, logits_processor=[len])
    with pytest.raises(TypeError, match="nonsense"):
        ours.generate(ids, nonsense=1)


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_and_back(pairs: Pairs, name: str, safe: bool, tmp_path: Any) -> None:
    ours, given = pairs.ours(name), batch()
    ours.generation_config.num_beams = 3
    ours.save_pretrained(tmp_path, safe_serialization=safe)
    assert (tmp_path / ("model.safetensors" if safe else "tf_model.h5")).exists()
    again = TFEncoderDecoderModel.from_pretrained(tmp_path)
    assert again.generation_config.num_beams == 3
    assert np.array_equal(again(given).logits, ours(given).logits)
    back = seqgraft.EncoderDecoderModel.from_pretrained(tmp_path)
    assert all(torch.equal(v, pairs.torch(name).state_dict()[n]) for n, v in back.state_dict().items())


def test_a_saved_model_serves(pairs: Pairs, tmp_path: Any) -> None:
    ours, given = pairs.ours("gpt2"), {**batch(9), **DECODERS}
    del given["labels"]
    given["decoder_attention_mask"] = np.ones_like(given["decoder_input_ids"])

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32, name="input_ids")], autograph=False)
    def generate(input_ids: Any) -> Any:
        return {"sequences": ours.generate(input_ids, max_length=8)}

    ours.save_pretrained(tmp_path, saved_model=True, signatures={"serving_default": ours.serving, "generate": generate})
    ours.export(tmp_path / "exported")
    for folder in (tmp_path / "saved_model" / "1", tmp_path / "exported"):
        held = tf.saved_model.load(str(folder))
        said = held.signatures["serving_default"](**{name: tf.constant(value) for name, value in given.items()})
        assert apart(said["logits"], torch.from_numpy(ours(given).logits.numpy())) < BOUND
        if folder.name == "1":
            tokens = held.signatures["generate"](input_ids=tf.constant(given["input_ids"]))["sequences"]
            wanted = ours.generate(given["input_ids"], max_length=8).numpy()
            assert np.array_equal(tokens[:, : wanted.shape[1]], wanted)


def test_two_checkpoints_become_a_pair(tmp_path: Any) -> None:
    torch.manual_seed(0)
    seqgraft.BertModel(seqgraft.BertConfig(**BERT)).save_pretrained(tmp_path / "bert")
    seqgraft.GPT2LMHeadModel(seqgraft.GPT2Config(**GPT2)).save_pretrained(tmp_path / "gpt2")
    seqgraft.LlamaForCausalLM(seqgraft.LlamaConfig(**LLAMA)).save_pretrained(tmp_path / "llama")
    ours = TFEncoderDecoderModel.from_encoder_decoder_pretrained(
        tmp_path / "bert",
        tmp_path / "gpt2",
        encoder_from_pt=True,
        decoder_from_pt=True,
        encoder_hidden_dropout_prob=0.0,
    )
    assert ours.config.encoder.hidden_dropout_prob == 0
    ours.config.decoder_start_token_id, ours.config.pad_token_id = 2, 0
    given = batch()
    assert float(ours(given).loss[0]) > 0
    parts = TFEncoderDecoderModel(encoder=ours.encoder, decoder=ours)
    parts.config = ours.config
    assert np.array_equal(parts(given).encoder_last_hidden_state, ours(given).encoder_last_hidden_state)
    grafted = TFEncoderDecoderModel.from_encoder_decoder_pretrained(
        tmp_path / "bert", tmp_path / "llama", decoder_graft={"how": "inserted"}, **IDS
    )
    plain = seqgraft.LlamaForCausalLM.from_pretrained(tmp_path / "llama")(torch.from_numpy(given["input_ids"]).long())
    shut = grafted(given["input_ids"], decoder_input_ids=given["input_ids"], decoder_attention_mask=given["input_ids"])
    assert apart(shut.logits[0], plain.logits[0]) < BOUND  # the gate is shut: the plain decoder
    ours.encoder.save_pretrained(tmp_path / "half")
    again = seqgraft.BertModel.from_pretrained(tmp_path / "half").get_input_embeddings().weight.detach()
    assert apart(ours.get_input_embeddings().value, again) == 0
    with pytest.raises(TypeError, match="`encoder_model` must be"):
        TFEncoderDecoderModel(encoder=object(), decoder=ours)


def test_another_vocabulary(pairs: Pairs, tmp_path: Any) -> None:
    ours, given = pairs.ours("bert"), batch()
    before = ours(given).logits
    with pytest.raises(TypeError, match="two vocabularies"):
        ours.resize_token_embeddings(5)
    ours.decoder.resize_token_embeddings(VOCABULARY + 3, pad_to_multiple_of=8)
    wider = ours(given).logits
    assert wider.shape[-1] == -(-(VOCABULARY + 3) // 8) * 8
    assert np.allclose(wider[..., :VOCABULARY], before, atol=1e-5)
    ours.save_pretrained(tmp_path)
    assert TFEncoderDecoderModel.from_pretrained(tmp_path).config.decoder.vocab_size == wider.shape[-1]
    shared = pairs.ours("bart")
    shared.resize_token_embeddings(VOCABULARY - 2)
    assert shared(input_ids=given["input_ids"] % 50, **DECODERS).logits.shape[-1] == VOCABULARY - 2


def test_keras_makes_it_again(pairs: Pairs, tmp_path: Any) -> None:
    ours, given = pairs.ours("bert"), batch()
    made = TFEncoderDecoderModel.from_config(ours.get_config())
    ours.save_weights(tmp_path / "w.weights.h5")
    made.load_weights(tmp_path / "w.weights.h5")
    assert np.array_equal(made(given).logits, ours(given).logits)
    assert isinstance(ours, tf.keras.Model)
    ours.freeze_encoder()
    assert {v.name.split(".")[0] for v in ours.trainable_variables} == {"decoder"}


def test_nothing_of_torch(pairs: Pairs) -> None:
    code = (
        "import sys, seqgraft\n"
        f"model = seqgraft.TFEncoderDecoderModel.from_pretrained({str(pairs.folder('bert'))!r})\n"
        "print(model.generate([[5, 6, 7]], max_length=5).shape, 'torch' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split()[-1] == "False", run.stdout


def test_ids_that_change_after_a_program_was_made_count(pairs: Pairs, tmp_path: Any) -> None:
    """A padding id set on the configuration hides other tokens of the source than before."""
    ours, source = pairs.ours("bert"), np.array([[5, 6, 7, 9, 9, 9]], np.int32)
    before = ours.generate(source, max_new_tokens=4, return_dict_in_generate=True, num_beams=2, output_scores=True)
    ours.config.encoder.pad_token_id = 9
    after = ours.generate(source, max_new_tokens=4, return_dict_in_generate=True, num_beams=2, output_scores=True)
    mask = (source != 9).astype(np.int32)
    said = ours.generate(
        source, attention_mask=mask, max_new_tokens=4, return_dict_in_generate=True, num_beams=2, output_scores=True
    )
    assert np.allclose(after[1], said[1], atol=1e-6)
    assert not np.allclose(after[1], before[1], atol=1e-6)
