"""What both frameworks' tests do with stored figures: folders, where padding is, gradients by name. NumPy alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.oracle import stored
from tests.oracle.cases import CASES, Case, folder


def cases(framework: str) -> list[str]:
    """Names of the cases that the framework's originals ran; `test_every_case_is_there` misses those not stored."""
    there = {path.stem for path in stored.all_stored()}
    return [name for name, case in CASES.items() if framework in case.frameworks and name in there]


def place(name: str, where: Path) -> Path:
    """The PyTorch folder of a case."""
    return folder(where / name, stored.read(name))


def settings(framework: str) -> list[tuple[str, str]]:
    """(case, setting of generation) of a framework's cases, whether or not its original knew the setting."""
    return [(name, setting) for name in cases(framework) for setting in stored.read(name)["generated"]]


def same_figures(name: str, framework: str, found: Mapping[str, Any], bound: float = 1e-5) -> None:
    """Each of our figures equals the original's where neither side is padding; `bound` is beside the largest value."""
    arrays, inputs = stored.arrays(name), CASES[name].inputs()
    source, target = (inputs[mask].astype(bool) for mask in ("attention_mask", "decoder_attention_mask"))
    for key, one in found.items():
        ours, theirs = np.asarray(one, np.float32), arrays[f"{framework}/{key}"]
        if key == "loss":
            ours, theirs = ours.reshape(-1), theirs.reshape(-1)
        elif key == "cross_attention":
            ours, theirs = (array.transpose(0, 2, 3, 1)[target] for array in (ours, theirs))
        else:
            seen = source if key.startswith("encoder") else target
            ours, theirs = ours[seen], theirs[seen]
        assert ours.shape == theirs.shape, key
        assert np.abs(ours - theirs).max() <= bound * np.abs(theirs).max(), key


def same_gradients(name: str, framework: str, found: Mapping[str, Any], bound: float = 1e-4) -> None:
    """Gradients by the original's names: every norm, and the small ones whole."""
    norms, arrays = stored.read(name)["gradients"][framework], stored.arrays(name)
    largest = max(norms.values())
    used = {key for key, norm in norms.items() if norm > 0}
    assert used <= set(found), sorted(used - set(found))
    for key in used:
        assert abs(np.linalg.norm(found[key]) - norms[key]) <= bound * largest, key
        whole = arrays.get(f"{framework}/gradient/{key}")
        if whole is not None:
            assert np.abs(np.asarray(found[key]) - whole).max() <= bound * largest, key


def asked(name: str, setting: str) -> tuple[dict[str, np.ndarray], dict[str, Any], np.ndarray]:
    """(source, options, tokens [rows, longest] of the original's PyTorch class) of one setting of generation."""
    one = stored.read(name)["generated"][setting]
    source = {key: CASES[name].inputs()[key] for key in ("input_ids", "attention_mask")}
    return source, one["options"], np.array(one["torch"])


def filled(ids: Any, like: np.ndarray, case: Case) -> np.ndarray:
    """Token ids [rows, time] padded at the right to the length of `like`.

    Where padding's id is 0 the original's beams fill a row after its end with the end again (`pad or eos`): there the
    padding that follows an end is taken for it.
    """
    ids = np.asarray(ids)
    ids = np.pad(ids, ((0, 0), (0, like.shape[1] - ids.shape[1])), constant_values=case.pad)
    if case.pad:
        return ids
    for row, theirs in zip(ids, like, strict=True):
        real = len(row) - int(np.argmax(row[::-1] != 0)) if row.any() else 0
        for place in range(real, len(row) if real else 0):
            if theirs[place] != row[real - 1]:
                break
            row[place] = theirs[place]
    return ids
