"""The tiny models of the families' suite; compiled programs are let go of after each file."""

from collections.abc import Iterator

import pytest

from ..torch.conftest import made

__all__ = ["made"]


@pytest.fixture(autouse=True, scope="module")
def compiled_no_longer_than_needed() -> Iterator[None]:
    """They would stay in memory until the tests end."""
    yield
    jax = pytest.importorskip("jax")
    jax.clear_caches()
