"""The programs that a pair's generation is timed in, each behind one function.

A peer is a module with `NAME` and `opened(folder, precision, threads) -> Program`. It raises `AbsentError`, with a
reason of one line, when it is not installed or does not run the pair: the benchmark says so and goes on.
"""

import contextlib
import importlib
import multiprocessing
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
    """A peer, or this library (`seqgraft`), with the weights of a folder in memory; raises AbsentError.

    Each in a process of its own: in one, the thread pools of several libraries hold each other up.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = (theirs, name, folder, precision, torch.get_num_threads())
    process = context.Process(target=_serve, args=arguments, daemon=True)
    process.start()
    reason = ours.recv()
    if reason is not None:
        raise AbsentError(reason)

    def run(inputs: Inputs, new: int, beams: int) -> Tensor:
        ours.send((inputs.ids.numpy(), inputs.mask.numpy(), new, beams))
        return torch.from_numpy(ours.recv())

    return run


def _serve(calls: Any, name: str, folder: Path, precision: Precision, threads: int) -> None:
    """Answers calls until the other end is gone."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    try:
        module = importlib.import_module(f"benchmarks.peers.{PEERS.get(name, name)}")
        program: Program = module.opened(folder, precision, threads)
    except AbsentError as absent:
        calls.send(str(absent))
        return
    calls.send(None)
    with contextlib.suppress(EOFError):
        while True:
            ids, mask, new, beams = calls.recv()
            found = program(Inputs(torch.from_numpy(ids), torch.from_numpy(mask)), new, beams)
            calls.send(found.numpy())


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
