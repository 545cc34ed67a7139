"""Where a model goes, in a user's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seqgraft.errors import ConfigurationError

if TYPE_CHECKING:
    import torch


def as_device(device: Any) -> torch.device:
    """A device from a number (-1 is the CPU), a name, or a torch.device; ConfigurationError for what is none here."""
    import torch

    from seqgraft.torch.pretrained import as_device as mapped

    if isinstance(device, str) and device.removeprefix("-").isdecimal():
        device = int(device)
    try:
        found = mapped(device)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"`device` must be a number (-1 for the CPU), 'auto', 'cpu', 'cuda' or 'mps', but is {device!r}."
        ) from error
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ConfigurationError(
            f"`device` must be one of this machine's ({torch.cuda.device_count()} GPUs are seen), but is {device!r}; "
            "use device='cpu' or -1."
        )
    return found
