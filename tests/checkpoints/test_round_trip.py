"""Read, write, read: the same bits, and files that the field's own programs open."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from seqgraft.checkpoints import open_weights, require
from seqgraft.errors import CheckpointError
from seqgraft.families.bert import BertConfig, decoder, decoder_names, encoder, encoder_names
from seqgraft.families.naming import Names, Piece, plan_reading, plan_writing, rename, stacked, turned
from seqgraft.folders import saving
from seqgraft.spec.table import parameters
from seqgraft.torch.weights import STALE_WEIGHTS, TorchReader, write_weights

SIZES = {"vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 12, "max_position_embeddings": 7}  # fmt: skip
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def patterns(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    """Random bits: NaNs with payloads, infinities, subnormals and negative zeros among them."""
    whole = torch.randint(0, 256, (*shape[:-1], shape[-1] * dtype.itemsize), dtype=torch.uint8)
    return whole.view(dtype)


def same_bits(read, wanted) -> bool:
    return set(read) == set(wanted) and all(
        read[n].dtype == t.dtype and read[n].shape == t.shape and bits(read[n]) == bits(t) for n, t in wanted.items()
    )


def raw(files):
    with TorchReader(files) as reader:
        return {name: reader.raw(name) for name in files.headers}


@pytest.mark.parametrize("size", ["50GB", 100], ids=["single", "shards"])
@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
def test_every_layout_keeps_every_tensor(tmp_path, tensors, size, variant, safe):
    tensors["view"] = torch.arange(12.0).reshape(3, 4).t()
    written = write_weights(tmp_path, tensors, max_shard_size=size, variant=variant, safe_serialization=safe)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in written}
    files = open_weights(tmp_path, variant=variant)
    assert files.kind == ("safetensors" if safe else "pickle")
    assert same_bits(raw(files), tensors)
    if safe:
        assert files.metadata == {"format": "pt"}
        assert all(header.start % torch.tensor([], dtype=tensors[n].dtype).element_size() == 0
                   for n, header in files.headers.items())  # fmt: skip


@DTYPES
def test_our_file_is_the_librarys(tmp_path, dtype):
    held = {"a": patterns(3, 5, dtype=dtype), "b": patterns(4, dtype=dtype).t()}
    write_weights(tmp_path, held, metadata={"format": "pt", "of": "a test"})
    assert same_bits(load_file(tmp_path / "model.safetensors"), held)
    with safe_open(tmp_path / "model.safetensors", "pt") as opened:
        assert opened.metadata() == {"format": "pt", "of": "a test"}
    save_file({"a": held["a"]}, tmp_path / "model.safetensors")
    assert same_bits(raw(open_weights(tmp_path)), {"a": held["a"]})


def test_an_index_as_the_field_writes_it(tmp_path):
    write_weights(tmp_path, {"b": torch.zeros(3), "a": torch.zeros(2, 2).half()}, max_shard_size=12)
    text = (tmp_path / "model.safetensors.index.json").read_text()
    assert json.loads(text) == {
        "metadata": {"total_parameters": 7, "total_size": 20},
        "weight_map": {"a": "model-00002-of-00002.safetensors", "b": "model-00001-of-00002.safetensors"},
    }
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def test_what_cannot_be_written_is_told(tmp_path):
    whole = torch.zeros(4, 4)
    with pytest.raises(CheckpointError, match="'a' and 'b' must not share memory to be saved: leave out the tied copy"):
        write_weights(tmp_path, {"a": whole, "b": whole})
    with pytest.raises(CheckpointError, match="must not share memory"):
        write_weights(tmp_path, {"a": whole[:3], "b": whole[2:]})
    with pytest.raises(CheckpointError, match="'a' must hold values to be saved, but is on the meta device"):
        write_weights(tmp_path, {"a": torch.zeros(2, device="meta")})
    with pytest.raises(CheckpointError, match=r"'a' must have a dtype that safetensors knows, but is torch\.complex"):
        write_weights(tmp_path, {"a": torch.zeros(2, dtype=torch.complex128)})
    assert not list(tmp_path.iterdir())
    write_weights(tmp_path, {"a": whole[:2], "b": whole[2:]})


def test_a_mapped_tensor_is_its_own(tmp_path):
    """Writing to it leaves the file alone; saving it does not take the file along; it outlives the reader."""
    write_weights(tmp_path, {"a": torch.ones(1000), "b": torch.ones(2)})
    with TorchReader(open_weights(tmp_path)) as reader:
        tensor = reader.raw("b")
        assert reader.raw("a").data_ptr() == reader.raw("a").data_ptr(), "must be mapped, not copied"
    tensor += 1
    assert tensor.untyped_storage().nbytes() == 8
    assert torch.equal(load_file(tmp_path / "model.safetensors")["b"], torch.ones(2))
    with pytest.raises(CheckpointError, match="must hold the tensor 'c', but does not"):
        reader.raw("c")


def test_unaligned_files_open(tmp_path, raw_safetensors):
    values = torch.tensor([1.5, 2.5])
    header = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    text = json.dumps(header).encode()
    for spaces in range(8):
        raw_safetensors(tmp_path / "model.safetensors", text + b" " * spaces, bits(values))
        with TorchReader(open_weights(tmp_path)) as reader:
            assert torch.equal(reader.raw("a"), values)
            assert reader.raw("a").data_ptr() % 4 == 0


def test_a_cut_source_is_read_once(tmp_path, monkeypatch):
    source = torch.randn(4, 12)
    write_weights(tmp_path, {"c_attn": source, "c_bias": torch.randn(12)})
    files = open_weights(tmp_path)
    header = type(files.headers["c_attn"])
    reads = []
    original = header.read_into
    monkeypatch.setattr(header, "read_into", lambda self, buffer: (reads.append(self), original(self, buffer)))
    with TorchReader(files) as reader:
        for at in range(0, 12, 4):
            part = reader.tensor(Piece("c_attn", True, (at, at + 4)))
            assert torch.equal(part, source[:, at : at + 4].t())
            assert part.is_contiguous()
            assert part.untyped_storage().nbytes() == 4 * 4 * 4
            reader.tensor(Piece("c_bias", rows=(at, at + 4)))
    assert len(reads) == 1


MADE_UP = Names(
    (
        rename("wte", "embed"),
        stacked("h.{i}.c_attn", "layers.{i}.query", "layers.{i}.key", "layers.{i}.value", turned=True),
        stacked("h.{i}.kv", "layers.{i}.memory_key", "layers.{i}.memory_value"),
        turned("h.{i}.c_proj", "layers.{i}.output"),
    ),
    prefix="transformer.",
)


@DTYPES
@pytest.mark.parametrize("headed", [True, False])
def test_turned_and_stacked_rules_reverse_bit_for_bit(tmp_path, dtype, headed):
    start = "transformer." if headed else ""
    stored = {f"{start}wte.weight": patterns(9, 4, dtype=dtype)}
    table = {"embed.weight": (9, 4)}
    for i in range(2):
        stored |= {
            f"{start}h.{i}.c_attn.weight": patterns(4, 12, dtype=dtype),
            f"{start}h.{i}.c_attn.bias": patterns(12, dtype=dtype),
            f"{start}h.{i}.kv.weight": patterns(6, 4, dtype=dtype),
            f"{start}h.{i}.c_proj.weight": patterns(4, 5, dtype=dtype),
        }  # fmt: skip
        table |= {f"layers.{i}.{part}.weight": (4, 4) for part in ("query", "key", "value")}
        table |= {f"layers.{i}.{part}.bias": (4,) for part in ("query", "key", "value")}
        table |= {f"layers.{i}.memory_{part}.weight": (3, 4) for part in ("key", "value")}
        table |= {f"layers.{i}.output.weight": (5, 4)}
    again = _through(tmp_path, MADE_UP, table, stored, headed)
    assert same_bits(again, stored)


def _through(folder, names, table, stored, headed, carried=False):
    """Write `stored`, read it as canonical tensors, write those back, and give what the file then holds."""
    write_weights(folder, stored)
    files = open_weights(folder)
    plan = plan_reading(names, files.shapes, table)
    require(plan, folder, files=files)
    assert set(plan.pieces) == set(table)
    with TorchReader(files) as reader:
        assert all(reader.equal(copy, owner) for copy, owner in plan.copies)
        canonical = {name: reader.tensor(plan.pieces[name]) for name in table}
        extra = {names.placed(name, headed): reader.raw(source) for name, source in plan.carried.items()}
    for name, tensor in canonical.items():
        assert tuple(tensor.shape) == table[name]
        assert tensor.is_contiguous()
    again = dict(extra) if carried else {}
    for entry in plan_writing(names, table, headed=headed):
        whole = torch.cat([canonical[part] for part in entry.parts])
        again[entry.name] = whole.t() if entry.turned else whole
    (folder / "again").mkdir()
    write_weights(folder / "again", again)
    return raw(open_weights(folder / "again"))


@pytest.fixture
def bert():
    return BertConfig(**SIZES)


def stored_bert(names, config_table, dtype, headed):
    """What a file of a BERT of these sizes holds, without copies of ties."""
    return {
        w.name: patterns(*config_table[w.parts[0]], dtype=dtype)
        for w in plan_writing(names, config_table, headed=headed)
    }


@DTYPES
@pytest.mark.parametrize("headed", [True, False], ids=["prefix", "bare"])
@pytest.mark.parametrize("leaves", ["modern", "legacy"])
def test_berts_body(tmp_path, bert, dtype, headed, leaves):
    names, table = encoder_names(bert), parameters(encoder(bert))
    wanted = stored_bert(names, table, dtype, False)
    wanted["pooler.dense.weight"] = patterns(8, 8, dtype=dtype)
    stored = {("bert." if headed else "") + name: tensor for name, tensor in wanted.items()}
    if leaves == "legacy":
        stored = {
            n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
            for n, t in stored.items()
        }
        assert any(name.endswith("gamma") for name in stored)
    stored[("bert." if headed else "") + "embeddings.position_ids"] = torch.arange(7)[None]
    if headed:
        stored["cls.seq_relationship.weight"] = torch.zeros(2, 8)
    assert same_bits(_through(tmp_path, names, table, stored, False, carried=True), wanted)


@DTYPES
@pytest.mark.parametrize("ties", ["owner", "both", "copy"])
def test_berts_head_and_its_ties(tmp_path, bert, dtype, ties):
    names, table = decoder_names(bert), parameters(decoder(bert))
    wanted = stored_bert(names, table, dtype, True)
    stored = dict(wanted)
    for copy, owner in names.ties:
        assert copy not in wanted
        if ties == "both":
            stored[copy] = wanted[owner].clone()
        if ties == "copy":
            stored[copy] = stored.pop(owner)
    assert same_bits(_through(tmp_path, names, table, stored, True), wanted)


@DTYPES
def test_a_matrix_is_turned_block_by_block(tmp_path, monkeypatch, dtype):
    """Blocks that do not divide the rows, in reading and in writing; a row larger than a block too."""
    held = {"tall": patterns(11, 3, dtype=dtype).t(), "wide": patterns(5, 40, dtype=dtype)[:, ::2]}
    monkeypatch.setattr("seqgraft.torch.weights._BLOCK", 18)
    write_weights(tmp_path, held)
    assert same_bits(load_file(tmp_path / "model.safetensors"), held)
    with TorchReader(open_weights(tmp_path)) as reader:
        for name, tensor in held.items():
            assert bits(reader.tensor(Piece(name, turned=True))) == bits(tensor.t())


def test_a_pickled_view_does_not_take_its_storage_along(tmp_path):
    write_weights(tmp_path, {"a": torch.zeros(100_000)[:4]}, safe_serialization=False)
    assert (tmp_path / "pytorch_model.bin").stat().st_size < 10_000


@pytest.mark.skipif(sys.platform == "win32", reason="limits")
@pytest.mark.parametrize("safe", [True, False])
def test_a_full_disk_leaves_the_old_weights(tmp_path, safe):
    write_weights(tmp_path, {"a": torch.ones(3)})
    program = f"""
import resource, signal, torch
from seqgraft.folders import saving
from seqgraft.torch.weights import STALE_WEIGHTS, write_weights
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
with saving({str(tmp_path)!r}, stale=STALE_WEIGHTS) as staged:
    write_weights(staged, {{"a": torch.zeros(1_000_000)}}, safe_serialization={safe})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "Error" in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert same_bits(raw(open_weights(tmp_path)), {"a": torch.ones(3)})


def test_a_save_removes_the_older_weights(tmp_path):
    """Shards and pickles of the save before go; another variant stays."""
    tensors = {"a": torch.ones(3), "b": torch.ones(3)}
    for options in ({"max_shard_size": 12}, {"safe_serialization": False}, {"variant": "fp16"}):
        write_weights(tmp_path, tensors, **options)
    (tmp_path / "config.json").write_text("{}")
    with saving(tmp_path, stale=STALE_WEIGHTS) as staged:
        write_weights(staged, tensors)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.fp16.safetensors", "model.safetensors"}
