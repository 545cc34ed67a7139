"""Fills `expected/` anew, in the environment of the originals: `make oracle`; some kinds alone when they are named."""

import os

os.environ |= {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_USE_LEGACY_KERAS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "JAX_PLATFORMS": "cpu",
    "HF_HUB_OFFLINE": "1",
}

import argparse
import importlib.metadata
import platform
import sys
import time
import warnings
from pathlib import Path

from tests.oracle import cases, files, names, opened, originals, patches, stored

LIBRARIES = ("transformers", "tensorflow_cpu", "tf_keras", "jax", "flax", "torch", "numpy", "h5py", "safetensors")


def versions() -> dict[str, str]:
    """Of what computes here."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in LIBRARIES}}


def make_names(asked: argparse.Namespace) -> None:
    """How the originals name parameters."""
    for kind in names.KINDS:
        if asked.stale and stored.fresh("names", f"names_{kind}"):
            continue
        held = names.everything(kind)
        wrong = [f"{name}: {one['error']}" for name, one in held.items() if "error" in one]
        print(kind, len(held), "classes;", *wrong, sep="\n  ")
        stored.write("names", f"names_{kind}", held, versions())


def make_computed(asked: argparse.Namespace) -> None:
    """What the originals compute for the tiny pairs."""
    for name, case in cases.CASES.items():
        if (asked.only and name not in asked.only) or (asked.stale and stored.fresh("computed", name)):
            continue
        held, arrays = originals.computed(case)
        print(name, held["apart"], flush=True)
        for setting, one in held["generated"].items():
            other = [framework for framework in case.frameworks if one.get(framework, one["torch"]) != one["torch"]]
            if other:
                print(f"  {setting}: other tokens than in PyTorch: {', '.join(other)}")
        stored.write("computed", name, held, versions(), arrays)


def make_files(asked: argparse.Namespace) -> None:
    """What the originals write."""
    for pair in files.PAIRS:
        if asked.stale and stored.fresh("files", f"files_{pair}"):
            continue
        held, content = files.written(pair)
        stored.write("files", f"files_{pair}", held, versions(), files=content)
    held, content = files.index_checkpoint()
    stored.write("files", "files_index_checkpoint", held, versions(), files=content)


def make_opened(asked: argparse.Namespace) -> None:
    """What the originals make of the folders that this library wrote, named after `--ours`."""
    if asked.ours is None:
        sys.exit("`opened` needs the folders of `python -m tests.oracle.written OUT`, as `--ours OUT`.")
    held = opened.everything(asked.ours)
    for pair, frameworks in held.items():
        print(pair, {framework: sorted(kinds) for framework, kinds in frameworks.items()})
    stored.write("opened", "opened", held, versions())


MAKERS = {"names": make_names, "computed": make_computed, "files": make_files, "opened": make_opened}


def main() -> None:
    """Every kind of figures, or those named."""
    import transformers

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(MAKERS)}; default: all")
    parser.add_argument("--stale", action="store_true", help="only what was made from other inputs than today's")
    parser.add_argument("--only", action="append", metavar="PAIR", help="of what is computed, this pair alone")
    parser.add_argument("--ours", type=Path, help="the folders that `python -m tests.oracle.written` made")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    patches.mend()
    import jax

    jax.config.update("jax_disable_most_optimizations", True)  # tiny models: compiling is all the time it takes
    for kind in stored.MAKERS:
        stored.digest(kind)  # of the files that are read now: one changed while this runs makes the figures stale
    for kind in asked.kinds or MAKERS:
        began = time.perf_counter()
        MAKERS[kind](asked)
        print(f"{kind}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
