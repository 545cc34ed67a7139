"""Checkpoints that the reference wrote, one folder a family."""

import pytest

from ..faults import tiny


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Family -> folder of a published checkpoint."""
    place = tmp_path_factory.mktemp("published")
    return {kind: tiny.write_reference(kind, place / kind) for kind in tiny.SIZES}
