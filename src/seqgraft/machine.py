"""What is known of this machine's processor without any framework: which library multiplies matrices on it.

Torch multiplies float32 matrices on the CPU with MKL, which takes a slow path on other vendors' processors; oneDNN, in
the same build, does not. `torch/product.py` follows the rule where torch's build has both.
"""

import contextlib
import ctypes
import os
import platform
from pathlib import Path

SETTING = "SEQGRAFT_PRODUCT"
"""Environment variable that overrides the rule: `onednn` or `torch`."""


def asked() -> str:
    """What the environment variable says; empty where it says nothing. Raises ValueError for anything else."""
    said = os.environ.get(SETTING, "")
    if said not in ("", "onednn", "torch"):
        raise ValueError(f"{SETTING} must be 'onednn' or 'torch', but is {said!r}.")
    return said


def vendor() -> str:
    """Of the processor, in its own words ("AuthenticAMD", "GenuineIntel"); empty where that is not known."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("vendor_id"):
                return line.partition(":")[2].strip()
    return "AuthenticAMD" if "AuthenticAMD" in platform.processor() else ""


def rule() -> str:
    """`onednn` or `torch`, which library float32 products on the CPU go to where torch's build has both."""
    return asked() or ("onednn" if vendor() == "AuthenticAMD" else "torch")


def description() -> str:
    """The same, with the packing and the reason, for a reader."""
    how = {
        "onednn": "oneDNN, weights packed in its layout when decoding starts",
        "torch": "torch's own library, weights as they are",
    }[rule()]
    why = f"said by {SETTING}" if asked() else f"a {vendor() or 'unknown'} processor; {SETTING} overrides"
    return f"{how} ({why})"


def give_back() -> None:
    """Memory that was freed goes back to the system, where the C library (glibc) keeps it for itself."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
