"""One layer: self-attention, cross-attention if any, feed-forward, each with its residual and norm."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqgraft.spec import FeedForward as FeedForwardSpec
from seqgraft.spec import Layer as LayerSpec
from seqgraft.torch.attention import Attention, Linear, View
from seqgraft.torch.cache import LayerCache
from seqgraft.torch.norm import Norm
from seqgraft.torch.product import product
from seqgraft.torch.rotary import Rotation


def activate(name: str, x: Tensor) -> Tensor:
    """An activation by the spec's name."""
    if name == "gelu":
        return F.gelu(x)
    if name == "gelu_tanh":
        return F.gelu(x, approximate="tanh")
    if name == "relu":
        return F.relu(x)
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
        self.down = nn.Linear(spec.width, width, spec.bias)
        self.fast: dict[str, Linear] | None = None
        """Projections prepared for inference (`prepare.py`)."""

    def forward(self, x: Tensor) -> Tensor:
        """x [..., width] -> the same shape."""
        name = self.spec.activation
        if self.fast is not None:
            if self.gate is None:
                return self.fast["down"](activate(name, self.fast["up"](x)))
            gate, up = self.fast["stacked"](x).chunk(2, -1)
            return self.fast["down"](activate(name, gate) * up)
        if self.gate is None:
            inner = activate(name, product(self.up, x))
        else:
            inner = activate(name, product(self.gate, x)) * product(self.up, x)
        return product(self.down, F.dropout(inner, self.spec.dropout, self.training))


class Layer(nn.Module):
    """One layer of a stack."""

    def __init__(self, spec: LayerSpec, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.self_attention = Attention(spec.self_attention, width)
        self.self_attention_norm = Norm(spec.norm, width)
        if spec.cross_attention is not None:
            self.cross_attention: Attention | None = Attention(spec.cross_attention, width)
            self.cross_attention_norm: Norm | None = Norm(spec.norm, width)
        else:
            self.cross_attention = self.cross_attention_norm = None
        self.feed_forward = FeedForward(spec.feed_forward, width)
        self.feed_forward_norm = Norm(spec.norm, width)

    def forward(
        self,
        x: Tensor,
        view: View,
        rotation: Rotation | None,
        cache: LayerCache | None,
        memory: tuple[Tensor, Tensor] | Tensor | None,
        memory_view: View,
        seen: list[Tensor] | None = None,
        cross_seen: list[Tensor] | None = None,
    ) -> Tensor:
        """x [rows, time, width] -> the same shape.

        `memory` is the encoder's states, or the keys and values that this layer made of them before.
        """
        pre = self.spec.order == "pre"
        norm = self.self_attention_norm
        out = self.self_attention(norm(x) if pre else x, view, rotation, cache, seen=seen)
        x = self._add(x, out, norm)
        norm_too = self.cross_attention_norm
        if self.cross_attention is not None and norm_too is not None and memory is not None:
            kept = self.cross_attention.remember(memory) if isinstance(memory, Tensor) else memory
            out = self.cross_attention(norm_too(x) if pre else x, memory_view, memory=kept, seen=cross_seen)
            x = self._add(x, out, norm_too)
        norm = self.feed_forward_norm
        return self._add(x, self.feed_forward(norm(x) if pre else x), norm)

    def _add(self, x: Tensor, out: Tensor, norm: Norm) -> Tensor:
        """The residual, and in a post-norm layer the norm over it."""
        if self.training:
            out = F.dropout(out, self.spec.dropout)
        x = x + out
        return x if self.spec.order == "pre" else norm(x)
