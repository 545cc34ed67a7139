"""The encoder's states of a batch of sources of mixed lengths, computed without most of its padding."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from seqgraft.generation.outputs import BaseModelOutput
from seqgraft.torch.prepare import applied, prepare
from seqgraft.torch.stack import Stack

Encode = Callable[..., BaseModelOutput]

_CALL = 96
"""Tokens whose computation costs about what one more call of a stack does."""
_ROWS = 32
"""Rows of a product that the weights of an encoder are packed for."""


def encoded(encode: Encode, encoder: Any, **inputs: Any) -> BaseModelOutput:
    """What `encode(**inputs)` gives where the mask shows a token; states of padding at the right may be zeros.

    Sources are run shortest with shortest, each batch as long as its longest. Attentions and the states of each layer
    are those of the whole batch, and so is everything of an encoder that is not one of our stacks.
    """
    asked = inputs.get("output_attentions") or inputs.get("output_hidden_states")
    if not isinstance(encoder, Stack) or encoder.training or torch.is_grad_enabled():
        return encode(**inputs)
    with applied(prepare(encoder, _ROWS)):
        mask = inputs.get("attention_mask")
        if asked or mask is None or mask.numel() == 0 or not _invariant(encoder):
            return encode(**inputs)
        lengths = _lengths(mask)
        groups = planned(lengths.tolist())
        time = mask.shape[1]
        if len(groups) == 1 and int(lengths.max()) == time:
            return encode(**inputs)
        states: Tensor | None = None
        for rows in groups:
            index = torch.tensor(rows, device=mask.device)
            longest = max(int(lengths[index].max()), 1)
            own = {name: _part(value, index, longest, mask) for name, value in inputs.items()}
            found = encode(**own).last_hidden_state
            if states is None:
                states = found.new_zeros(mask.shape[0], time, found.shape[-1])
            states[index, :longest] = found
    return BaseModelOutput(states)


def planned(lengths: list[int]) -> list[list[int]]:
    """Rows by batch, so that padding and calls together cost least: rows sorted by length, cut where it pays.

    Exact for the cost `rows * longest + _CALL` of a batch, by dynamic programming over the sorted rows.
    """
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    least, cut = [0], [0]
    for end in range(1, len(order) + 1):
        longest = lengths[order[end - 1]]
        cost, start = min((least[start] + (end - start) * longest + _CALL, start) for start in range(end))
        least.append(cost)
        cut.append(start)
    groups, end = [], len(order)
    while end > 0:
        groups.append(order[cut[end] : end])
        end = cut[end]
    return groups[::-1]


def _invariant(encoder: Stack) -> bool:
    """Whether a text's states are the same however long the padding after it."""
    return not any(layer.self_attention.sparse for layer in encoder.spec.layers)


def _lengths(mask: Tensor) -> Tensor:
    """Tokens of each row up to the last one that may be seen, [rows]."""
    places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return ((mask != 0) * places).amax(-1)


def _part(value: Any, rows: Tensor, longest: int, mask: Tensor) -> Any:
    """Some rows of an input [rows, time, ...], as long as they are; [1, time, ...] is one for all rows."""
    if isinstance(value, Tensor) and value.shape[:2] == (1, mask.shape[1]):
        return value[:, :longest]
    if not isinstance(value, Tensor) or value.shape[:2] != mask.shape:
        return value[rows] if isinstance(value, Tensor) and len(value) == len(mask) else value
    return value[rows, :longest]
