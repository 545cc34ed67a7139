"""A folder of any framework, a pair or one model -> its published tensors, to be written as another framework's.

Values are never touched: names change, and kernels are views with the axes the other way round.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqgraft import folders
from seqgraft.checkpoints.arrays import code_of_most
from seqgraft.checkpoints.check import misfit
from seqgraft.checkpoints.frameworks import Framework, framework_writer
from seqgraft.checkpoints.maps import Array, dtype_called
from seqgraft.checkpoints.matching import Side, match_half
from seqgraft.checkpoints.opening import Opened, open_half, open_pair
from seqgraft.checkpoints.pair_arrays import half_tensors, pair_tensors, read_half, read_pair
from seqgraft.checkpoints.written import written_half, written_pair
from seqgraft.config import AutoConfig, EncoderDecoderConfig
from seqgraft.families import family
from seqgraft.families.configuration import CONFIG_NAME


@dataclass(frozen=True)
class Convertible:
    """What a folder holds."""

    config: Any
    side: Side | None
    """Of one model, whether it is read as an encoder or as a decoder with its head; None for a pair."""
    origin: folders.Origin
    tensors: dict[str, Array]
    """published name -> array, views of the files"""
    dtype: str

    def write(self, folder: Path, framework: Framework, **how: Any) -> list[Path]:
        """Write `config.json` and a framework's weight files; `how` is as in `framework_writer`. Returns the latter."""
        config, side = self.config, self.side
        written = written_pair(config, self.dtype) if side is None else written_half(config, side, self.dtype)
        folders.write_json(folder / CONFIG_NAME, written)
        return framework_writer(config, framework, side, **how)(folder, self.tensors)


def convertible(source: str | os.PathLike[str]) -> Convertible:
    """Open a folder or hub repository of any framework.

    Raises CheckpointError, one that lists all that is missing, unexpected or of another shape; and for quantised
    weights, which no other framework has.
    """
    config = AutoConfig.from_pretrained(source)
    alone = "CausalModel" in (config.architectures or ())
    whole = not isinstance(config, EncoderDecoderConfig) and family(config.model_type).whole is not None
    if isinstance(config, EncoderDecoderConfig) or (whole and config.is_encoder_decoder and not alone):
        opened = open_pair(source, config, {})
        pair = read_pair(opened.config, opened.files, source)
        return _made(opened, None, pair_tensors(opened.config, pair))
    opened, side = _one(source)
    half = read_half(opened.config, side, opened.files, source)
    return _made(opened, side, half_tensors(opened.config, side, half))


def _made(opened: Opened, side: Side | None, tensors: dict[str, Array]) -> Convertible:
    dtype = dtype_called(code_of_most(opened.files)).name
    return Convertible(opened.config, side, opened.origin, tensors, dtype)


def _one(source: str | os.PathLike[str]) -> tuple[Opened, Side]:
    """One model as the side on which all its tensors have a place and none is missing: with its head, if it has one."""
    found: list[str] = []
    sides: tuple[Side, ...] = ("decoder", "encoder")
    for side in sides:
        opened = open_half(source, side, None, {})
        if getattr(family(opened.config.model_type), side) is None:
            continue
        match = match_half(opened.config, side, opened.files)
        problems = match.problems(opened.files)
        if not problems and not match.made:
            return opened, side
        found = problems or found
    lacking = f"  It holds neither a whole encoder nor a whole decoder of '{opened.config.model_type}'."
    raise misfit(source, [*found, lacking])
