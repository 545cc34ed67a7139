"""`pytorch_model.bin` of either layout opens with the same values, and never runs anything."""

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from seqgraft.checkpoints import open_weights
from seqgraft.errors import CheckpointError
from seqgraft.families.naming import Piece
from seqgraft.torch.weights import TorchReader

LAYOUTS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def save(folder: Path, value, zipped: bool, name: str = "pytorch_model.bin") -> None:
    torch.save(value, folder / name, _use_new_zipfile_serialization=zipped)


class Evil:
    """Pickles as a call of `os.mkdir`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@LAYOUTS
def test_values_are_equal(tmp_path, tensors, zipped):
    tensors |= {"wide": torch.randn(3).double(), "bytes": torch.arange(9).to(torch.uint8)}
    save(tmp_path, tensors, zipped)
    files = open_weights(tmp_path)
    assert files.kind == "pickle"
    with TorchReader(files) as reader:
        for name, tensor in tensors.items():
            read = reader.raw(name)
            assert read.dtype == tensor.dtype
            assert torch.equal(read, tensor)
            assert read.data_ptr() % read.element_size() == 0


@LAYOUTS
def test_views_ties_and_parameters(tmp_path, zipped):
    whole = torch.arange(24.0).reshape(4, 6)
    module = torch.nn.Linear(2, 2)
    marked = torch.nn.Parameter(torch.ones(2))
    marked.note = "an attribute"
    held = OrderedDict(
        whole=whole, tied=whole, turned=whole.t(), rows=whole[1:3], columns=whole[:, 2:4], marked=marked,
        parameter=module.weight,
    )  # fmt: skip
    held._metadata = module.state_dict()._metadata
    save(tmp_path, held, zipped)
    files = open_weights(tmp_path)
    with TorchReader(files) as reader:
        for name, tensor in held.items():
            assert torch.equal(reader.raw(name), tensor)
            assert reader.raw(name).is_contiguous()
        assert reader.equal("whole", "tied")
        assert not reader.equal("whole", "turned")
        assert torch.equal(reader.tensor(Piece("turned", rows=(1, 3))), whole.t()[1:3])
        assert torch.equal(reader.tensor(Piece("turned", True, (1, 3))), whole[1:3])
        assert torch.equal(reader.tensor(Piece("columns", True)), whole[:, 2:4].t())


@LAYOUTS
def test_shards(tmp_path, zipped):
    save(tmp_path, {"a": torch.ones(2)}, zipped, "pytorch_model-00001-of-00002.bin")
    save(tmp_path, {"b": torch.zeros(2)}, zipped, "pytorch_model-00002-of-00002.bin")
    (tmp_path / "pytorch_model.bin.index.json").write_text(
        '{"weight_map": {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}}'
    )
    with TorchReader(open_weights(tmp_path)) as reader:
        assert torch.equal(reader.raw("a"), torch.ones(2))
        assert torch.equal(reader.raw("b"), torch.zeros(2))


@LAYOUTS
def test_a_malicious_pickle_does_not_run(tmp_path, zipped):
    save(tmp_path, {"a": torch.ones(2), "b": Evil(tmp_path / "made")}, zipped)
    with pytest.raises(CheckpointError) as raised:
        open_weights(tmp_path)
    assert f"asks for the global `{os.mkdir.__module__}.mkdir`, which could run any code" in str(raised.value)
    assert "Ask its author for a safetensors file" in str(raised.value)
    assert not (tmp_path / "made").exists()
    torch.load(tmp_path / "pytorch_model.bin", weights_only=False)
    assert (tmp_path / "made").exists(), "the file must be one that runs, or this test proves nothing"


@pytest.mark.parametrize("name", ["builtins.eval", "builtins.getattr", "os.system", "torch.load", "torch.hub.load"])
def test_every_other_global_is_refused(tmp_path, name):
    module, _, function = name.rpartition(".")
    program = f"c{module}\n{function}\n(S'1'\ntR.".encode()
    with zipfile.ZipFile(tmp_path / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", program)
    with pytest.raises(CheckpointError, match=f"asks for the global `{name}`"):
        open_weights(tmp_path)


@LAYOUTS
def test_what_is_no_dictionary_of_tensors(tmp_path, zipped):
    save(tmp_path, {"model": {"a": torch.ones(1)}, "step": 3}, zipped)
    with pytest.raises(CheckpointError, match=r"but holds 'model' -> dict. \(A training checkpoint"):
        open_weights(tmp_path)
    save(tmp_path, [torch.ones(1)], zipped)
    with pytest.raises(CheckpointError, match="must hold a dictionary of tensors, but holds a list"):
        open_weights(tmp_path)


@LAYOUTS
def test_a_pickle_cut_anywhere_is_refused(tmp_path, zipped):
    save(tmp_path, {"a": torch.ones(3), "b": torch.ones(2, 2)}, zipped)
    path = tmp_path / "pytorch_model.bin"
    whole = path.read_bytes()
    for length in range(0, len(whole), 1 if len(whole) < 700 else 7):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            open_weights(tmp_path)


def test_bytes_that_lie_compressed_or_nowhere_are_refused(tmp_path):
    save(tmp_path, {"a": torch.zeros(300)}, True)
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    with pytest.raises(CheckpointError, match="the bytes of 'a' must be in the file, uncompressed, but are not"):
        open_weights(tmp_path)


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    save(tmp_path, {"a": torch.zeros(300)}, True)
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, content[:-4] if "data/" in name else content)
    with pytest.raises(CheckpointError, match=r"'a' must have 1,200 bytes from byte .* is truncated"):
        open_weights(tmp_path)


def test_a_plain_pickle_is_no_checkpoint(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match=r"must be a file of `torch.save`"):
        open_weights(tmp_path)
