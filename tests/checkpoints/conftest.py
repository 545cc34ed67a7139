import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    """A few tensors of several dtypes and shapes, an empty one and a scalar among them."""
    torch.manual_seed(0)
    return {
        "layers.0.weight": torch.randn(4, 6),
        "layers.0.bias": torch.randn(4).to(torch.bfloat16),
        "layers.1.weight": torch.randn(6, 4).to(torch.float16),
        "ids": torch.arange(5),
        "mask": torch.tensor([True, False, True]),
        "scale": torch.tensor(0.5),
        "none": torch.empty(0, 3),
    }


@pytest.fixture
def raw_safetensors() -> Callable[..., Path]:
    """Write a safetensors file of any header, right or wrong."""

    def write(path: Path, header: Any, data: bytes, *, length: int | None = None) -> Path:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
        return path

    return write
