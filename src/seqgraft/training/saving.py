"""The folder that a training leaves: weights, tokenizers, what was done, the card and the curves; all or nothing."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seqgraft import folders
from seqgraft.text.pairing import PairTokenizer
from seqgraft.text.tokenizer import Tokenizer
from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.torch.pretrained import as_dtype
from seqgraft.torch.weights import stale_weights
from seqgraft.training import card, curves
from seqgraft.training.adapters import FOLDER, Adapted
from seqgraft.training.groups import Line

STALE = (*stale_weights(None), curves.PICTURE, card.CARD)


def save_folder(
    model: EncoderDecoderModel,
    tokenizer: Tokenizer | PairTokenizer,
    output: str | os.PathLike[str],
    training: dict[str, Any],
    *,
    lines: Sequence[Line] = (),
    about: Mapping[str, Any] | None = None,
    adapted: Adapted | None = None,
    dtype: str | None = None,
) -> None:
    """Write model, tokenizers, `training.json`, `metrics.csv`, `training.png` (with matplotlib) and the card.

    Args:
        training: `settings` and `result` of the training.
        lines: the table of rates, for the card; `about`: see `card.text`.
        adapted: adapters that are written beside the weights; in the model they are merged afterwards.
        dtype: of the weights in the file; None: as they are.
    """
    with folders.saving(output, stale=STALE) as staged:
        if adapted is not None:
            adapted.write(staged / FOLDER)
        try:
            kept = model if dtype is None else copy.deepcopy(model).to(as_dtype(dtype))
            kept.save_pretrained(staged)
        finally:
            if adapted is not None:
                adapted.take_back(staged / FOLDER)
        tokenizer.save_pretrained(staged)
        folders.write_json(staged / "training.json", training, sort_keys=False)
        result = training["result"]
        course = result["curve"], result["validation"]
        curves.write_csv(staged / curves.CSV, *course)
        drawn = curves.write_picture(staged / curves.PICTURE, *course)
        name = Path(output).expanduser().resolve().name
        how: dict[str, Any] = {"name": name, "picture": drawn}
        text = card.text(model, training["settings"], result, lines, about or {}, **how)
        (staged / card.CARD).write_text(text, encoding="utf-8")
    if adapted is None:
        shutil.rmtree(Path(output).expanduser() / FOLDER, ignore_errors=True)
