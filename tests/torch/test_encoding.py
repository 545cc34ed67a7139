"""Sources of mixed lengths: the encoder runs them without most of their padding, and none depends on the others."""

import itertools
import random

import pytest
import torch

from seqgraft import EncoderDecoderModel
from seqgraft.torch.encoding import _CALL, encoded, planned

from ..families.rows import ROWS, VOCABULARY, Row
from .pairs import DECODERS, reference_pair

LENGTHS = (40, 3, 17, 39, 4, 1, 38, 18)


def cost(groups: list[list[int]], lengths: list[int]) -> int:
    return sum(len(rows) * max(lengths[row] for row in rows) + _CALL for rows in groups)


@pytest.mark.parametrize("seed", range(20))
def test_the_plan_is_the_cheapest(seed: int) -> None:
    """Against every way to cut the sorted rows."""
    drawn = random.Random(seed)
    lengths = [drawn.randint(0, 400) for _ in range(drawn.randint(1, 8))]
    groups = planned(lengths)
    assert sorted(itertools.chain(*groups)) == list(range(len(lengths)))
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    ways = []
    for cuts in itertools.product((False, True), repeat=len(lengths) - 1):
        way = [[order[0]]]
        for row, cut in zip(order[1:], cuts, strict=True):
            way = [*way, [row]] if cut else [*way[:-1], [*way[-1], row]]
        ways.append(way)
    assert cost(groups, lengths) == min(cost(way, lengths) for way in ways)


def sources(padding: str, scale: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """ids and mask [8, 40 * scale]"""
    ids = torch.randint(4, VOCABULARY, (8, 40 * scale), generator=torch.Generator().manual_seed(3))
    place = torch.arange(40 * scale).flip(0) if padding == "left" else torch.arange(40 * scale)
    mask = (place[None] < torch.tensor(LENGTHS)[:, None] * scale).long()
    return ids.masked_fill(mask == 0, 1), mask


@pytest.mark.parametrize("padding", ["right", "left"])
@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS if row.body])
@torch.no_grad()
def test_states_are_those_of_the_whole_batch(made, row: Row, padding: str, monkeypatch) -> None:
    model = made.ours(row, "encoder")
    monkeypatch.setattr("seqgraft.torch.encoding._CALL", 4)  # so that tiny batches are worth cutting
    ids, mask = sources(padding)
    shapes = []

    def encode(**inputs):
        shapes.append(tuple(inputs["input_ids"].shape))
        return model(**inputs)

    whole = model(input_ids=ids, attention_mask=mask).last_hidden_state
    found = encoded(encode, model, input_ids=ids, attention_mask=mask).last_hidden_state
    shown = mask.bool()
    assert found.shape == whole.shape
    assert float((found - whole)[shown].abs().max() / whole[shown].abs().max()) < 2e-5
    sparse = any(layer.self_attention.sparse for layer in model.spec.layers)
    if padding == "right" and not sparse:
        assert len(shapes) > 2
        assert sum(rows * time for rows, time in shapes) < 0.7 * 8 * 40
    else:
        assert shapes == [(8, 40)]


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("decoder", [name for name in DECODERS if name != "xglm"])  # whose random rows are alike
def test_a_source_does_not_depend_on_its_neighbours(tmp_path, decoder: str, beams: int) -> None:
    reference_pair("bert", decoder, seed=2).save_pretrained(tmp_path)
    model = EncoderDecoderModel.from_pretrained(tmp_path)
    ids, mask = sources("right")
    fixed = {"num_beams": beams, "max_new_tokens": 16, "bad_words_ids": [[1]]}
    together = model.generate(ids, attention_mask=mask, **fixed)
    assert len({tuple(row) for row in together.tolist()}) > 1
    for at, length in enumerate(LENGTHS):
        alone = model.generate(ids[at : at + 1, :length], **fixed)
        assert torch.equal(together[at, : alone.shape[1]], alone[0])
        assert not bool((together[at, alone.shape[1] :] != 1).any())  # the rest is padding
