"""From a stack's last states to logits."""

import torch
from torch import Tensor, nn

from seqgraft.spec import Head as HeadSpec
from seqgraft.torch.feed_forward import activate
from seqgraft.torch.norm import Norm
from seqgraft.torch.product import Linear, product


class Head(nn.Module):
    """From states to logits. The output table is the input table itself when the spec ties them."""

    def __init__(self, spec: HeadSpec, width: int, vocabulary: int) -> None:
        super().__init__()
        self.spec = spec
        transform = spec.transform
        into = transform.width or width if transform else width
        self.dense = nn.Linear(width, into, transform.bias) if transform else None
        self.norm = Norm(transform.norm, into) if transform and transform.norm else None
        self.output = nn.Linear(into, vocabulary, spec.bias)
        self.fast: dict[str, Linear] | None = None
        """Projections prepared for inference (`prepare.py`)."""

    def forward(self, states: Tensor) -> Tensor:
        """states [..., width] -> logits [..., vocabulary]"""
        states, fast = self.before_output(states), self.fast
        logits = product(self.output, states) if fast is None else fast["output"](states)
        cap = self.spec.softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def before_output(self, states: Tensor) -> Tensor:
        """states [..., width] -> what the last linear map reads."""
        if self.spec.transform is not None and self.dense is not None:
            fast, activation = self.fast, self.spec.transform.activation
            if fast is not None:  # prepared with its activation
                states = fast["dense"](states)
            else:
                states = product(self.dense, states)
                states = states if activation is None else activate(activation, states)
            if self.norm is not None:
                states = self.norm(states)
        if self.spec.scale != 1.0:
            states = states * self.spec.scale
        return states
