"""Every family: its module tree is its table, its files are the reference's, and a round trip changes no bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import seqgraft
from seqgraft.errors import CheckpointError
from seqgraft.families import ENTRIES
from seqgraft.spec import parameters
from seqgraft.torch.halves import CausalModel, EncoderModel

from ..families.row import says
from ..families.rows import BY_NAME, ROWS, Row

SIDES = [
    pytest.param(row, side, cross, id=f"{row.name}-{side}{'-cross' * cross}")
    for row in ROWS
    for side in row.sides
    for cross in (False, True)
    if not cross or (row.cross and side == "decoder")
]


def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    with safe_open(folder / "model.safetensors", "pt") as file:
        found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    # The reference writes ESM's norms under their names of old; the published files do not.
    leaves = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))
    for old, new in leaves:
        found = {name.replace(old, new): shape for name, shape in found.items()}
    return found


@pytest.mark.parametrize(("row", "side", "cross"), SIDES)
def test_module_tree_is_the_table(made: Any, row: Row, side: str, cross: bool) -> None:
    model = made.ours(row, side, cross)
    tree = {name: tuple(p.shape) for name, p in model.named_parameters() if not name.startswith("pooler.")}
    assert tree == parameters(model.spec)
    fresh = type(model)(model.config)
    assert {n: tuple(p.shape) for n, p in fresh.named_parameters() if not n.startswith("pooler.")} == tree


@pytest.mark.parametrize(("row", "side", "cross"), SIDES)
def test_files_are_the_references(made: Any, tmp_path: Path, row: Row, side: str, cross: bool) -> None:
    folder = made.folder(row, side, cross)
    model = made.ours(row, side, cross)
    model.save_pretrained(tmp_path)
    must = shapes(folder)
    if side == "encoder" and not row.own_files:  # the reference saves both halves in one file
        own = model.embed.weight.shape
        must = {n: s for n, s in must.items() if n.startswith("encoder.")} | {row.table: tuple(own)}
        assert shapes(tmp_path) == must
        return
    assert shapes(tmp_path) == must
    kind = getattr(transformers, row.causal if side == "decoder" else row.body)
    opened, info = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    theirs = made.theirs(row, side, cross).state_dict()
    assert opened.state_dict().keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in opened.state_dict().items())


@pytest.mark.parametrize(("row", "side", "cross"), SIDES)
def test_our_class_by_name(made: Any, row: Row, side: str, cross: bool) -> None:
    """The public class of the family opens the folder, and the saved configuration says the same things."""
    if side == "encoder" and not row.own_files:
        kind = getattr(seqgraft, ENTRIES[row.model_type].body)
    else:
        kind = getattr(seqgraft, row.causal if side == "decoder" else row.body)
    model = kind.from_pretrained(made.folder(row, side, cross))
    assert type(model).__name__ == kind.__name__
    assert not model.training
    assert model.dtype == torch.float32
    theirs = made.theirs(row, side, cross).config.to_dict()
    ours = model.config.to_dict()
    assert all(says(theirs[n], ours[n]) for n in row.config)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("row", "side", "cross"), SIDES)
def test_round_trip_changes_no_bit(
    made: Any, tmp_path: Path, row: Row, side: str, cross: bool, dtype: torch.dtype
) -> None:
    """Random bits, NaNs of every kind among them."""
    folder = made.folder(row, side, cross)
    bits = torch.int32 if dtype == torch.float32 else torch.int16
    info = torch.iinfo(bits)
    stored = {
        name: torch.randint(info.min, info.max, shape, dtype=bits).view(dtype) for name, shape in shapes(folder).items()
    }
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "config.json").write_bytes((folder / "config.json").read_bytes())
    save_file(stored, source / "model.safetensors", {"format": "pt"})
    kind = CausalModel if side == "decoder" else EncoderModel
    asked = {"add_cross_attention": True} if cross else {}
    model = kind.from_pretrained(source, **asked)
    assert model.dtype == dtype
    model.save_pretrained(target)
    written = load_file(target / "model.safetensors")
    if side == "encoder" and not row.own_files:
        stored[row.table] = stored[row.shared]
        stored = {n: value for n, value in stored.items() if n.startswith("encoder.") or n == row.table}
    assert written.keys() == stored.keys()
    assert all(torch.equal(written[name].view(bits), stored[name].view(bits)) for name in stored)


TIED = [
    ("bert", "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
    ("bert", "cls.predictions.decoder.bias", "cls.predictions.bias"),
    ("roberta", "lm_head.decoder.weight", "roberta.embeddings.word_embeddings.weight"),
    ("gpt2", "lm_head.weight", "transformer.wte.weight"),
    ("bart", "lm_head.weight", "model.decoder.embed_tokens.weight"),
    ("bart", "model.shared.weight", "model.decoder.embed_tokens.weight"),
    ("qwen3", "lm_head.weight", "model.embed_tokens.weight"),
]


@pytest.mark.parametrize(("name", "copy", "owner"), TIED)
def test_copies_of_what_is_tied(made: Any, tmp_path: Path, name: str, copy: str, owner: str) -> None:
    """Either may be stored, or both when they are equal; a difference is an error, not a choice."""
    row = BY_NAME[name]
    kind, folder = getattr(seqgraft, row.causal), made.folder(row, "decoder")
    stored = load_file(folder / "model.safetensors")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    plain = kind.from_pretrained(folder)

    def opened(tensors: dict[str, torch.Tensor], **kwargs: Any) -> Any:
        save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
        return kind.from_pretrained(tmp_path, **kwargs)

    value = next(stored[n] for n in (owner, copy, "model.shared.weight") if n in stored)
    alone = {n: t for n, t in stored.items() if n not in (copy, owner)}
    for tensors in ({**alone, owner: value}, {**alone, copy: value}, {**alone, owner: value, copy: value.clone()}):
        model = opened(tensors)
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))
    with pytest.raises(CheckpointError, match=f"'{copy}' and '{owner}' must be equal"):
        opened({**alone, owner: value, copy: value + 1})
    if copy.endswith("weight") and copy != "model.shared.weight":
        model = opened({**alone, owner: value, copy: value + 1}, tie_word_embeddings=False)
        assert torch.equal(model.head.output.weight, value + 1)
        assert torch.equal(model.embed.weight, value)


@pytest.mark.parametrize(
    ("name", "idle", "used"),
    [
        ("bert-untied", "cls.predictions.bias", "cls.predictions.decoder.bias"),
        ("camembert", "lm_head.bias", "lm_head.decoder.bias"),
    ],
)
def test_an_untied_head_computes_with_one_of_its_biases(
    made: Any, tmp_path: Path, name: str, idle: str, used: str
) -> None:
    row = BY_NAME[name]
    kind, folder = getattr(seqgraft, row.causal), made.folder(row, "decoder")
    stored = load_file(folder / "model.safetensors")
    assert not torch.equal(stored[idle], stored[used])
    assert torch.equal(kind.from_pretrained(folder).head.output.bias, stored[used])
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    alone = {n: t for n, t in stored.items() if n != used}  # as version 4 wrote it
    save_file(alone, tmp_path / "model.safetensors", {"format": "pt"})
    assert torch.equal(kind.from_pretrained(tmp_path).head.output.bias, stored[idle])
