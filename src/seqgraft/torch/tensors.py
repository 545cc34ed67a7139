"""The door through which `text` makes PyTorch tensors without importing PyTorch."""

from collections.abc import Sequence
from typing import Any

import torch


def from_rows(rows: Sequence[Any]) -> torch.Tensor:
    """Equal rows of integers, `batch` lists of `length` -> long tensor [batch, length]."""
    return torch.tensor(rows, dtype=torch.int64)
