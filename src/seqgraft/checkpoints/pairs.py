"""How both halves of a pair stand in one file.

Two halves that were put together stand under `encoder.` and `decoder.`, with a projection between them where their
widths differ. Those of a published encoder-decoder have the published names, and what they share stands once.
"""

import dataclasses
import logging
import os
from collections.abc import Callable, Mapping
from typing import TypeVar

from seqgraft.checkpoints.check import refuse
from seqgraft.checkpoints.files import WeightFiles
from seqgraft.checkpoints.matching import Match, match_half
from seqgraft.checkpoints.sharing import BRIDGE, shared_names, whole_of
from seqgraft.config import EncoderDecoderConfig
from seqgraft.errors import CheckpointError

logger = logging.getLogger("seqgraft")

T = TypeVar("T")

_OLD_PREFIX = "encoder_decoder."


@dataclasses.dataclass(frozen=True)
class PairMatch:
    """Both halves against one set of files."""

    encoder: Match
    decoder: Match
    shared: tuple[str, ...]
    """Canonical names of what the halves share."""


def match_pair(config: EncoderDecoderConfig, files: WeightFiles, source: str | os.PathLike[str]) -> PairMatch:
    """Match both halves against the files. A tensor that they share may stand with either: what one half lacks,
    the other one gives.

    Raises CheckpointError, one that lists all that is missing, unexpected or of another shape in either half or between
    them.
    """
    whole = whole_of(config)
    plain = whole is None
    own = match_half(config.encoder, "encoder", files, "encoder." if plain else "")
    other = match_half(config.decoder, "decoder", files, "decoder." if plain else "")
    # A pair's own folder holds everything.
    own, other = dataclasses.replace(own, fresh=()), dataclasses.replace(other, fresh=whole.fixed if whole else ())
    shared = tuple(shared_names(config, own.spec, other.spec))
    found = PairMatch(_given(own, other, shared), _given(other, own, shared), shared)
    refuse(source, found.encoder.problems(files) + found.decoder.problems(files) + strangers(config, files))
    return found


def _given(lacking: Match, giver: Match, shared: tuple[str, ...]) -> Match:
    pieces = {**{name: giver.plan.pieces[name] for name in shared if name in giver.plan.pieces}, **lacking.plan.pieces}
    missing = tuple(name for name in lacking.plan.missing if name not in pieces)
    return dataclasses.replace(lacking, plan=dataclasses.replace(lacking.plan, pieces=pieces, missing=missing))


def undressed(files: WeightFiles) -> WeightFiles:
    """Without the `encoder_decoder.` that some files put before every name."""
    headers = {name.removeprefix(_OLD_PREFIX): header for name, header in files.headers.items()}
    return dataclasses.replace(files, headers=headers)


def bridge_table(config: EncoderDecoderConfig) -> dict[str, tuple[int, ...]]:
    """The projection's tensors, `weight` and `bias`; none where the decoder reads the encoder's states."""
    shape = config.bridge
    return {} if shape is None else {"weight": shape, "bias": shape[:1]}


def strangers(config: EncoderDecoderConfig, files: WeightFiles) -> list[str]:
    """What is wrong with the projection, and what belongs to neither half."""
    if whole_of(config) is not None:
        return []  # the halves have looked at every name
    stored = {n: h.shape for n, h in files.headers.items() if n.startswith(BRIDGE)}
    must = {BRIDGE + leaf: shape for leaf, shape in bridge_table(config).items()}
    found = [f"Missing: {name}" for name in must if name not in stored]
    found += [f"Unexpected: {name}" for name in stored if name not in must]
    found += [
        f"Of the wrong shape: {name} must be {list(must[name])}, but is {list(stored[name])}"
        for name in must
        if name in stored and must[name] != stored[name]
    ]
    strange = [name for name in files.headers if not name.startswith(("encoder.", "decoder.", BRIDGE))]
    if strange:
        found.append(f"Unexpected, {len(strange)} tensors that belong to neither half: {', '.join(strange)}")
    return found


def same_when_both_stored(
    config: EncoderDecoderConfig, match: PairMatch, files: WeightFiles, source: str | os.PathLike[str]
) -> bool:
    """Whether the halves' copies are equal. A checkpoint may call halves tied that were trained apart.

    Raises CheckpointError where the halves of a published encoder-decoder differ.
    """
    own, other = match.encoder.plan.pieces, match.decoder.plan.pieces
    for name in match.shared:
        first, second = own[name], other[name]
        if first == second:
            continue
        if first.turned or first.rows or second.turned or second.rows:
            from seqgraft.checkpoints.arrays import ArrayReader
            from seqgraft.checkpoints.maps import same_bits

            reader = ArrayReader(files)
            equal = same_bits(reader.array(first), reader.array(second))
        else:
            equal = files.same(first.source, second.source)
        if not equal and config.whole is not None:
            raise CheckpointError(
                f"'{first.source}' and '{second.source}' must be equal, since the halves of '{config.whole}' "
                "share them, but they differ."
            )
        if not equal:
            logger.warning(
                "%s says that its halves are tied (tie_encoder_decoder), but '%s' differs between them: "
                "they are loaded as they are, untied.",
                os.fspath(source),
                name,
            )
            return False
    return True


def in_one_file(
    config: EncoderDecoderConfig,
    encoder: Callable[[str, bool], Mapping[str, T]],
    decoder: Callable[[str, bool], Mapping[str, T]],
    bridge: Mapping[str, T],
    copied: Callable[[T], T],
) -> dict[str, T]:
    """The file's name -> tensor of everything that a checkpoint of the pair holds.

    Args:
        encoder: (start of the names, whether they are those of the headed class) -> the half's tensors.
        decoder: likewise.
        bridge: the projection's `weight` and `bias`, if there is one.
        copied: gives a tensor memory of its own, where a file needs two copies.
    """
    whole = whole_of(config)
    if whole is not None:
        both = {**encoder("", True), **decoder("", True)}
        table = whole.table(config.decoder)
        return {table if table and name in whole.copies else name: tensor for name, tensor in both.items()}
    own = encoder("encoder.", False)
    if config.tie_encoder_decoder:  # readers that know of no tie need both copies
        own = {name: copied(tensor) for name, tensor in own.items()}
    between = {BRIDGE + leaf: tensor for leaf, tensor in bridge.items()}
    return {**own, **decoder("decoder.", True), **between}
