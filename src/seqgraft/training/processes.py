"""How many processes train, and which one this is, by the environment that a launcher sets."""

import os
import sys
from dataclasses import dataclass
from typing import Any, TypeVar

from seqgraft.errors import ConfigurationError

T = TypeVar("T")


def rank() -> int:
    """The number of this process among those that train; 0 is the first, which speaks and saves.

    Before they know each other it is what torchrun says, or Lightning, whose number is that on its machine (see
    `Processes.first`).
    """
    if joined():
        return place()[0]
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))


def joined() -> bool:
    """Whether there are others, and they can be talked to."""
    torch: Any = sys.modules.get("torch")
    return bool(torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized())


def place() -> tuple[int, int]:
    """(which of the joined processes this is, how many they are)"""
    if not joined():
        return 0, 1
    import torch

    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def together(own: T) -> list[T]:
    """What every process has, in their order; all must call it."""
    if not joined():
        return [own]
    import torch

    found: list[T | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(found, own)
    return found  # type: ignore[return-value]


@dataclass(frozen=True)
class Processes:
    """Processes on each of some machines."""

    devices: int = 1
    """On each machine, one for a GPU or, on a CPU, as many as wanted."""
    nodes: int = 1
    """Machines."""

    @classmethod
    def asked(cls, devices: int | None, nodes: int) -> "Processes":
        """What is asked for; None takes what torchrun says, or one. Raises ConfigurationError for what cannot be."""
        whole, local = os.environ.get("WORLD_SIZE"), os.environ.get("LOCAL_WORLD_SIZE")
        if whole is not None and local is not None and "TORCHELASTIC_RUN_ID" in os.environ:
            there = cls(int(local), int(whole) // int(local))
            if (devices is not None and devices != there.devices) or nodes not in (1, there.nodes):
                raise ConfigurationError(
                    f"torchrun started {there.devices} processes on {there.nodes} machines, but {devices} on {nodes} "
                    "are asked for: leave `devices` and `nodes` out."
                )
            return there
        for name, value in (("devices", devices), ("nodes", nodes)):
            if value is not None and value < 1:
                raise ConfigurationError(f"`{name}` must be at least 1, but is {value}.")
        return cls(devices or 1, nodes)

    def first(self) -> bool:
        """Whether this is the process that speaks and saves, as far as is known before they know each other."""
        if self.nodes > 1 and "RANK" not in os.environ and int(os.environ.get("NODE_RANK", "0")) > 0:
            return False  # Lightning's launcher, on another machine than the first
        if self.world > 1 and "LOCAL_RANK" not in os.environ and int(os.environ.get("SLURM_PROCID", "0")) > 0:
            return False  # srun
        return rank() == 0

    @property
    def world(self) -> int:
        """All of them."""
        return self.devices * self.nodes
