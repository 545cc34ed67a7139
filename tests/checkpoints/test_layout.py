import fnmatch

import pytest
import torch
from huggingface_hub import split_torch_state_dict_into_shards

from seqgraft.checkpoints import STALE_WEIGHTS, parse_size, shards, stale_weights
from seqgraft.errors import CheckpointError


@pytest.mark.parametrize(
    ("size", "count"),
    [("5GB", 5 * 10**9), ("200MB", 2 * 10**8), (" 10 kb ", 10**4), ("1.5TB", 15 * 10**11), (77, 77)],
)
def test_sizes(size, count):
    assert parse_size(size) == count


@pytest.mark.parametrize("size", ["5", "GB", "5GiB", "-1GB", "nanGB", "infGB", 0, -3])
def test_sizes_that_are_none(size):
    with pytest.raises(CheckpointError, match="`max_shard_size` must be bytes above zero, or a text such as '5GB'"):
        parse_size(size)


@pytest.mark.parametrize("limit", [1, 39, 40, 100, 161, 10**6])
@pytest.mark.parametrize("variant", [None, "fp16"])
def test_shards_are_those_of_the_field(limit, variant):
    counts = [5, 40, 3, 3, 10, 1, 30, 2]
    tensors = {f"t{i}": torch.zeros(n) for i, n in enumerate(counts)}
    pattern = "model.fp16{suffix}.safetensors" if variant else "model{suffix}.safetensors"
    theirs = split_torch_state_dict_into_shards(tensors, filename_pattern=pattern, max_shard_size=limit)
    ours = shards({name: t.numel() * 4 for name, t in tensors.items()}, limit, variant=variant, parameters=94)
    assert {file: list(names) for file, names in ours.files.items()} == theirs.filename_to_tensors
    if theirs.is_sharded:
        assert ours.index == {
            "metadata": {"total_size": 376, "total_parameters": 94}, "weight_map": theirs.tensor_to_filename,
        }  # fmt: skip
        assert ours.index_name == ("model.safetensors.index.fp16.json" if variant else "model.safetensors.index.json")
    else:
        assert ours.index is None
        assert ours.index_name is None


def test_nothing_to_write_is_one_empty_file():
    assert shards({}).files == {"model.safetensors": ()}


def test_a_save_replaces_its_own_variant_only():
    plain = [
        "model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json",
        "pytorch_model.bin", "pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json",
    ]  # fmt: skip
    half = [
        "model.fp16.safetensors", "model.fp16-00001-of-00002.safetensors", "model.safetensors.index.fp16.json",
        "pytorch_model.fp16.bin", "pytorch_model.fp16-00002-of-00002.bin", "pytorch_model.bin.index.fp16.json",
        "model.fp16.safetensors.index.json",
    ]  # fmt: skip
    others = ["config.json", "tokenizer.json", "my_model.safetensors", "model-final.safetensors", "optimizer.bin"]

    def matched(patterns):
        return {name for name in plain + half + others for p in patterns if fnmatch.fnmatchcase(name, p)}

    assert matched(STALE_WEIGHTS) == set(plain)
    assert matched(stale_weights("fp16")) == set(half)
