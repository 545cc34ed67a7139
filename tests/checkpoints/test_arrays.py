"""Numpy's reading and writing: the bits that PyTorch's has, for every family."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from seqgraft.checkpoints import open_weights
from seqgraft.checkpoints.arrays import ArrayReader, code_of_most, write_arrays
from seqgraft.checkpoints.initial import fresh
from seqgraft.checkpoints.matching import settle_ties
from seqgraft.checkpoints.pair_arrays import make_missing, pair_tensors, read_half, read_pair
from seqgraft.config import AutoConfig, EncoderDecoderConfig, config_class
from seqgraft.errors import CheckpointError, ConfigurationError
from seqgraft.families import family
from seqgraft.spec import parameters
from seqgraft.torch.model import EncoderDecoderModel

from ..families.rows import ROWS

BERT = {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 44, "max_position_embeddings": 72}  # fmt: skip


def same(one: np.ndarray, tensor: torch.Tensor) -> bool:
    theirs = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return one.shape == tuple(tensor.shape) and np.ascontiguousarray(one).tobytes() == theirs


def a_pair(model_type: str, fields: dict, dtype: torch.dtype = torch.float32) -> EncoderDecoderModel:
    config, declared = config_class(model_type)(**fields), family(model_type)
    bert = config_class("bert")(**BERT)
    halves = {side: config if getattr(declared, side) else bert for side in ("encoder", "decoder")}
    try:
        model = EncoderDecoderModel(EncoderDecoderConfig(**halves))
    except ConfigurationError as error:
        pytest.skip(str(error))
    return model.to(dtype)


def opened(folder: Path):
    config, files = AutoConfig.from_pretrained(folder), open_weights(folder)
    settle_ties(config.decoder, files, "decoder.")
    return config, read_pair(config, files, folder)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_family_reads_and_writes_what_pytorch_does(tmp_path, row):
    model = a_pair(row.model_type, row.config)
    model.save_pretrained(tmp_path / "a")
    config, pair = opened(tmp_path / "a")
    for side in ("encoder", "decoder"):
        half, arrays = getattr(model, side), getattr(pair, side).arrays
        assert set(arrays) == set(parameters(half.spec))
        assert all(same(array, half.get_parameter(name)) for name, array in arrays.items())
    write_arrays(tmp_path, pair_tensors(config, pair))
    assert (tmp_path / "model.safetensors").read_bytes() == (tmp_path / "a" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_fresh_weights_have_the_spread_of_pytorchs(row):
    model = a_pair(row.model_type, row.config)
    for half in (model.encoder, model.decoder):
        made = fresh(half.spec, parameters(half.spec), seed=3)
        for name, array in made.items():
            theirs = half.get_parameter(name).detach()
            assert array.shape == tuple(theirs.shape)
            spread = float(theirs.std()) if theirs.numel() > 1 else 0.0
            if spread == 0.0:
                assert same(array, theirs), name
            elif array.size > 500:
                assert abs(float(array.std()) / spread - 1) < 0.2, name


def test_fresh_numbers_are_a_names_own():
    spec = family("bert").half("decoder").spec(config_class("bert")(**BERT))
    one, other = fresh(spec, ["embed.weight"], 1), fresh(spec, ["positions.weight", "embed.weight"], 1)
    assert (one["embed.weight"] == other["embed.weight"]).all()
    assert not (one["embed.weight"] == fresh(spec, ["embed.weight"], 2)["embed.weight"]).any()


def test_a_pickle_with_views_and_half_floats(tmp_path):
    held = {
        "a": torch.randn(3, 5).half().t(),
        "b": torch.tensor(2.0),
        "none": torch.empty(0, 3),
        "c": torch.randn(7)[2:],
    }
    torch.save(held, tmp_path / "pytorch_model.bin")
    files = open_weights(tmp_path)
    assert all(same(ArrayReader(files).raw(name), tensor) for name, tensor in held.items())
    assert code_of_most(files) == "F16"


def test_what_a_map_is(tmp_path):
    """Writing to one changes neither the file nor the next reader's."""
    write_arrays(tmp_path, {"a": np.arange(6.0)})
    files = open_weights(tmp_path)
    ArrayReader(files).raw("a")[:] = 1
    assert (ArrayReader(files).raw("a") == np.arange(6.0)).all()
    assert files.metadata == {"format": "pt"}
    with pytest.raises(CheckpointError, match=r"must hold the tensor 'b'"):
        ArrayReader(files).raw("b")
    with (tmp_path / "model.safetensors").open("r+b") as stream:
        stream.truncate(100)
    with pytest.raises(CheckpointError, match="as when it was opened"):
        ArrayReader(files).raw("a")


def test_shards_open_in_the_library(tmp_path):
    held = {f"t{n}": np.random.default_rng(n).standard_normal((5, 3)).T for n in range(4)}
    written = write_arrays(tmp_path, held, max_shard_size=200)
    assert len(written) == 5
    read = {name: t for path in written[:-1] for name, t in load_file(path).items()}
    assert all(same(array, read[name]) for name, array in held.items())


def test_one_error_lists_all_of_both_halves(tmp_path):
    a_pair("gpt2", {"vocab_size": 61, "n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 72}).save_pretrained(
        tmp_path
    )
    config, files = AutoConfig.from_pretrained(tmp_path), open_weights(tmp_path)
    config.encoder.vocab_size, config.decoder.n_layer = 60, 2
    with pytest.raises(CheckpointError) as caught:
        read_pair(config, files, tmp_path)
    assert "encoder.wte.weight must be [60, 32], but is [61, 32]" in str(caught.value)
    assert "layers.1.cross_attention.query.weight" in str(caught.value)


def test_a_half_says_what_it_lacks_and_makes_it(tmp_path, caplog):
    bert = config_class("bert")
    plain = EncoderDecoderModel(EncoderDecoderConfig(encoder=bert(**BERT), decoder=bert(**BERT))).encoder
    plain.save_pretrained(tmp_path)
    config = bert(**BERT, is_decoder=True, add_cross_attention=True)
    half = read_half(config, "decoder", open_weights(tmp_path), tmp_path)
    spec = family("bert").half("decoder").spec(config)
    assert set(half.missing) == {n for n in parameters(spec) if "cross" in n or n.startswith("head.")}
    assert "cross-attention" in caplog.text
    assert set(make_missing(config, "decoder", half)) == {n for n in parameters(spec) if n.startswith("head.")}
    assert set(half.arrays) == set(parameters(spec))
    config.graft = {"init": "self_attention"}
    half = read_half(config, "decoder", open_weights(tmp_path), tmp_path)
    make_missing(config, "decoder", half)
    own, cross = (half.arrays[f"layers.1.{block}_attention.query.weight"] for block in ("self", "cross"))
    assert (own == cross).all()


def test_halves_that_were_called_tied_and_differ(tmp_path, caplog):
    bert = config_class("bert")
    model = EncoderDecoderModel(EncoderDecoderConfig(encoder=bert(**BERT), decoder=bert(**BERT)))
    model.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path, tie_encoder_decoder=True)
    read_pair(config, open_weights(tmp_path), tmp_path)
    assert not config.tie_encoder_decoder
    assert "untied" in caplog.text
