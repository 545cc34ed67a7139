"""Files that the original Flax and TensorFlow classes wrote: read bit for bit, whatever the framework."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from ..oracle import stored
from ..oracle.cases import values

KINDS = [
    (path.name.removesuffix(".zip"), kind)
    for path in stored.all_stored()
    if path.name.startswith("files_") and path.name.endswith(".zip")
    for kind in stored.kinds(path)
    if kind != "model.ckpt"
]


def same_values(place, tensors):
    """Every tensor of our own file equals the value drawn for its name; no other stands there."""
    found = load_file(place / "model.safetensors")
    poolers = {name for name in set(found) ^ set(tensors) if "pooler" in name}
    assert set(found) - poolers == set(tensors) - poolers
    for name in set(tensors) - poolers:
        assert np.array_equal(found[name], values(name, tuple(tensors[name]))), name


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_our_pair_opens_them(name, kind, tmp_path):
    from seqgraft import EncoderDecoderModel

    if kind in ("tf_model.h5", "tf shards"):
        pytest.importorskip("h5py")
    held = stored.read(name)
    place = stored.unpack(name, kind, tmp_path / "theirs")
    (place / "config.json").write_text(json.dumps(held["config"]), encoding="utf-8")
    EncoderDecoderModel.from_pretrained(place).save_pretrained(tmp_path / "ours")
    same_values(tmp_path / "ours", held["tensors"])


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_an_index_checkpoint_of_the_first_release(side, tmp_path):
    """`model.ckpt.index` with `from_tf=True` and `config=`, as the documentation has it."""
    from seqgraft import BertConfig, EncoderDecoderModel

    held = stored.read("files_index_checkpoint")
    place = stored.unpack("files_index_checkpoint", "model.ckpt", tmp_path / "theirs") / "model.ckpt.index"
    told = {f"{half}_{key}": value for half in ("encoder", "decoder") for key, value in _told(held).items()}
    pair = EncoderDecoderModel.from_encoder_decoder_pretrained(place, place, **told)
    assert isinstance(pair.config.encoder, BertConfig)
    pair.save_pretrained(tmp_path / "ours")
    found = load_file(tmp_path / "ours" / "model.safetensors")
    start = "encoder." if side == "encoder" else "decoder.bert."
    seen = 0
    for name, shape in held["tensors"].items():
        here = start + name.removeprefix("bert.") if name.startswith("bert.") else f"decoder.{name}"
        if here in found and (side == "decoder" or name.startswith("bert.")) and "pooler" not in name:
            assert np.array_equal(found[here], values(name, tuple(shape))), name
            seen += 1
    assert seen >= 37 + 5 * (side == "decoder")


def _told(held):
    from seqgraft import BertConfig

    return {"from_tf": True, "config": BertConfig(**_fields(held["config"]))}


def _fields(config):
    return {key: value for key, value in config.items() if key not in ("model_type", "transformers_version", "dtype")}


def test_an_index_checkpoint_lacking_its_data_says_so(tmp_path):
    from seqgraft import EncoderDecoderModel
    from seqgraft.errors import SeqgraftError

    held = stored.read("files_index_checkpoint")
    whole = stored.unpack("files_index_checkpoint", "model.ckpt", tmp_path / "theirs")
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(whole / "model.ckpt.index", alone)
    told = {f"{half}_{key}": value for half in ("encoder", "decoder") for key, value in _told(held).items()}
    with pytest.raises((SeqgraftError, OSError), match="data-00000-of-00001"):
        EncoderDecoderModel.from_encoder_decoder_pretrained(
            alone / "model.ckpt.index", alone / "model.ckpt.index", **told
        )
