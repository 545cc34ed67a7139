"""The Flax class: torch's numbers, tokens, gradients and files, and what its users do with a module and a tree."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import seqgraft

jax = pytest.importorskip("jax")
pytest.importorskip("flax")
jnp = jax.numpy

from seqgraft.flax.tree import at, leaves, walked  # noqa: E402

IDS = np.array([[5, 6, 7, 8, 9, 0], [9, 8, 7, 0, 0, 0]], np.int32)
LABELS = np.array([[5, 6, 7, 2], [8, 2, -100, -100]], np.int32)
TEXT = {"pad_token_id": 0, "eos_token_id": 2, "bos_token_id": 1}
BERT = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 44,
    "max_position_embeddings": 64,
}
CONFIGS = {
    "bert+gpt2": lambda: seqgraft.EncoderDecoderConfig(
        encoder=seqgraft.BertConfig(**BERT, **TEXT),
        decoder=seqgraft.GPT2Config(
            vocab_size=61, n_embd=24, n_layer=2, n_head=4, n_positions=64, add_cross_attention=True, **TEXT
        ),
    ),
    "tied": lambda: seqgraft.EncoderDecoderConfig(
        encoder=seqgraft.BertConfig(**BERT, **TEXT),
        decoder=seqgraft.BertConfig(**BERT, **TEXT, is_decoder=True, add_cross_attention=True),
        tie_encoder_decoder=True,
    ),
    "bert+llama": lambda: seqgraft.EncoderDecoderConfig(
        encoder=seqgraft.BertConfig(**BERT, **TEXT),
        decoder=seqgraft.LlamaConfig(
            vocab_size=61,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=44,
            max_position_embeddings=64,
            add_cross_attention=True,
            graft={"how": "between", "gate": "tanh"},
            cross_attention_hidden_size=32,
            **TEXT,
        ),
    ),
    "marian": lambda: seqgraft.MarianConfig(
        vocab_size=61,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=44,
        decoder_ffn_dim=44,
        max_position_embeddings=64,
        pad_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=1,
    ),
}


@pytest.fixture(scope="module", params=list(CONFIGS))
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(torch's model, the Flax one from its folder, the folder)"""
    config = CONFIGS[request.param]()
    ours = seqgraft.MarianMTModel if request.param == "marian" else seqgraft.EncoderDecoderModel
    if request.param != "marian":
        config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 2
    torch.manual_seed(0)
    model = ours(config=config) if request.param != "marian" else ours(config)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    return model.eval(), seqgraft.FlaxEncoderDecoderModel.from_pretrained(folder), folder


def tensors(**arrays: Any) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array).long() for name, array in arrays.items()}


def test_loss_logits_and_gradients(both: Any, tmp_path: Path) -> None:
    model, flax, _ = both
    theirs = model(**tensors(input_ids=IDS, labels=LABELS))
    theirs.loss.backward()

    def lost(params: Any) -> Any:
        out = flax(IDS, labels=LABELS, params=params)
        return out.loss, out.logits

    (loss, logits), slopes = jax.jit(jax.value_and_grad(lost, has_aux=True))(flax.params)
    assert float(loss) == pytest.approx(theirs.loss.item(), rel=1e-5)
    assert np.allclose(np.asarray(logits), theirs.logits.detach().numpy(), atol=2e-5)
    for parameter in model.parameters():
        parameter.data = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
    model.save_pretrained(tmp_path)
    published = load_file(tmp_path / "model.safetensors")
    for leaf in leaves(flax.config):
        wanted = published[leaf.name]
        found = np.asarray(at(slopes, leaf.path))
        scale = max(np.abs(wanted).max(), 1e-3)
        assert np.abs(found - (wanted.T if leaf.turned else wanted)).max() < 1e-5 * scale + 1e-6, leaf.name


