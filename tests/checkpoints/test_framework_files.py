"""Files of Flax and TensorFlow, written and read again bit for bit; what is damaged or wants more than arrays."""

import base64
import struct

import numpy as np
import pytest

from seqgraft.checkpoints import open_weights
from seqgraft.checkpoints.arrays import ArrayReader
from seqgraft.checkpoints.crc32c import crc32c
from seqgraft.checkpoints.flax_file import read_flax, write_flax
from seqgraft.errors import CheckpointError, FolderError

from .tiny import PAIRS, opened, same, written

WAYS = [("flax", False), ("flax", True), ("tf", False), ("tf", True)]


def needs(framework, safetensors):
    if framework == "tf" and not safetensors:
        pytest.importorskip("h5py")


@pytest.mark.parametrize("most", ["50GB", 3000], ids=["single", "shards"])
@pytest.mark.parametrize(("framework", "safetensors"), WAYS)
@pytest.mark.parametrize("name", PAIRS)
def test_a_round_trip_keeps_every_bit(tmp_path, name, framework, safetensors, most):
    needs(framework, safetensors)
    tensors = written(tmp_path, name, framework, safetensors=safetensors, max_shard_size=most)
    assert len(list(tmp_path.glob("*-of-*"))) > 2 or most == "50GB"
    assert same(opened(tmp_path), tensors)
    assert same(opened(tmp_path, **{f"from_{framework}": True}), tensors)
    other = "flax" if framework == "tf" else "tf"
    with pytest.raises(FolderError, match=rf"Without `from_{other}` any framework's files serve"):
        opened(tmp_path, **{f"from_{other}": True})


def test_the_one_bias_of_an_untied_head(tmp_path):
    """PyTorch's head has two, of which one is idle; Flax's has one."""
    tensors = written(tmp_path, "bert+bert", "flax", fields={"tie_word_embeddings": False})
    headers = read_flax(tmp_path / "flax_model.msgpack")
    assert "decoder/cls/predictions/decoder/kernel" in headers
    assert "decoder/cls/predictions/decoder/bias" not in headers
    bias = "decoder.cls.predictions.decoder.bias"
    assert (opened(tmp_path)[bias] == tensors[bias]).all()


def test_flax_reads_what_we_write_and_we_what_it_writes(tmp_path):
    serialization = pytest.importorskip("flax.serialization")
    random = np.random.default_rng(0)
    shapes = {"a/b": (3, 5), "a/c": (), "d": (300, 70), "e/none": (0, 4), "f": (1,), "g": (16,)}
    arrays = {path: np.asarray(random.standard_normal(shape), np.float32) for path, shape in shapes.items()}
    arrays["half"] = arrays["d"].astype(np.float16).T
    write_flax(tmp_path / "flax_model.msgpack", arrays)
    theirs = serialization.msgpack_restore((tmp_path / "flax_model.msgpack").read_bytes())
    assert all(np.array_equal(theirs[path[0]][path[2:]] if "/" in path else theirs[path], array)
               for path, array in arrays.items())  # fmt: skip
    (tmp_path / "flax_model.msgpack").write_bytes(serialization.to_bytes(theirs))
    files = open_weights(tmp_path)
    assert all(np.array_equal(ArrayReader(files).raw(p.replace("/", ".")), array) for p, array in arrays.items())


def test_an_array_of_several_chunks(tmp_path, monkeypatch):
    serialization = pytest.importorskip("flax.serialization")
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", 100)
    monkeypatch.setattr("seqgraft.checkpoints.flax_file._CHUNK", 100)
    table = np.arange(90, dtype=np.float32).reshape(18, 5)
    path = tmp_path / "flax_model.msgpack"
    for data in (serialization.to_bytes({"embed": {"embedding": table}, "x": {"kernel": table}}), None):
        if data is None:
            write_flax(path, {"embed/embedding": table, "x/kernel": table})
            again = serialization.msgpack_restore(path.read_bytes())
            assert np.array_equal(again["x"]["kernel"], table)
        else:
            path.write_bytes(data)
        files = open_weights(tmp_path)
        assert np.array_equal(ArrayReader(files).raw("embed.weight"), table)
        assert np.array_equal(ArrayReader(files).raw("x.weight"), table.T)


def an_array(shape=b"\x91\x02", dtype=b"\xa7float32", data=b"\xc4\x08" + b"\0" * 8, kind=1, count=3) -> bytes:
    inside = bytes([0x90 | count]) + shape + dtype + data
    return bytes([0xC7, len(inside), kind]) + inside


WRONG = [
    (b"", "is empty"),
    (b"\x81\xa1a" + an_array(kind=2), "must be an array .*but is an extension of type 2"),
    (b"\x81\xa1a" + an_array(kind=3), "extension of type 3"),
    (b"\x81\xa1a\xc3", "must be an array or a dictionary"),
    (b"\x81\xa1a" + an_array()[:-1], "it is truncated"),
    (b"\x81\xa1a" + an_array() + b"\0", "goes on for 1 bytes"),
    (b"\x82\xa1a" + an_array() + b"\xa1a" + an_array(), "names 'a' twice"),
    (b"\x81\xa1a" + an_array(shape=b"\x91\x03"), r"\[3\] float32 must take all of its"),
    (b"\x81\xa1a" + an_array(dtype=b"\xa6object"), "has another dtype"),
    (b"\x81\xa3a/b" + an_array(), "have no slash"),
    (b"\xdf\xff\xff\xff\xff", "a length that fits the file"),
    (b"\x81\xa1a" * 100, "at most 64 levels"),
    (b"\x81\xa1a" + an_array(shape=b"\x91\xff"), "must be of whole numbers"),
    (b"\x81\xa1a" + an_array(count=2), "must be of shape, dtype and bytes"),
]


