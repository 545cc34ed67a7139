"""One program of `benchmarks.frameworks`, in a process and an environment of its own: loads a pair, then does as told.

    python -m benchmarks.framework_worker PROGRAM FOLDER

Reads one JSON object a line (`batch`, `source`, `new`), generates greedily, and answers with one (`seconds`, `tokens`,
`memory`); the first answer comes unasked and says what importing and loading took. Needs NumPy and the program alone.
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Run = Callable[[np.ndarray, np.ndarray, int], Any]
"""(ids, mask) [batch, source], how many new tokens -> ids [batch, 1 + new]"""

NO_END = 10**6
"""An id beyond the table, where a program must be given an end."""


def memory() -> dict[str, float]:
    """MiB of this process: resident, of it memory and maps of files, and the most that was resident."""
    said = Path("/proc/self/status").read_text(encoding="utf-8")
    return {
        key: round(int(re.search(rf"{name}:\s+(\d+)", said).group(1)) / 1024, 1)  # type: ignore[union-attr]
        for key, name in {"resident": "VmRSS", "anonymous": "RssAnon", "mapped": "RssFile", "peak": "VmHWM"}.items()
    }


def ours_flax(place: str) -> Run:
    """`seqgraft.FlaxEncoderDecoderModel`."""
    import seqgraft

    model = seqgraft.FlaxEncoderDecoderModel.from_pretrained(place)
    return lambda ids, mask, new: (
        model.generate(ids, attention_mask=mask, max_new_tokens=new, do_sample=False).sequences
    )


def ours_tensorflow(place: str, *, xla: bool = True) -> Run:
    """`seqgraft.TFEncoderDecoderModel`, compiled by XLA."""
    import tensorflow as tf

    import seqgraft

    model = seqgraft.TFEncoderDecoderModel.from_pretrained(place)
    return lambda ids, mask, new: model.generate(
        tf.constant(ids), attention_mask=tf.constant(mask), max_new_tokens=new, do_sample=False, jit_compile=xla
    )


def ours_tensorflow_graph(place: str) -> Run:
    """The same as a graph, without XLA."""
    return ours_tensorflow(place, xla=False)


def ours_torch(place: str) -> Run:
    """`seqgraft.EncoderDecoderModel`."""
    import torch

    import seqgraft

    model = seqgraft.EncoderDecoderModel.from_pretrained(place).eval()

    def run(ids: np.ndarray, mask: np.ndarray, new: int) -> Any:
        with torch.no_grad():
            given = {"input_ids": torch.from_numpy(ids).long(), "attention_mask": torch.from_numpy(mask).long()}
            return model.generate(**given, max_new_tokens=new, do_sample=False)

    return run


def original_flax(place: str, *, jit: bool = False) -> Run:
    """`transformers.FlaxEncoderDecoderModel` of the last release that has it, mended; `generate` called as it is.

    Called so, it makes its loop anew and XLA compiles it, at every call. `jit`: wrapped in `jax.jit` by its user, who
    then chooses one length for all sources.
    """
    import jax
    from transformers import FlaxEncoderDecoderModel

    from tests.oracle.patches import mend

    mend()
    model = FlaxEncoderDecoderModel.from_pretrained(place, from_pt=True)
    compiled: dict[int, Any] = {}

    def run(ids: np.ndarray, mask: np.ndarray, new: int) -> Any:
        told = {"max_new_tokens": new, "do_sample": False, "eos_token_id": NO_END}
        if not jit:
            return model.generate(ids, attention_mask=mask, **told).sequences
        if new not in compiled:
            compiled[new] = jax.jit(
                lambda params, ids, mask: model.generate(ids, attention_mask=mask, params=params, **told).sequences
            )
        return compiled[new](model.params, ids, mask)

    return run


def original_flax_jit(place: str) -> Run:
    """The same, wrapped."""
    return original_flax(place, jit=True)


def original_tensorflow(place: str) -> Run:
    """`transformers.TFEncoderDecoderModel`, eager: compiled it makes other tokens."""
    import tensorflow as tf
    from transformers import TFEncoderDecoderModel

    model = TFEncoderDecoderModel.from_pretrained(place, from_pt=True)
    return lambda ids, mask, new: model.generate(
        tf.constant(ids), attention_mask=tf.constant(mask), max_new_tokens=new, do_sample=False
    )


IMPORTS = {
    ours_flax: ("seqgraft", "jax", "flax"),
    ours_tensorflow: ("seqgraft", "tensorflow"),
    ours_tensorflow_graph: ("seqgraft", "tensorflow"),
    ours_torch: ("seqgraft", "torch"),
    original_flax: ("transformers", "jax", "flax"),
    original_flax_jit: ("transformers", "jax", "flax"),
    original_tensorflow: ("transformers", "tensorflow", "tf_keras"),
}
PROGRAMS = {program.__name__.replace("_", "-"): program for program in IMPORTS}


def inputs(batch: int, source: int) -> tuple[np.ndarray, np.ndarray]:
    """Random ids and a full mask [batch, source]."""
    ids = np.random.default_rng(1).integers(1000, 30000, (batch, source))
    return ids.astype(np.int32), np.ones((batch, source), np.int32)


def main() -> None:
    """Load, then answer until the input ends."""
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1", "HF_HUB_OFFLINE": "1"}
    if sys.argv[1].startswith("ours"):
        del os.environ["TF_USE_LEGACY_KERAS"]
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    program = PROGRAMS[sys.argv[1]]
    began = time.perf_counter()
    for name in IMPORTS[program]:
        __import__(name)
    _first_use(program)
    imported, before = time.perf_counter() - began, memory()
    began = time.perf_counter()
    run = program(sys.argv[2])
    loaded = time.perf_counter() - began
    said: dict[str, Any] = {"import": imported, "load": loaded, "before": before, "memory": memory()}
    print(json.dumps(said), file=answers, flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        ids, mask = inputs(told["batch"], told["source"])
        began = time.perf_counter()
        tokens = np.asarray(run(ids, mask, told["new"]))
        seconds = time.perf_counter() - began
        rows = tokens[:, 1 : 1 + told["new"]].tolist()
        print(json.dumps({"seconds": seconds, "tokens": rows, "memory": memory()}), file=answers, flush=True)


def _first_use(program: Callable[..., Run]) -> None:
    """Names that a library loads on first use are part of importing; so is starting its runtime."""
    side, _, framework = program.__name__.partition("_")
    prefix = {"flax": "Flax", "flax_jit": "Flax", "tensorflow": "TF", "tensorflow_graph": "TF", "torch": ""}[framework]
    getattr(__import__("seqgraft" if side == "ours" else "transformers"), f"{prefix}EncoderDecoderModel")
    if framework.startswith("flax"):
        import jax

        jax.devices()
        jax.numpy.zeros(1).block_until_ready()


if __name__ == "__main__":
    main()
