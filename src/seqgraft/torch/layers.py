"""One layer: self-attention, cross-attention if any, feed-forward, each with its residual and norm."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqgraft.spec import Adapter as AdapterSpec
from seqgraft.spec import Inserted as InsertedSpec
from seqgraft.spec import Layer as LayerSpec
from seqgraft.torch.attention import Attention, View
from seqgraft.torch.cache import LayerCache
from seqgraft.torch.experts import feed_forward
from seqgraft.torch.feed_forward import activate
from seqgraft.torch.norm import Norm
from seqgraft.torch.product import product
from seqgraft.torch.rotary import Rotation


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


class Inserted(nn.Module):
    """A gated layer that looks at the memory: x + gate * attention(norm(x)), then x + gate * feed_forward(norm(x))."""

    def __init__(self, spec: InsertedSpec, width: int) -> None:
        super().__init__()
        self.cross_attention = Attention(spec.cross_attention, width)
        self.cross_attention_norm = Norm(spec.norm, width)
        self.feed_forward = feed_forward(spec.feed_forward, width)
        self.feed_forward_norm = Norm(spec.norm, width)
        self.gate = nn.Parameter(torch.zeros(1)) if spec.gate else None

    def forward(
        self, x: Tensor, memory: tuple[Tensor, Tensor], memory_view: View, seen: list[Tensor] | None = None
    ) -> Tensor:
        """x [rows, time, width] -> the same shape; `memory` as the cross-attention remembers it."""
        out: Tensor = self.cross_attention(self.cross_attention_norm(x), memory_view, memory=memory, seen=seen)
        if self.cross_attention.gate is not None:
            out = out * torch.tanh(self.cross_attention.gate)
        x = x + out
        out = self.feed_forward(self.feed_forward_norm(x))
        return x + out if self.gate is None else x + out * torch.tanh(self.gate)


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
        self.feed_forward = feed_forward(spec.feed_forward, width)
        self.inserted = Inserted(spec.inserted, width) if spec.inserted else None
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
        kept = self.look.remember(memory) if isinstance(memory, Tensor) and self.look is not None else memory
        seat = kept if isinstance(kept, tuple) else None
        if self.inserted is not None and seat is not None:
            x = self.inserted(x, seat, memory_view, cross_seen)
        before = self._before("self_attention", x)
        joined = (*seat, memory_view) if self.spec.merged and seat is not None else None
        attended = self.self_attention(before, view, rotation, cache, joined=joined, seen=seen)
        if self.spec.order == "parallel":
            forward = before if self.spec.one_norm else self._before("feed_forward", x)
            return (
                x
                + self._dropped("self_attention", attended)
                + self._dropped("feed_forward", self.feed_forward(forward))
            )
        x = self._add("self_attention", x, attended)
        if self.cross_attention is not None and seat is not None:
            before = self._before("cross_attention", x)
            x = self._add("cross_attention", x, self.cross_attention(before, memory_view, memory=seat, seen=cross_seen))
        return self._add("feed_forward", x, self.feed_forward(self._before("feed_forward", x)))

    @property
    def look(self) -> Attention | None:
        """The attention that reads the memory, if any does."""
        if self.inserted is not None:
            return self.inserted.cross_attention
        return self.self_attention if self.spec.merged else self.cross_attention

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
