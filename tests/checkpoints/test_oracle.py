"""Folders that `transformers` wrote open here with equal values, and ours open there."""

import pytest
import torch

from seqgraft.checkpoints import open_weights, require
from seqgraft.families.bert import BertConfig, decoder, decoder_names
from seqgraft.families.naming import plan_reading, plan_writing
from seqgraft.spec.table import parameters
from seqgraft.torch.weights import TorchReader, write_weights

transformers = pytest.importorskip("transformers")

SIZES = {"vocab_size": 31, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 12, "max_position_embeddings": 7}  # fmt: skip


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(1)
    return transformers.BertForMaskedLM(transformers.BertConfig(**SIZES)).eval()


def values(folder, **options):
    """The canonical tensors of a folder."""
    config = BertConfig(**SIZES)
    files = open_weights(folder, **options)
    plan = plan_reading(decoder_names(config), files.shapes, parameters(decoder(config)))
    require(plan, folder, files=files)
    with TorchReader(files) as reader:
        return {name: reader.tensor(piece) for name, piece in plan.pieces.items()}


def same(found, model) -> bool:
    config = BertConfig(**SIZES)
    written = plan_writing(decoder_names(config), {n: tuple(t.shape) for n, t in found.items()}, headed=True)
    state = model.state_dict()
    return len(written) == len(found) and all(torch.equal(state[w.name], found[w.parts[0]]) for w in written)


@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("size", ["1GB", "2KB"])
def test_their_folder_opens_here(tmp_path, theirs, variant, size):
    theirs.save_pretrained(tmp_path, variant=variant, max_shard_size=size)
    assert len(list(tmp_path.glob("*.safetensors"))) == (1 if size == "1GB" else len(list(tmp_path.glob("*-of-*"))))
    assert same(values(tmp_path, variant=variant), theirs)


@pytest.mark.parametrize("zipped", [True, False])
def test_their_pickle_opens_here(tmp_path, theirs, zipped):
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    assert same(values(tmp_path), theirs)


def test_half_precision_opens_here(tmp_path):
    half = transformers.BertForMaskedLM(transformers.BertConfig(**SIZES)).half()
    half.save_pretrained(tmp_path)
    found = values(tmp_path)
    assert {tensor.dtype for tensor in found.values()} == {torch.float16}
    assert same(found, half)


@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("size", ["1GB", "2KB"])
@pytest.mark.parametrize("safe", [True, False])
def test_our_folder_opens_there(tmp_path, theirs, variant, size, safe):
    theirs.config.save_pretrained(tmp_path)
    state = theirs.state_dict()
    kept = {n: t for n, t in state.items() if n not in theirs.all_tied_weights_keys and not n.endswith("position_ids")}
    write_weights(tmp_path, kept, max_shard_size=size, variant=variant, safe_serialization=safe)
    opened, report = transformers.BertForMaskedLM.from_pretrained(tmp_path, variant=variant, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert all(torch.equal(tensor, opened.state_dict()[name]) for name, tensor in state.items())


def test_our_shards_and_index_are_theirs(tmp_path, theirs):
    """The same names in the same shards, and the same index but for its count of parameters."""
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="2KB")
    files = open_weights(tmp_path / "theirs")
    (tmp_path / "ours").mkdir()
    state = theirs.state_dict()
    write_weights(tmp_path / "ours", {n: state[n] for n in state if n in files.headers}, max_shard_size="2KB")
    index = "model.safetensors.index.json"
    assert (tmp_path / "ours" / index).read_text() == (tmp_path / "theirs" / index).read_text()
