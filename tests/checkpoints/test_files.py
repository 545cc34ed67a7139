"""Which files are found, and that everything wrong with a set of shards comes as one error."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from seqgraft.checkpoints import open_weights
from seqgraft.errors import CheckpointError, FolderError
from seqgraft.folders import Origin


def one(value: float) -> torch.Tensor:
    return torch.full((1,), value)


def index(folder: Path, weight_map, name="model.safetensors.index.json") -> None:
    (folder / name).write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map}))


def test_the_order_of_the_search(tmp_path):
    torch.save({"e": one(4)}, tmp_path / "shard.bin")
    index(tmp_path, {"e": "shard.bin"}, "pytorch_model.bin.index.json")
    assert set(open_weights(tmp_path).headers) == {"e"}
    torch.save({"d": one(3)}, tmp_path / "pytorch_model.bin")
    assert set(open_weights(tmp_path).headers) == {"d"}
    save_file({"c": one(2)}, tmp_path / "shard.safetensors")
    index(tmp_path, {"c": "shard.safetensors"})
    assert set(open_weights(tmp_path).headers) == {"c"}
    save_file({"b": one(1)}, tmp_path / "model.safetensors")
    assert set(open_weights(tmp_path).headers) == {"b"}
    assert set(open_weights(tmp_path, use_safetensors=False).headers) == {"d"}
    assert open_weights(tmp_path, use_safetensors=False).kind == "pickle"


@pytest.mark.parametrize("name", ["model.safetensors.index.fp16.json", "model.fp16.safetensors.index.json"])
def test_a_variant_is_found_by_either_spelling(tmp_path, name):
    save_file({"a": one(0)}, tmp_path / "model.safetensors")
    save_file({"b": one(1)}, tmp_path / "model.fp16-00001-of-00001.safetensors")
    index(tmp_path, {"b": "model.fp16-00001-of-00001.safetensors"}, name)
    assert set(open_weights(tmp_path, variant="fp16").headers) == {"b"}
    assert set(open_weights(tmp_path).headers) == {"a"}


def test_a_subfolder(tmp_path):
    (tmp_path / "deep").mkdir()
    save_file({"a": one(0)}, tmp_path / "deep" / "x.safetensors")
    index(tmp_path / "deep", {"a": "x.safetensors"})
    assert set(open_weights(tmp_path, Origin(subfolder="deep")).headers) == {"a"}


def test_no_weights_says_what_is_there(tmp_path):
    save_file({"a": one(0)}, tmp_path / "model.fp16.safetensors")
    with pytest.raises(FolderError) as raised:
        open_weights(tmp_path)
    assert "must hold weights as model.safetensors, pytorch_model.bin" in str(raised.value)
    assert "It holds model.fp16.safetensors." in str(raised.value)
    with pytest.raises(FolderError, match=r"as pytorch_model\.bin, pytorch_model\.bin\.index\.json, but"):
        open_weights(tmp_path, use_safetensors=False, framework="pt")


@pytest.mark.parametrize("name", ["tf_model.h5", "flax_model.msgpack"])
def test_weights_of_another_framework_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(FolderError, match=rf"It holds {name}\. Without `from_pt` any framework's files serve\."):
        open_weights(tmp_path, framework="pt")


def test_every_problem_of_the_shards_in_one_error(tmp_path):
    save_file({"a": one(0), "extra": one(0)}, tmp_path / "one.safetensors")
    save_file({"a": one(1), "moved": one(1)}, tmp_path / "two.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "one.safetensors").read_bytes()[:-1])
    index(
        tmp_path,
        {
            "a": "one.safetensors", "absent": "one.safetensors", "moved": "one.safetensors", "b": "two.safetensors",
            "c": "cut.safetensors", "d": "gone.safetensors", "e": "gone.safetensors",
            "f": "../outside.safetensors", "g": "/etc/passwd",
        },
    )  # fmt: skip
    (tmp_path.parent / "outside.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError) as raised:
        open_weights(tmp_path)
    message = str(raised.value)
    one_file, two_file = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    for part in (
        "for 9 reasons",
        "names the shard 'gone.safetensors' (2 tensors), which must be beside it, but is not",
        "but is named '../outside.safetensors'",
        "but is named '/etc/passwd'",
        f"{tmp_path / 'cut.safetensors'} must have",
        f"'a' must be in one shard, but is in {one_file} and in {two_file}",
        f"{one_file} holds 'extra', which the index must name, but does not",
        f"'absent' must be in {one_file}, as the index says, but is not",
        f"'moved' must be in {one_file}, as the index says, but is in {two_file}",
        f"'b' must be in {two_file}, as the index says, but is not",
    ):
        assert part in message
    assert message.count("\n  - ") == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "must hold JSON"), ("[]", "must hold a JSON object"), ("{}", "must hold a `weight_map`"),
     ('{"weight_map": {"a": 3}}', "must hold a `weight_map`"), ('{"weight_map": {}}', "must hold a `weight_map`")],
)  # fmt: skip
def test_a_broken_index(tmp_path, text, message):
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        open_weights(tmp_path)


def test_equal_bytes(tmp_path):
    save_file(
        {"a": torch.tensor([1.0, float("nan")]), "b": torch.tensor([1.0, float("nan")]), "c": torch.ones(2),
         "d": torch.ones(2, 1), "e": torch.ones(2).int()},
        tmp_path / "model.safetensors",
    )  # fmt: skip
    files = open_weights(tmp_path)
    assert files.same("a", "b")
    assert files.same("a", "a")
    assert not any(files.same("c", other) for other in "ade")
