"""Fills `expected/` anew, in the environment of the originals: `make oracle`, or `python -m tests.oracle.make [KIND ...]`."""

import os

os.environ |= {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_USE_LEGACY_KERAS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "JAX_PLATFORMS": "cpu",
    "HF_HUB_OFFLINE": "1",
}

import importlib.metadata
import platform
import sys
import time
import warnings

from tests.oracle import names, patches, stored

LIBRARIES = ("transformers", "tensorflow_cpu", "tf_keras", "jax", "flax", "torch", "numpy", "h5py", "safetensors")


def versions() -> dict[str, str]:
    """Of what computes here."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in LIBRARIES}}


def make_names() -> None:
    """How the originals name parameters."""
    for kind in names.KINDS:
        held = names.everything(kind)
        wrong = [f"{name}: {one['error']}" for name, one in held.items() if "error" in one]
        print(kind, len(held), "classes;", *wrong, sep="\n  ")
        stored.write("names", f"names_{kind}", held, versions())


MAKERS = {"names": make_names}


def main() -> None:
    """Every kind of figures, or those named."""
    import transformers

    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    patches.mend()
    for kind in sys.argv[1:] or MAKERS:
        began = time.perf_counter()
        MAKERS[kind]()
        print(f"{kind}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
