"""The one error about a checkpoint that does not fit."""

import pytest
import torch
from safetensors.torch import save_file

from seqgraft.checkpoints import open_weights, problems, require
from seqgraft.checkpoints.check import grouped
from seqgraft.errors import CheckpointError
from seqgraft.families.naming import Names, plan_reading, rename

NAMES = Names((rename("block.{i}.lin", "layers.{i}.up"), rename("table", "embed")))
TABLE = {"embed.weight": (5, 4), **{f"layers.{i}.up.weight": (4, 4) for i in range(3)}}


def weights(**changes):
    tensors = {"table.weight": torch.zeros(5, 4), **{f"block.{i}.lin.weight": torch.zeros(4, 4) for i in range(3)}}
    tensors.update({name.replace("__", "."): value for name, value in changes.items()})
    return {name: value for name, value in tensors.items() if value is not None}


def check(folder, tensors, **options):
    save_file(tensors, folder / "model.safetensors")
    files = open_weights(folder)
    plan = plan_reading(NAMES, files.shapes, TABLE)
    assert bool(problems(plan, files=files, **options)) == _raises(plan, files, **options)
    require(plan, "the/model", files=files, **options)


def _raises(plan, files, **options):
    try:
        require(plan, "the/model", files=files, **options)
    except CheckpointError:
        return True
    return False


def test_a_whole_checkpoint(tmp_path):
    check(tmp_path, weights())


def test_everything_at_once(tmp_path):
    tensors = weights(
        block__1__lin__weight=None, block__2__lin__weight=torch.zeros(4, 9),
        block__0__lin__weight=torch.zeros(4, 4).int(),
        table__weight=torch.zeros(6, 4), head__weight=torch.zeros(1),
        block__7__lin__weight=torch.zeros(1), block__8__lin__weight=torch.zeros(1),
    )  # fmt: skip
    with pytest.raises(CheckpointError) as raised:
        check(tmp_path, tensors)
    message = str(raised.value)
    for line in (
        "The weights of 'the/model' do not fit the model:",
        "Missing, 1 tensors (by the model's names):\n  - layers.1.up.weight\n",
        "Unexpected, 3 tensors that the model has no place for:\n",
        "\n  - block.{7..8}.lin.weight\n",
        "\n  - head.weight\n",
        "as many layers as the files hold?",
        "Of the wrong shape, 2 tensors:\n",
        "\n  - block.2.lin.weight must be [4, 4], but is [4, 9]\n",
        "\n  - table.weight must be [5, 4], but is [6, 4]\n",
        "The configuration must have the sizes",
        "Of the wrong dtype, 1 tensors:\n  - block.0.lin.weight must be one of BF16, F16, F32, F64, but is I32",
        "quantized?",
    ):
        assert line in message, line


def test_layers_are_grouped(tmp_path):
    with pytest.raises(CheckpointError) as raised:
        check(tmp_path, {"table.weight": torch.zeros(5, 4)})
    assert "Missing, 3 tensors (by the model's names):\n  - layers.{0..2}.up.weight" in str(raised.value)
    assert "None of the model's tensors" not in str(raised.value)


def test_another_family_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="None of the model's tensors is there"):
        check(tmp_path, {"wte.weight": torch.zeros(5, 4)})


def test_what_is_fresh_may_be_missing(tmp_path):
    tensors = weights(block__1__lin__weight=None)
    check(tmp_path, tensors, fresh={"layers.1.up.weight"})
    with pytest.raises(CheckpointError, match=r"layers\.1\.up\.weight"):
        check(tmp_path, tensors, fresh={"layers.0.up.weight"})


@pytest.mark.parametrize(
    ("names", "lines"),
    [
        (["a.0.b", "a.2.b", "a.1.b", "a.11.b"], ["a.{0..2,11}.b"]),
        (["a.0.b", "a.0.c", "a.1.b"], ["a.{0..1}.b", "a.0.c"]),
        (["a.0.b.3.c", "a.1.b.3.c", "a.1.b.4.c"], ["a.{0..1}.b.3.c", "a.1.b.4.c"]),
        (["0.a", "1.a", "a.0", "a.1", "b2.c"], ["{0..1}.a", "a.0", "a.1", "b2.c"]),
        ([], []),
    ],
)
def test_grouping_is_complete(names, lines):
    assert grouped(names) == lines


def test_one_tensor_under_two_names_is_unexpected(tmp_path):
    """Neither may win in silence, whether the leaf or the prefix differs."""
    norm = Names((rename("norm", "final_norm"),), prefix="body.")
    table = {"final_norm.weight": (4,)}
    for other in ("body.norm.gamma", "norm.weight"):
        save_file({"body.norm.weight": torch.ones(4), other: torch.zeros(4)}, tmp_path / "model.safetensors")
        plan = plan_reading(norm, open_weights(tmp_path).shapes, table)
        assert len(plan.unexpected) == 1
        assert set(plan.pieces) == {"final_norm.weight"}
