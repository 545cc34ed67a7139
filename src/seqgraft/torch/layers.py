"""One layer: self-attention, cross-attention if any, feed-forward, each with its residual and norm."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqgraft.spec import Adapter as AdapterSpec
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


class Adapter(nn.Module):
    """down(activation(up(x)))."""

    def __init__(self, spec: AdapterSpec, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.up = nn.Linear(width, spec.width)
        self.down = nn.Linear(spec.width, width)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., width] -> the same shape."""
        return product(self.down, activate(self.spec.activation, product(self.up, x)))


class Layer(nn.Module):
    """One layer of a stack."""

    self_attention_norm: Norm | None
    cross_attention_norm: Norm | None
    feed_forward_norm: Norm | None
    self_attention_post_norm: Norm | None
    cross_attention_post_norm: Norm | None
    feed_forward_post_norm: Norm | None

    def __init__(self, spec: LayerSpec, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.self_attention = Attention(spec.self_attention, width)
        self.cross_attention = Attention(spec.cross_attention, width) if spec.cross_attention else None
        self.feed_forward = FeedForward(spec.feed_forward, width)
        self.adapter = Adapter(spec.adapter, width) if spec.adapter else None
        self.adapter_norm = Norm(spec.norm, width) if spec.adapter and spec.adapter.norm == "own" else None
        for block in ("self_attention", "cross_attention", "feed_forward"):
            for name in (f"{block}_norm", f"{block}_post_norm"):
                setattr(self, name, Norm(spec.norm, width) if name in spec.norms else None)

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
        before = self._before("self_attention", x)
        attended = self.self_attention(before, view, rotation, cache, seen=seen)
        if self.spec.order == "parallel":
            forward = before if self.spec.one_norm else self._before("feed_forward", x)
            return x + self._dropped("self_attention", attended) + self._dropped("feed_forward", self.feed_forward(forward))
        x = self._add("self_attention", x, attended)
        if self.cross_attention is not None and memory is not None:
            kept = self.cross_attention.remember(memory) if isinstance(memory, Tensor) else memory
            before = self._before("cross_attention", x)
            x = self._add("cross_attention", x, self.cross_attention(before, memory_view, memory=kept, seen=cross_seen))
        return self._add("feed_forward", x, self.feed_forward(self._before("feed_forward", x)))

    def _before(self, block: str, x: Tensor) -> Tensor:
        """What a block reads."""
        norm: Norm | None = getattr(self, f"{block}_norm")
        return x if norm is None or self.spec.order in ("post", "after") else norm(x)

    def _add(self, block: str, x: Tensor, out: Tensor) -> Tensor:
        """The residual, and the norm over it or over what is added."""
        order = self.spec.order
        if order in ("sandwich", "after"):
            norm: Norm = getattr(self, f"{block}_post_norm" if order == "sandwich" else f"{block}_norm")
            out = norm(out)
        if block == "cross_attention" and self.cross_attention is not None and self.cross_attention.gate is not None:
            out = out * torch.tanh(self.cross_attention.gate)  # after the norm, which would undo it
        x = x + self._dropped(block, out)
        if self.adapter is not None and block == "feed_forward":
            x = self._adapted(x, self.adapter)
        return getattr(self, f"{block}_norm")(x) if order == "post" else x

    def _adapted(self, x: Tensor, adapter: Adapter) -> Tensor:
        norm = self.feed_forward_norm if adapter.spec.norm == "feed_forward" else self.adapter_norm
        normed = x if norm is None else norm(x)
        out = F.dropout(adapter(normed), self.spec.dropout, self.training)
        return (normed if adapter.spec.normed_residual else x) + out

    def _dropped(self, block: str, out: Tensor) -> Tensor:
        if self.spec.residual_scale != 1.0:
            out = out * self.spec.residual_scale
        if not self.training:
            return out
        forward = self.spec.feed_forward_dropout if block == "feed_forward" else None
        return F.dropout(out, self.spec.dropout if forward is None else forward)
