"""A pair's weights as numpy arrays by canonical name: read from its files, and put back under published names.

    files = open_pair(source).files                 # or checkpoints.open_weights
    arrays = read_pair(config, files, source)       # PairArrays: encoder, decoder, bridge, and what is carried
    half = read_half(config, "decoder", files, source)   # HalfArrays; half.missing is yours to make (`initial.fresh`)
    write_arrays(folder, pair_tensors(config, arrays))

Linear weights are (out, in), as the canonical names have it; a tied output table has no name of its own. Arrays are
views of maps of the files (see `arrays.ArrayReader`): convert one, drop it, and its pages are free again.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seqgraft.checkpoints.arrays import ArrayReader, assembled
from seqgraft.checkpoints.check import refuse
from seqgraft.checkpoints.files import WeightFiles
from seqgraft.checkpoints.initial import copies_of_self_attention, fresh
from seqgraft.checkpoints.maps import Array
from seqgraft.checkpoints.matching import Match, Side, match_half, tell_fresh
from seqgraft.checkpoints.pairs import bridge_table, in_one_file, match_pair, same_when_both_stored
from seqgraft.checkpoints.quantized import SCALES, quantization
from seqgraft.checkpoints.sharing import BRIDGE
from seqgraft.config import EncoderDecoderConfig
from seqgraft.errors import CheckpointError
from seqgraft.families import PretrainedConfig, family, graft_table
from seqgraft.families.naming import Names, plan_writing
from seqgraft.spec import Graft, parameters


@dataclass
class HalfArrays:
    """One half's weights."""

    arrays: dict[str, Array]
    """canonical name -> array; what is missing has no entry"""
    carried: dict[str, Array] = field(default_factory=dict)
    """full published name in the headed file -> array that nothing computes with (a pooler), to be written back"""
    missing: tuple[str, ...] = ()
    """Canonical names of what the files lack and may lack: the graft, a head."""


@dataclass
class PairArrays:
    """A pair's weights. What the halves share stands in both, as one array read twice."""

    encoder: HalfArrays
    decoder: HalfArrays
    bridge: dict[str, Array] = field(default_factory=dict)
    """`weight` (decoder's width, encoder's width) and `bias` of the projection between the halves, if there is one"""


def read_pair(config: EncoderDecoderConfig, files: WeightFiles, source: str | os.PathLike[str]) -> PairArrays:
    """The arrays of a pair's own files, everything mapped and nothing read yet.

    `config.tie_encoder_decoder` becomes False when the files' halves differ, with a line of the log.

    Raises CheckpointError: one error that lists all that is missing, unexpected or of another shape in either half;
    or copies of a tied tensor differ.
    """
    _refuse_quantized(config, files, source)
    match = match_pair(config, files, source)
    same = same_when_both_stored(config, match, files, source)
    config.tie_encoder_decoder = config.tie_encoder_decoder and same
    reader = ArrayReader(files)
    encoder, decoder = _read(match.encoder, reader), _read(match.decoder, reader)
    for name in match.decoder.made:  # what a whole's file may lack is zeros
        decoder.arrays[name] = fresh(match.decoder.spec, [name], dtype=_dtype(decoder))[name]
    decoder.missing = ()
    bridge = {leaf: reader.raw(BRIDGE + leaf) for leaf in bridge_table(config)}
    return PairArrays(encoder, decoder, bridge)


def read_half(
    config: PretrainedConfig, side: Side, files: WeightFiles, source: str | os.PathLike[str], start: str = ""
) -> HalfArrays:
    """The arrays of one half from a checkpoint of its family, headed or not, whose names begin with `start`.

    What it lacks and may lack is in `missing`, and a line of the log says so. Raises CheckpointError as `read_pair`.
    """
    _refuse_quantized(config, files, source)
    match = match_half(config, side, files, start)
    refuse(source, match.problems(files))
    tell_fresh(f"The {side}", source, match)
    return _read(match, ArrayReader(files))


