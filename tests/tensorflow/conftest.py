"""The tiny models of the families' suite, and where TensorFlow is missing nothing is collected."""

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
pytest.importorskip("tensorflow", reason="the extra 'tensorflow' is not installed")

from ..torch.conftest import made

__all__ = ["made"]