@pytest.mark.parametrize(
    "settings", [{}, {"num_beams": 3, "num_return_sequences": 2, "length_penalty": 2.0}, {"no_repeat_ngram_size": 2}]
)
def test_tokens(tmp_path: Path, settings: dict[str, Any], fresh: Any) -> None:
    model, flax, _ = fresh
    wanted = model.generate(**tensors(input_ids=IDS), max_new_tokens=10, **settings).numpy()
    found = np.asarray(flax.generate(IDS, max_new_tokens=10, **settings).sequences)
    assert np.array_equal(found[:, : wanted.shape[1]], wanted)
    assert (found[:, wanted.shape[1] :] == 0).all()


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A pair whose weights no test has changed."""
    config = CONFIGS["bert+gpt2"]()
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 2
    torch.manual_seed(1)
    model = seqgraft.EncoderDecoderModel(config=config)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    folder = tmp_path_factory.mktemp("fresh")
    model.save_pretrained(folder)
    return model, seqgraft.FlaxEncoderDecoderModel.from_pretrained(folder), folder


@pytest.mark.parametrize("safe", [False, True])
def test_files_go_round(fresh: Any, tmp_path: Path, safe: bool) -> None:
    model, flax, _ = fresh
    flax.save_pretrained(tmp_path, safe_serialization=safe)
    assert (tmp_path / ("model.safetensors" if safe else "flax_model.msgpack")).is_file()
    again = seqgraft.FlaxEncoderDecoderModel.from_pretrained(tmp_path)
    back = seqgraft.EncoderDecoderModel.from_pretrained(tmp_path)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), flax.params, again.params))
    for name, value in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], value), name


def test_saving_beside_anothers_files(fresh: Any, tmp_path: Path) -> None:
    """A folder may hold both frameworks' weights: each class opens its own, and a save replaces its own."""
    model, flax, _ = fresh
    model.save_pretrained(tmp_path)
    twice = jax.tree.map(lambda value: 2 * value, flax.params)
    flax.save_pretrained(tmp_path, params=twice)
    assert (tmp_path / "model.safetensors").is_file()
    again = seqgraft.FlaxEncoderDecoderModel.from_pretrained(tmp_path)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), twice, again.params))
    back = seqgraft.EncoderDecoderModel.from_pretrained(tmp_path)
    assert torch.equal(back.encoder.embed.weight, model.encoder.embed.weight)
    flax.save_pretrained(tmp_path, safe_serialization=True)
    assert not (tmp_path / "flax_model.msgpack").exists()


def test_a_pair_of_two_checkpoints(fresh: Any, tmp_path: Path) -> None:
    model, _, _ = fresh
    model.encoder.save_pretrained(tmp_path / "encoder")
    plain = seqgraft.GPT2Config(vocab_size=61, n_embd=24, n_layer=2, n_head=4, n_positions=64, **TEXT)
    seqgraft.GPT2LMHeadModel(plain).save_pretrained(tmp_path / "decoder")
    arguments = tmp_path / "encoder", tmp_path / "decoder"
    made = seqgraft.FlaxEncoderDecoderModel.from_encoder_decoder_pretrained(
        *arguments, encoder_from_pt=True, decoder_from_pt=True
    )
    assert made.config.decoder.add_cross_attention
    first = made.params["encoder"]["encoder"]["layer"]["0"]["attention"]["self"]["query"]["kernel"]
    assert np.array_equal(np.asarray(first).T, model.encoder.layers[0].self_attention.query.weight.detach().numpy())
    model_, params = seqgraft.FlaxEncoderDecoderModel.from_encoder_decoder_pretrained(*arguments, _do_init=False)
    assert jax.tree.structure(params) == jax.tree.structure(made.params)
    with pytest.raises(ValueError, match="`_do_init=False`"):
        _ = model_.params
    assert model_(IDS, decoder_input_ids=IDS, params=params).logits.shape == (2, 6, 61)


