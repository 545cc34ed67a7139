"""Fresh weights, by the canonical name and the spec."""

from collections.abc import Iterable
from typing import cast

import torch

from seqgraft.torch.norm import Norm
from seqgraft.torch.stack import Stack


@torch.no_grad()
def initialise(stack: Stack, names: Iterable[str]) -> None:
    """Fill the parameters named: norms 1 and 0, biases and gates 0, the rest normal with the spec's deviation."""
    spec = stack.spec
    for name in names:
        parent, _, leaf = name.rpartition(".")
        parameter = stack.get_parameter(name)
        block = parent.rpartition(".")[2]
        if leaf in ("bias", "gate"):
            parameter.zero_()
        elif block.endswith("norm"):
            parameter.fill_(1.0 - cast("Norm", stack.get_submodule(parent)).spec.offset)
        else:
            inner = block in ("output", "down") and spec.output_deviation is not None and name.startswith("layers.")
            parameter.normal_(0.0, spec.output_deviation if inner and spec.output_deviation else spec.deviation)
