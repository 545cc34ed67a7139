"""Activations, and the feed-forward block."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqgraft.spec import FeedForward as FeedForwardSpec
from seqgraft.torch.product import Linear, product


def activate(name: str, x: Tensor) -> Tensor:
    """An activation by the spec's name."""
    if name == "gelu":
        return F.gelu(x)
    if name == "gelu_tanh":
        return F.gelu(x, approximate="tanh")
    if name == "quick_gelu":
        return x * torch.sigmoid(1.702 * x)
    if name == "relu":
        return F.relu(x)
    if name == "relu_squared":
        return F.relu(x).square()
    if name == "silu":
        return F.silu(x)
    return torch.tanh(x)


class FeedForward(nn.Module):
    """down(activation(up(x))), or down(activation(gate(x)) * up(x))."""

    def __init__(self, spec: FeedForwardSpec, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.up = nn.Linear(width, spec.width, spec.bias)
        self.gate = nn.Linear(width, spec.width, spec.bias) if spec.gated else None
        self.down = nn.Linear(spec.width, width, spec.biases[1])
        self.fast: dict[str, Linear] | None = None
        """Projections prepared for inference (`prepare.py`)."""

    def forward(self, x: Tensor) -> Tensor:
        """x [..., width] -> the same shape."""
        name, fast = self.spec.activation, self.fast
        if fast is not None:
            if self.gate is None:
                return fast["down"](fast["activated"](x))
            gate, up = fast["stacked"](x).chunk(2, -1)
            return fast["down"](self._gated(gate, up))
        if self.gate is None:
            inner = activate(name, product(self.up, x))
        else:
            inner = self._gated(product(self.gate, x), product(self.up, x))
        return product(self.down, F.dropout(inner, self.spec.dropout, self.training))

    def _gated(self, gate: Tensor, up: Tensor) -> Tensor:
        limit = self.spec.clamp
        if limit is None:
            return activate(self.spec.activation, gate) * up
        return activate(self.spec.activation, gate.clamp(max=limit)) * (up.clamp(-limit, limit) + 1)