def make_missing(config: PretrainedConfig, side: Side, half: HalfArrays, seed: int = 0) -> list[str]:
    """Give `half.arrays` fresh weights for what is missing, of the checkpoint's floating type, as the graft says.

    Returns the canonical names that were made, the graft's aside (the half's `new_parameters`).
    """
    spec = family(config.model_type).half(side).spec(config)
    half.arrays |= fresh(spec, half.missing, seed, _dtype(half))
    graft = graft_table(family(config.model_type), config) if side == "decoder" else {}
    if graft and Graft.read(config.graft).init == "self_attention":
        taken, _ = copies_of_self_attention(spec, [name for name in graft if name in half.missing], half.arrays)
        half.arrays |= taken
    half.missing = tuple(name for name in half.missing if name not in graft)
    return list(half.missing)


def fresh_bridge(config: EncoderDecoderConfig, seed: int = 0, dtype: Any = np.float32) -> dict[str, Array]:
    """The projection of a new pair: normal with the decoder's deviation, and zeros; none where widths agree."""
    table = bridge_table(config)
    if not table:
        return {}
    deviation = family(config.decoder.model_type).half("decoder").spec(config.decoder).deviation
    drawn = np.random.default_rng([seed, *BRIDGE.encode()]).standard_normal(table["weight"], np.float32)
    return {"weight": (drawn * np.float32(deviation)).astype(dtype), "bias": np.zeros(table["bias"], dtype)}


def half_tensors(
    config: PretrainedConfig, side: Side, half: HalfArrays, start: str = "", *, headed: bool | None = None
) -> dict[str, Array]:
    """Published name -> array of everything that a checkpoint of this half holds, views where possible.

    `headed`: by the names of the class with a head; unless said, a decoder's are.
    """
    declared = family(config.model_type).half(side)
    names = declared.names(config)
    headed = side == "decoder" if headed is None else headed
    own = {name: half.arrays[name] for name in parameters(declared.spec(config))}
    held = {start + n: value for n, value in _published(names, own, headed).items()}
    return held | {start + names.placed(name, headed): value for name, value in half.carried.items()}


def pair_tensors(config: EncoderDecoderConfig, pair: PairArrays) -> dict[str, Array]:
    """Published name -> array of everything that a checkpoint of the pair holds, views where possible."""
    return in_one_file(
        config,
        lambda start, headed: half_tensors(config.encoder, "encoder", pair.encoder, start, headed=headed),
        lambda start, headed: half_tensors(config.decoder, "decoder", pair.decoder, start, headed=headed),
        pair.bridge,
        lambda array: array,
    )


def _published(names: Names, own: Mapping[str, Array], headed: bool) -> dict[str, Array]:
    shapes = {name: tuple(array.shape) for name, array in own.items()}
    return {written.name: assembled(written, own) for written in plan_writing(names, shapes, headed=headed)}


def _read(match: Match, reader: ArrayReader) -> HalfArrays:
    match.check_copies(reader.files)
    arrays = {name: reader.array(piece) for name, piece in match.plan.pieces.items()}
    carried = {name: reader.raw(source) for name, source in match.plan.carried.items()}
    return HalfArrays(arrays, carried, tuple(match.made))


def _dtype(half: HalfArrays) -> Any:
    """The floating type that most of the half's numbers have."""
    count: dict[Any, int] = {}
    for array in half.arrays.values():
        count[array.dtype] = count.get(array.dtype, 0) + array.nbytes
    return max(count, key=lambda dtype: count[dtype]) if count else np.dtype(np.float32)


def _refuse_quantized(config: PretrainedConfig, files: WeightFiles, source: str | os.PathLike[str]) -> None:
    if quantization(config) is not None or any(name.endswith(f".{SCALES}") for name in files.headers):
        raise CheckpointError(
            f"The weights of '{os.fspath(source)}' must be floats here, but are quantised: PyTorch alone opens such "
            "folders. Use the folder that it was made from."
        )
