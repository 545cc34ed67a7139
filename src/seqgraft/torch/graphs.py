"""Recording a step once and replaying it: CUDA graphs behind a seam of two functions.

A replay launches all kernels of a step with one call, where launching them one by one costs more time on the host than
small batches cost on the GPU.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from seqgraft.generation.compiling import compile_arguments
from seqgraft.generation.config import GenerationConfig

Run = Callable[[], Tensor]
Replay = Callable[[], Tensor]
"""Runs what was recorded again; its result is in the same tensor every time."""


class Recorder(Protocol):
    """What runs a step whose tensors all stay where they are."""

    def warm(self, run: Run) -> Tensor:
        """Run it, as it will be recorded."""
        ...

    def capture(self, run: Run) -> Replay:
        """Record it, which does not run it."""
        ...


@dataclass(frozen=True)
class Plan:
    """How the steps of one generation run whose shapes are fixed; rows have `longest` tokens at most."""

    longest: int
    recorder: Recorder | None = None
    """Records the step once and replays it."""
    compiled: Mapping[str, Any] | None = None
    """Arguments of `torch.compile`, where the step is compiled."""


def plan_of(config: GenerationConfig, longest: int, device: torch.device) -> Plan | None:
    """What the settings ask for; None for the ordinary step.

    Steps of fixed shapes are the default on CUDA alone, and are recorded there; `disable_compile` leaves them as they
    are, one launch after another. A `compile_config` asks for them too.
    """
    kind, off = config.cache_implementation, bool(config.disable_compile)
    compiled = None if off else compile_arguments(config)
    if kind not in (None, "static") or (kind is None and compiled is None and (off or device.type != "cuda")):
        return None
    return Plan(longest, None if off else recorder(device), compiled)


class CudaGraphs:
    """Graphs of one stream of a device. They share one pool of memory, since one replays after the other."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.pool: Any = None

    def warm(self, run: Run) -> Tensor:
        """On a side stream, so that what libraries allocate for it is there when the graph is recorded."""
        current = torch.cuda.current_stream(self.device)
        self.side.wait_stream(current)
        with torch.cuda.stream(self.side):
            out = run()
        current.wait_stream(self.side)
        out.record_stream(current)
        return out

    def capture(self, run: Run) -> Replay:
        """Other threads may go on using the device meanwhile."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=self.side, capture_error_mode="thread_local"):
            out = run()
        self.pool = graph.pool()

        def replay() -> Tensor:
            graph.replay()
            return out

        return replay


_recorders: dict[tuple[torch.device, int], CudaGraphs] = {}


def recorder(device: torch.device) -> Recorder | None:
    """What records steps on a device, for its current stream; None where nothing does."""
    if device.type != "cuda":
        return None
    key = (device, torch.cuda.current_stream(device).cuda_stream)
    if key not in _recorders:
        _recorders[key] = CudaGraphs(device)
    return _recorders[key]
