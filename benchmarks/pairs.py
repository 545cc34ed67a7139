"""The pairs that the benchmarks run, of published sizes, random weights the same in every program; and sources."""

import ast
import functools
import importlib.util
import re
import tempfile
from pathlib import Path
from typing import Any

import torch

import seqgraft
from benchmarks.peers import Inputs

SIZES = {
    "6 x 384": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "BERT-base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
BART = "BART-base"
"""A whole published encoder-decoder, 6 + 6 layers of width 768, saved by `transformers`."""
START, PAD = 101, 0


def folder(size: str, **changes: Any) -> Path:
    """A saved pair of this size, made once a run.

    Its deviation is that of larger weights than fresh ones, so that greedy choices are clear and no rounding decides.
    """
    torch.manual_seed(0)
    if size == BART:
        return _bart(**changes)
    half = {**SIZES[size], "initializer_range": 0.05, **changes}
    config = seqgraft.EncoderDecoderConfig(
        encoder=seqgraft.BertConfig(**half),
        decoder=seqgraft.BertConfig(**half),
        decoder_start_token_id=START,
        pad_token_id=PAD,
    )
    place = Path(tempfile.mkdtemp(prefix="seqgraft-benchmark-")) / size.replace(" ", "")
    seqgraft.EncoderDecoderModel(config).save_pretrained(place)
    return place


def _bart(**changes: Any) -> Path:
    """A BART-base whose generation nothing ends before the asked length, as with the pairs."""
    library = reference()
    settings = {"encoder_layers": 6, "decoder_layers": 6, "d_model": 768, "init_std": 0.05, **changes}
    settings |= {f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in _BART_HALF.items()}
    config = library.BartConfig(**settings, eos_token_id=None, forced_eos_token_id=None, decoder_start_token_id=2)
    place = Path(tempfile.mkdtemp(prefix="seqgraft-benchmark-")) / BART
    model = library.BartForConditionalGeneration(config)
    with torch.no_grad():
        model.model.shared.weight[2] = 0.0  # the end that CTranslate2 alone must be told not to choose: its logit is 0
    model.save_pretrained(place)
    return place


_BART_HALF = {"attention_heads": 12, "ffn_dim": 3072}


@functools.cache
def real_lengths() -> tuple[int, ...]:
    """Tokens of real texts: the bodies of docstrings of a few modules of the standard library, in a fixed order.

    A word or a mark counts as a token; texts of fewer than 8 are left out, as nobody would shorten them.
    """
    found = []
    for module in ("argparse", "datetime", "difflib", "doctest", "random", "statistics", "subprocess", "typing"):
        path = importlib.util.find_spec(module).origin  # type: ignore[union-attr]
        for node in ast.walk(ast.parse(Path(str(path)).read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                body = (ast.get_docstring(node) or "").partition("\n")[2]
                found.append(len(re.findall(r"\w+|[^\w\s]", body)))
    return tuple(count for count in found if count >= 8)


def sources(batch: int, longest: int, *, mixed: bool = False) -> Inputs:
    """Random ids [batch, longest]; mixed: of lengths drawn from real texts, cut at `longest`, padded at the right."""
    maker = torch.Generator().manual_seed(1)
    ids = torch.randint(1000, 30000, (batch, longest), generator=maker)
    lengths = torch.full((batch,), longest)
    if mixed:
        real = torch.tensor(real_lengths())
        lengths = real[torch.randint(len(real), (batch,), generator=maker)].clamp(max=longest)
        ids = ids[:, : int(lengths.max())]
    mask = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
    return Inputs(ids * mask + PAD * (1 - mask), mask)


def reference() -> Any:
    """`transformers`, silent."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers
