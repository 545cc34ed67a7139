"""`transformers`, as it comes; it has no int8 on a CPU, so it always runs in float32."""

import json
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.pairs import reference
from benchmarks.peers import AbsentError, Inputs, Precision, Program

NAME = "transformers"


def opened(folder: Path, precision: Precision, threads: int) -> Program:
    """The pair in its own class."""
    try:
        library = reference()
    except ImportError as error:
        raise AbsentError("not installed") from error
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    kinds = {"encoder-decoder": "EncoderDecoderModel", "bart": "BartForConditionalGeneration"}
    model = getattr(library, kinds[kind]).from_pretrained(folder).eval()

    @torch.no_grad()
    def generate(inputs: Inputs, new: int, beams: int) -> Tensor:
        found: Tensor = model.generate(
            input_ids=inputs.ids, attention_mask=inputs.mask, max_new_tokens=new, num_beams=beams, do_sample=False
        )
        return found[:, 1:]

    return generate
