"""How many processes train, and which one this is, by the environment that a launcher sets."""

import os
from dataclasses import dataclass
from typing import TypeVar

import torch

from seqgraft.errors import ConfigurationError

T = TypeVar("T")


def rank() -> int:
    """The number of this process among those that train; 0 is the first, which speaks and saves."""
    if "RANK" in os.environ:  # torchrun
        return int(os.environ["RANK"])
    return int(os.environ.get("LOCAL_RANK", "0"))  # Lightning, which numbers nodes by NODE_RANK


def joined() -> bool:
    """Whether there are others, and they can be talked to."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def place() -> tuple[int, int]:
    """(which of the joined processes this is, how many they are)"""
    return (torch.distributed.get_rank(), torch.distributed.get_world_size()) if joined() else (0, 1)


def together(own: T) -> list[T]:
    """What every process has, in their order; all must call it."""
    if not joined():
        return [own]
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

    @property
    def world(self) -> int:
        """All of them."""
        return self.devices * self.nodes
