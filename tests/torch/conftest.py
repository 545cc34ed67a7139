"""Tiny models of the reference and ours, each made and saved once a session."""

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from seqgraft.families import ENTRIES
from seqgraft.torch.auto import model_class

from ..families.rows import MEASURED, Row, reference_model


class Made:
    """A reference model, the folder that it saved, and ours opened from there."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.theirs = cache(self._theirs)
        self.folder = cache(self._folder)

    def _theirs(self, row: Row, side: str, cross: bool = False, both_ways: bool = False) -> Any:
        return reference_model(row, side, cross=cross, both_ways=both_ways)

    def _folder(self, row: Row, side: str, cross: bool = False, both_ways: bool = False) -> Path:
        folder = self.root / f"{row.name}-{side}-{cross}-{both_ways}"
        self.theirs(row, side, cross, both_ways).save_pretrained(folder)
        return folder

    def ours(self, row: Row, side: str, cross: bool = False, both_ways: bool = False, **kwargs: Any) -> Any:
        """A model of our own, new at every call."""
        body = row.body if row.own_files else ENTRIES[row.model_type].body
        kind = model_class(row.causal if side == "decoder" else body)
        if both_ways:
            kwargs["is_causal"] = False
        if cross:
            kwargs["add_cross_attention"] = True
        return kind.from_pretrained(self.folder(row, side, cross, both_ways), **kwargs)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


PARITY = os.environ.get("SEQGRAFT_PARITY")
"""A file for the largest distance of each family's states and logits from the reference's: `docs/parity.json`."""
_largest: dict[str, float] = {}


@pytest.fixture(autouse=True)
def parity(request: pytest.FixtureRequest) -> Iterator[None]:
    """Note what the tests of states and logits measure, when a file is asked for."""
    MEASURED.clear()
    yield
    if PARITY and request.node.originalname in ("test_encoder", "test_decoder") and MEASURED:
        row: Row = request.node.callspec.params["row"]
        _largest[row.model_type] = max(_largest.get(row.model_type, 0.0), *MEASURED)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if PARITY and _largest:
        rounded = {name: float(f"{value:.1e}") for name, value in sorted(_largest.items())}
        Path(PARITY).write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")
