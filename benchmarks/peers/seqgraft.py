"""This library."""

from pathlib import Path

from torch import Tensor

import seqgraft
from benchmarks.peers import AbsentError, Inputs, Precision, Program

NAME = "seqgraft"


def opened(folder: Path, precision: Precision, threads: int) -> Program:
    """The pair, quantized where asked."""
    model = seqgraft.EncoderDecoderModel.from_pretrained(folder)
    if precision == "int8":
        if not hasattr(model, "quantize"):
            raise AbsentError("this version has no `model.quantize`")
        model = model.quantize("int8") or model

    def generate(inputs: Inputs, new: int, beams: int) -> Tensor:
        found: Tensor = model.generate(
            input_ids=inputs.ids, attention_mask=inputs.mask, max_new_tokens=new, num_beams=beams, do_sample=False
        )
        return found[:, 1:]

    return generate
