"""CTranslate2: published encoder-decoders only, so of our sizes the BART-base."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers import AbsentError, Inputs, Precision, Program

NAME = "ctranslate2"
# What its converter reads of a BART's configuration and transformers 5 no longer writes.
_MISSING = {
    "normalize_before": False,
    "normalize_embedding": True,
    "static_position_embeddings": False,
    "add_final_layer_norm": False,
}
_SPECIAL = {"bos_token": "0", "pad_token": "1", "eos_token": "2", "unk_token": "3"}


def opened(folder: Path, precision: Precision, threads: int) -> Program:
    """The converted model, its weights in the precision asked for; tokens are written as their numbers."""
    try:
        import ctranslate2
    except ImportError as error:
        raise AbsentError("not installed") from error
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["model_type"] == "encoder-decoder":
        raise AbsentError("does not run a pair of two checkpoints")
    with tempfile.TemporaryDirectory(prefix="seqgraft-benchmark-") as place:
        source, target = Path(place) / "source", Path(place) / "target"
        shutil.copytree(folder, source)
        (source / "config.json").write_text(json.dumps(config | _MISSING), encoding="utf-8")
        _write_tokenizer(source, config["vocab_size"])
        ctranslate2.converters.TransformersConverter(str(source)).convert(str(target))
        translator = ctranslate2.Translator(str(target), compute_type=precision, intra_threads=threads, inter_threads=1)
    written: dict[Inputs, list[list[str]]] = {}

    def generate(inputs: Inputs, new: int, beams: int) -> Tensor:
        if inputs not in written:  # a user has these from a tokenizer, as the others have the numbers
            rows = zip(inputs.ids.tolist(), inputs.lengths, strict=True)
            written[inputs] = [[str(index) for index in ids[:length]] for ids, length in rows]
        found: list[Any] = translator.translate_batch(
            written[inputs], beam_size=beams, min_decoding_length=new, max_decoding_length=new, max_batch_size=0
        )
        return torch.tensor([[int(token) for token in one.hypotheses[0]] for one in found])

    return generate


def _write_tokenizer(folder: Path, tokens: int) -> None:
    """A tokenizer whose tokens are the numbers themselves."""
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({str(index): index for index in range(tokens)}, unk_token="3")).save(
        str(folder / "tokenizer.json")
    )
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **_SPECIAL}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