def test_the_module_is_linens(fresh: Any) -> None:
    """init, apply, eval_shape, dropout with its keys; the tree is the one that files fill."""
    _, flax, _ = fresh
    shapes = flax.params_shape_tree
    same = jax.tree.map(lambda a, b: a.shape == b.shape, shapes, flax.params)
    assert jax.tree.all(same)
    made = flax.module.init(jax.random.PRNGKey(0), IDS, None, IDS)["params"]
    assert jax.tree.structure(made) == jax.tree.structure(flax.params)
    assert {path for path, _ in walked(made)} == flax.required_params
    plain = flax.module.apply({"params": flax.params}, IDS, None, IDS).logits
    assert np.allclose(np.asarray(plain), np.asarray(flax(IDS, decoder_input_ids=IDS).logits), atol=1e-6)
    dropped = [
        np.asarray(flax(IDS, decoder_input_ids=IDS, train=True, dropout_rng=jax.random.PRNGKey(key)).logits)
        for key in (0, 0, 1)
    ]
    assert np.array_equal(dropped[0], dropped[1])
    assert not np.allclose(dropped[0], dropped[2], atol=1e-3)
    with pytest.raises(ValueError, match="`dropout_rng` must be a key"):
        flax(IDS, decoder_input_ids=IDS, train=True)


def test_encode_decode_and_a_cache(fresh: Any) -> None:
    _, flax, _ = fresh
    source = flax.encode(IDS)
    target = np.array([[1, 5, 6], [1, 7, 2]], np.int32)
    mask = (IDS != 0).astype(np.int32)
    whole = flax.decode(target, source, encoder_attention_mask=mask).logits
    cache = flax.init_cache(2, 8, source)
    for place in range(3):
        out = flax.decode(target[:, place : place + 1], source, encoder_attention_mask=mask, past_key_values=cache)
        cache = out.past_key_values
        assert np.allclose(np.asarray(out.logits[:, 0]), np.asarray(whole[:, place]), atol=1e-5)


def test_dtypes(fresh: Any) -> None:
    _, flax, folder = fresh
    small = flax.to_bf16(flax.params)
    assert {value.dtype.name for _, value in walked(small)} == {"bfloat16"}
    assert {value.dtype.name for _, value in walked(flax.to_fp32(small))} == {"float32"}
    mask = jax.tree.map(lambda _: False, flax.params)
    assert {value.dtype.name for _, value in walked(flax.to_fp16(flax.params, mask))} == {"float32"}
    half = seqgraft.FlaxEncoderDecoderModel.from_pretrained(folder, dtype=jnp.bfloat16)
    out = half(IDS, decoder_input_ids=IDS).logits
    assert out.dtype == jnp.bfloat16
    assert np.allclose(np.asarray(out, np.float32), np.asarray(flax(IDS, decoder_input_ids=IDS).logits), atol=0.5)


def test_what_is_not_offered_raises(fresh: Any) -> None:
    _, flax, _ = fresh
    for wrong in ({"penalty_alpha": 0.6, "top_k": 4}, {"num_beam_groups": 2, "num_beams": 4}, {"guidance_scale": 2.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            flax.generate(IDS, max_new_tokens=4, **wrong)
    with pytest.raises(TypeError, match="unexpected arguments: not_a_setting"):
        flax.generate(IDS, not_a_setting=1)
    with pytest.raises(ValueError, match="`input_ids` must be ids of the encoder's vocabulary"):
        flax.generate(IDS + 61)
    with pytest.raises(TypeError, match="`bbox` must be left out"):
        flax(IDS, decoder_input_ids=IDS, bbox=IDS)


def test_sampling_repeats_with_its_key(fresh: Any) -> None:
    _, flax, _ = fresh
    drawn = [
        np.asarray(flax.generate(IDS, do_sample=True, max_new_tokens=8, prng_key=jax.random.PRNGKey(key)).sequences)
        for key in (1, 1, 2)
    ]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
