"""The originals open what this library wrote, and compute what they do from PyTorch's folder (`make oracle`)."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.oracle.cases import CASES
from tests.oracle.originals import CLOSE, FIGURES, flax_figures, tensorflow_figures, torch_figures
from tests.oracle.stored import arrays
from tests.oracle.written import hashes


def logits(framework: str, place: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Of the original class, from a folder of ours, unaided: no `from_pt`."""
    import transformers

    if framework == "pt":
        model = transformers.EncoderDecoderModel.from_pretrained(place, attn_implementation="eager").eval()
        return torch_figures(model, inputs)[FIGURES[0]]
    model = getattr(transformers, f"{'Flax' if framework == 'flax' else 'TF'}EncoderDecoderModel").from_pretrained(
        place
    )
    figures, _ = (flax_figures if framework == "flax" else tensorflow_figures)(model, inputs)
    return figures[FIGURES[0]]


def everything(out: Path) -> dict[str, Any]:
    """pair -> framework -> kind -> digests of the files, and how far the logits lie from those of PyTorch's folder."""
    held: dict[str, Any] = {}
    for place in sorted(out.glob("*/*/*")):
        pair, framework, kind = place.parts[-3:]
        inputs = CASES[pair].inputs()
        seen = inputs["decoder_attention_mask"].astype(bool)
        wanted = arrays(pair)["flax/logits"][seen]
        apart = float(np.abs(logits(framework, place, inputs)[seen] - wanted).max() / np.abs(wanted).max())
        if apart > CLOSE:
            raise ValueError(f"{place}: the original computes something else from it, {apart:.1e} apart.")
        one = {"files": hashes(place), "apart": float(f"{apart:.1e}")}
        held.setdefault(pair, {}).setdefault(framework, {})[kind] = one
    return held
