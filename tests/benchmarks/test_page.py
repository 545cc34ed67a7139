"""The page's tables, and the races that they are made of."""

import json

import pytest
import torch

from benchmarks import all as everything
from benchmarks import page
from benchmarks.harness import OURS, race
from benchmarks.pairs import real_lengths, sources
from benchmarks.peers import alike, same_tokens

MACHINE = {
    "machine": {"cpu": "a CPU", "threads": 2, "torch": "2", "product": "onednn", "load_before": 0.1},
    "operations": {"torch": 1e9, "onednn": 2e9},
    "operations_int8": 8e9,
    "reading": [[1000, 4e9], [1000000, 1e9]],
    "few_rows": {"torch": {"1": 1e8, "8": 1e8}, "onednn, packed": {"1": 5e8, "8": 2.5e8}},
    "product_call": 1e-3,
    "other_call": 1e-4,
}


def line(**changes):
    """Encoder: 10 ms by operations. A step: 10 ms by reading 10 MB, 2 calls of products; in all 10 new tokens."""
    encoder = {"name": "feed-forward", "read": 0, "operations": 2e7, "products": 1, "others": 0}
    steps = {"name": "feed-forward", "read": 1e8, "operations": 0, "products": 20, "others": 0}
    extra = {"precision": "float32", "batch": 1, "beams": 1, "new": 10, "first": {OURS: 0.1, "transformers": 1.0}}
    extra["cost"] = {"encoder": [encoder], "steps": [steps]}
    seconds = {OURS: [0.5, 0.55, 0.7], "transformers": [1.0, 1.1, 1.2]}
    return {
        "what": "a pair, greedy",
        "seconds": seconds,
        "ratio": {"transformers": 2.0},
        "amount": 11.0,
        "agree": "same tokens",
        "extra": extra | changes,
    }


def cells(text, start):
    """The cells of the row of a table that starts so."""
    (row,) = [row for row in text.splitlines() if row.startswith(f"| {start} ")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_a_lines_limits():
    of = page.reached(line(), MACHINE)
    assert of["limits"] == pytest.approx({"encoder": 0.01, "step": 0.01})
    assert of["measured"] == pytest.approx({"step": (0.55 - 0.1) / 9, "encoder": 0.1 - 0.05})
    assert of["calls"] == pytest.approx({"encoder": 0.001, "step": 0.002})
    assert of["fraction"] == pytest.approx((0.01 + 10 * 0.01) / 0.55)
    assert of["slow_reading"] == pytest.approx(1e7 / 5e8 - 0.01)
    assert page.reached(line(batch=2), MACHINE)["slow_reading"] == pytest.approx(1e7 / 2.5e8 - 0.01)
    assert page.reached(line(batch=9), MACHINE)["slow_reading"] == 0  # not measured
    assert page.reached(line(precision="int8"), MACHINE)["limits"]["encoder"] == pytest.approx(2e7 / 8e9)


def test_limits_as_a_table():
    shown = page.limits({"lines": [line()]}, MACHINE)
    assert cells(shown, "a pair, greedy") == ["a pair, greedy", "10.00", "50.00", "10.00", "12.00", "50.00", "20%"]


def test_the_largest_gap_and_its_causes():
    said = page.gap({"lines": [line()]}, MACHINE)
    assert "a pair, greedy, where 73% of the time is what its steps take above the limit, 40.00 ms a step" in said
    order = [said.index(word) for word in ("28.00 ms what the model", "10.00 ms weights read", "2.00 ms calls")]
    assert order == sorted(order)
    slow_start = line(first={OURS: 0.54})
    assert "its encoder takes above the limit" in page.gap({"lines": [line(), slow_start]}, MACHINE)


def test_the_page_is_filled_from_files_and_again(tmp_path):
    (tmp_path / "ceilings.json").write_text(json.dumps(MACHINE))
    found = {"lines": [line()], "absent": ["onnxruntime: not installed."]}
    (tmp_path / "float32.json").write_text(json.dumps(found))
    before = page.PAGE.read_text()
    made = page.tables(tmp_path)
    assert set(made) == {"ceilings", "float32", "float32 limits", "gap"}
    once = page.filled(before, made)
    assert page.filled(once, made) == once
    assert cells(once, "a pair, greedy | 20") == ["a pair, greedy", "20", "2.00", "100", "same tokens"]
    assert "- onnxruntime: not installed." in once
    assert "2 GFLOP/s" in once
    with pytest.raises(ValueError, match="must have a place `<!-- gap -->`"):
        page.filled("<!-- float32 -->\n<!-- end -->", {"gap": "x"})


def test_growth_beside_its_limit():
    parts = [[{"name": "own past", "read": size, "operations": 0, "products": 0, "others": 0}] for size in (1e6, 2e6)]
    found = {"size": "a pair", "beams": 4, "tokens": [64, 1024], "seconds": {OURS: [0.002, 0.004]}, "cost": parts}
    shown = page.growth([found], MACHINE)
    assert cells(shown, "a pair, 4 beams, limit")[1:] == ["1.00", "2.00"]
    assert cells(shown, f"a pair, 4 beams, {OURS}")[1:] == ["2.00", "4.00"]
    assert "1,024" in shown


def test_the_page_has_a_place_for_everything_that_is_run():
    text = page.PAGE.read_text()
    derived = {"float32 limits", "int8 limits", "long limits", "gap"}
    for name in {*everything.PLAN, *derived}:
        assert f"<!-- {name} -->" in text


def test_commands_of_a_run():
    words = everything.command("long", 10, 2)
    assert words[2:5] == ["benchmarks.generate", "--size", "6 x 384"]
    assert words[words.index("--seconds") + 1] == "2.5"
    assert words[words.index("--threads") + 1] == "2"
    assert words[-1].endswith("long.json")


def test_a_race_runs_in_turns_within_its_budget(monkeypatch):
    ran = []
    programs = {name: lambda n=name: ran.append(n) or n for name in (OURS, "other", "third")}
    found = race("x", programs, lambda a, b: f"{a} is not {b}", rounds=2, warm=False)
    assert ran == [OURS, "other", "third", "third", "other", OURS]
    assert found.agree == f"other: {OURS} is not other; third: {OURS} is not third"
    ran.clear()
    found = race("x", programs, lambda a, b: "same", rounds=9, warm=False, budget_seconds=0)
    assert len(ran) == 3
    assert found.agree == "same"


def test_agreement():
    ours = torch.tensor([[1, 2], [3, 4]])
    assert same_tokens(ours, ours.clone()) == "same tokens"
    assert (
        same_tokens(ours, torch.tensor([[1, 2], [3, 5]]))
        == "DIFFERENT tokens (1 of 2 rows the same, 75.0% of the tokens)"
    )
    assert same_tokens(ours, ours[:1]).startswith("DIFFERENT shapes")
    assert alike(ours, torch.tensor([[1, 2], [3, 5]])) == "75% alike"


def test_sources_of_real_lengths():
    mixed = sources(16, 64, mixed=True)
    assert mixed.ids.shape[1] == max(mixed.lengths) <= 64
    assert len(set(mixed.lengths)) > 4
    assert (mixed.ids[mixed.mask == 0] == 0).all()
    assert sources(2, 5).lengths == [5, 5]
    assert min(real_lengths()) >= 8
