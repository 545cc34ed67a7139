"""Fresh weights, by the canonical name and the spec."""

import logging
from collections.abc import Iterable
from typing import cast

import torch

from seqgraft.torch.norm import Norm
from seqgraft.torch.stack import Stack

logger = logging.getLogger("seqgraft")


@torch.no_grad()
def initialise(stack: Stack, names: Iterable[str]) -> None:
    """Fill the parameters named: norms 1 and 0, biases and gates 0, the rest normal with the spec's deviation."""
    spec = stack.spec
    for name in names:
        parent, _, leaf = name.rpartition(".")
        parameter = stack.get_parameter(name)
        block = parent.rstrip("0123456789").removesuffix(".").rpartition(".")[2]
        if leaf in ("bias", "gate"):
            parameter.zero_()
        elif block.endswith("norm"):
            parameter.fill_(1.0 - cast("Norm", stack.get_submodule(parent)).spec.offset)
        else:
            inner = block in ("output", "down") and spec.output_deviation is not None and name.startswith("layers.")
            parameter.normal_(0.0, spec.output_deviation if inner and spec.output_deviation else spec.deviation)


@torch.no_grad()
def start_from_self_attention(stack: Stack, names: Iterable[str]) -> None:
    """Give fresh cross-attention the values of its layer's self-attention, where shapes allow (T5Gemma).

    One line of the log says where they do not: keys and values that read an encoder of another width.
    """
    own = dict(stack.named_parameters())
    apart: list[str] = []
    for name in names:
        for block in ("inserted.cross_attention", "cross_attention"):
            if f".{block}" in name:
                model = own.get(name.replace(f".{block}", ".self_attention"))
                break
        else:
            continue
        if model is None:
            continue  # a gate, say: self-attention has none
        if model.shape == own[name].shape:
            own[name].copy_(model)
        else:
            apart.append(name)
    if apart:
        logger.warning(
            "%d tensors of the new cross-attention start at random, since self-attention's have another shape: %s, ...",
            len(apart),
            apart[0],
        )
