"""A glance at weights that tells whether somebody wrote to them past torch's own count of writes."""

import ctypes
from collections.abc import Iterable

import torch
from torch import Tensor

_BYTES = 256
"""Looked at, at either end of a weight: what stays in memory when the rest of a mapped file is let go of."""


class Glance:
    """Looks at the same weights again and again; of use while they stay where they were when this was made.

    `weight.data.mul_(2)` leaves no trace in a tensor's version, and merged adapters, averaged weights and optimizers
    of older code write that way, to whole weights.
    """

    def __init__(self, weights: Iterable[Tensor]) -> None:
        self._near: list[ctypes.Array[ctypes.c_char]] = []
        self._far: list[Tensor] = []
        for weight in weights:
            size = weight.numel() * weight.element_size()
            if size == 0 or weight.device.type == "meta" or not weight.is_contiguous():
                continue
            if weight.device.type == "cpu":
                start, length = weight.data_ptr(), min(size, _BYTES)
                kind = ctypes.c_char * length
                self._near += (kind.from_address(start), kind.from_address(start + size - length))
            else:
                self._far.append(weight)

    def __call__(self) -> int:
        """A number that changes when the first or last bytes of a weight do.

        Elsewhere than on a CPU one small copy waits for the device.
        """
        return hash(b"".join(self._near) + _copied([end for weight in self._far for end in _ends(weight)]))


def glance(weights: Iterable[Tensor]) -> int:
    """The same, once."""
    return Glance(weights)()


def _ends(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the last bytes, two views."""
    count, flat = max(_BYTES // weight.element_size(), 1), weight.detach().view(-1)
    return flat[:count].view(torch.uint8), flat[-count:].view(torch.uint8)


def _copied(ends: list[Tensor]) -> bytes:
    return torch.cat(ends).cpu().numpy().tobytes() if ends else b""