@pytest.mark.parametrize(("data", "message"), WRONG)
def test_msgpack_that_is_no_tree_of_arrays(tmp_path, data, message):
    (tmp_path / "flax_model.msgpack").write_bytes(b"\x81\xa1a" + an_array())
    assert open_weights(tmp_path).shapes == {"a": (2,)}
    (tmp_path / "flax_model.msgpack").write_bytes(data)
    with pytest.raises(CheckpointError, match=message):
        open_weights(tmp_path)


def test_hdf5_that_is_more_than_arrays_of_its_own(tmp_path):
    library = pytest.importorskip("h5py")
    path = tmp_path / "tf_model.h5"

    def refused(make, message):
        with library.File(path, "w") as held:
            held.create_dataset("a/kernel:0", data=np.arange(6.0).reshape(2, 3))
            make(held)
        with pytest.raises(CheckpointError, match=message):
            open_weights(tmp_path)

    with library.File(path, "w") as held:
        held.create_dataset("a/kernel:0", data=np.arange(6.0).reshape(2, 3))
    assert open_weights(tmp_path).shapes == {"a.weight": (3, 2)}
    refused(lambda f: f.__setitem__("x", library.ExternalLink("/etc/passwd", "/")), "is a link, which is not followed")
    refused(lambda f: f.__setitem__("x", library.SoftLink("/a")), "is a link")
    refused(lambda f: f.create_dataset("x", (4,), "f4", external=[("/etc/passwd", 0, 16)]), "in one piece of this file")
    refused(lambda f: f.create_dataset("x", data=np.zeros(99), compression="gzip"), "uncompressed")
    refused(lambda f: f.create_dataset("x", data="text"), "must be an array of numbers")
    refused(lambda f: f.create_dataset("x", data=np.zeros(3, ">f4")), "must be an array of numbers")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="must be a file of HDF5"):
        open_weights(tmp_path)


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
    ],
)
def test_checksums_of_rfc_3720(data, checksum):
    assert crc32c([data]) == checksum
    assert crc32c([data[:5], data[5:]]) == checksum


def test_a_checksum_of_lanes_is_that_of_bytes():
    data = np.random.default_rng(0).integers(0, 256, 20_001, np.uint8).tobytes()
    assert crc32c([data]) == crc32c([data[at : at + 1000] for at in range(0, len(data), 1000)])


def test_a_footer_that_is_none(tmp_path):
    (tmp_path / "model.ckpt.index").write_bytes(bytes(40) + struct.pack("<Q", 1))
    with pytest.raises(CheckpointError, match="does not end as one"):
        open_weights(tmp_path, framework="tf")


INDEX = (
    "AAAGCAEaAggBAB8PYmVydC9lbWJlZGRpbmdzL0xheWVyTm9ybS9nYW1tYQgTEgQSAggDKAY1bBX3tx8HES9hZGFtX20IARIEEgIIAyAGKAw1mUE9"
    "DQYqFW5jb2Rlci9sYXllcl8wL2F0dGVudGlvbi9zZWxmL3F1ZXJ5L2tlcm5lbAgBEggSAggCEgIIAyASKBg1wNs9FwALDWdsb2JhbF9zdGVwCAkS"
    "ACAqKAg1u9efEQAAAAABAAAAAINiLaYAAAAAAQAAAADA8qGwAAEDaAC6AQAAAAABAAAAAJw1LTq/AQjMAQ8AAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAV/uAiyR1R9s="
)
DATA = "ADgAOAA4AAAAAAAAAAAAAAAAAAAAAAAAgD8AAABAAABAQAAAgEAAAKBABwAAAAAAAAA="
"""What `tf.raw_ops.SaveV2` of TensorFlow 2.21 wrote: a gamma of float16, a kernel, an optimizer's slot, a step."""


@pytest.fixture
def release(tmp_path):
    (tmp_path / "model.ckpt.index").write_bytes(base64.b64decode(INDEX))
    (tmp_path / "model.ckpt.data-00000-of-00001").write_bytes(base64.b64decode(DATA))
    return tmp_path


def test_a_checkpoint_that_tensorflow_wrote(release):
    for place in (release, release / "model.ckpt", release / "model.ckpt.index"):
        reader = ArrayReader(open_weights(place, framework="tf"))
        gamma, kernel = "bert.embeddings.LayerNorm.weight", "bert.encoder.layer.0.attention.self.query.weight"
        assert set(reader.files.headers) == {gamma, kernel}
        assert reader.raw(kernel).tolist() == [[0, 3], [1, 4], [2, 5]]
        assert (reader.raw(gamma) == np.full(3, 0.5, np.float16)).all()
    with pytest.raises(FolderError, match=r"model\.ckpt\.index"):
        open_weights(release)


@pytest.mark.parametrize(
    ("file", "at", "message"),
    [
        ("model.ckpt.index", 60, "checksum is another one"),
        ("model.ckpt.data-00000-of-00001", 20, "that the index was made for"),
        ("model.ckpt.data-00000-of-00001", None, "must hold the"),
    ],
)
def test_a_checkpoint_that_is_damaged(release, file, at, message):
    data = bytearray((release / file).read_bytes())
    if at is None:
        data = data[:10]
    else:
        data[at] ^= 1
    (release / file).write_bytes(data)
    with pytest.raises(CheckpointError, match=message):
        open_weights(release, framework="tf")
