"""Tables of embeddings, made without the random start that torch gives them."""

import torch
from torch import nn


def table(rows: int, width: int, padding: int | None = None) -> nn.Embedding:
    """A table [rows, width] that waits for its values: a checkpoint's, or fresh ones (`initial.py`).

    Torch's own start draws numbers even on the meta device, for which it imports its compiler: a second, for nothing.
    """
    return nn.Embedding(rows, width, padding, _weight=torch.empty(rows, width))
