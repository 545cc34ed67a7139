"""The programs that a pair's generation is timed in, each behind one function.

A peer is a module with `NAME` and `opened(folder, precision, threads) -> Program`. It raises `AbsentError`, with a
reason of one line, when it is not installed or does not run the pair: the benchmark says so and goes on.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

Precision = Literal["float32", "int8"]
PEERS = {"transformers": "hugging_face", "ctranslate2": "ctranslate", "onnxruntime": "onnx"}
"""Name of a peer -> its module."""


class AbsentError(Exception):
    """A program that cannot take part, and why."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Sources `ids [batch, time]`, and `mask [batch, time]`, 0 where a row is padded at the right."""

    ids: Tensor
    mask: Tensor

    @property
    def lengths(self) -> list[int]:
        """Real tokens of each row."""
        return [int(count) for count in self.mask.sum(1)]


Program = Callable[[Inputs, int, int], Tensor]
"""(inputs, new tokens, beams) -> generated ids [batch, new], without the first token that starts them all."""


def opened(name: str, folder: Path, precision: Precision) -> Program:
    """A peer, or this library (`seqgraft`), with the weights of a folder in memory; raises AbsentError."""
    module = importlib.import_module(f"benchmarks.peers.{PEERS.get(name, name)}")
    found: Program = module.opened(folder, precision, torch.get_num_threads())
    return found


def same_tokens(ours: Tensor, theirs: Tensor) -> str:
    """Whether two programs generated the same; begins with "same" when they did."""
    if ours.shape != theirs.shape:
        return f"DIFFERENT shapes ({list(ours.shape)}, {list(theirs.shape)})"
    if torch.equal(ours, theirs):
        return "same tokens"
    rows = int((ours == theirs).all(1).sum())
    alike = (ours == theirs).float().mean().item()
    return f"DIFFERENT tokens ({rows} of {len(ours)} rows the same, {alike:.1%} of the tokens)"


def alike(ours: Tensor, theirs: Tensor) -> str:
    """How much of what two programs generated is the same, where rounding of weights may part them."""
    if ours.shape != theirs.shape:
        return same_tokens(ours, theirs)
    return f"{(ours == theirs).float().mean().item():.0%} alike"
