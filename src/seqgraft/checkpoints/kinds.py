"""What each published tensor of a half is: the other frameworks name a map, a table and a norm differently.

kinds = half_kinds(config, "decoder", headed=True)      # published name -> Kind
path = names_flax.to_flax(name, kinds[name])
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from seqgraft.checkpoints.initial import norm_of
from seqgraft.checkpoints.sharing import BRIDGE, whole_of
from seqgraft.config import EncoderDecoderConfig
from seqgraft.families import PretrainedConfig, family
from seqgraft.families.naming import plan_writing
from seqgraft.spec import Stack, parameters

Kind = Literal["map", "convolution", "table", "norm", "scale", "other"]
"""map: a weight (out, in). convolution: a map that PyTorch's file has as (in, out), and its bias (GPT-2's `Conv1D`).
table: rows of embeddings. norm: the weight of a norm with a mean, or its bias. scale: that of one without (RMS).
other: anything else, a map's bias among it, which has one name everywhere."""

_TABLES = ("embed", "positions", "token_types", "streams", "position_bias", "distances")


def half_kinds(config: PretrainedConfig, side: Literal["encoder", "decoder"], *, headed: bool) -> dict[str, Kind]:
    """Published name -> kind of what a checkpoint of this half holds, carried tensors aside."""
    declared = family(config.model_type).half(side)
    spec = declared.spec(config)
    found: dict[str, Kind] = {}
    for written in plan_writing(declared.names(config), parameters(spec), headed=headed):
        kind = _kind(spec, written.parts[0])
        found[written.name] = "convolution" if written.turned and kind == "map" else kind
    for name in found:
        if name.endswith(".bias") and found.get(f"{name[:-4]}weight") in ("norm", "convolution"):
            found[name] = found[f"{name[:-4]}weight"]
    return found


def pair_kinds(config: EncoderDecoderConfig, *, headed_encoder: bool = False) -> dict[str, Kind]:
    """The same of a pair's one file. `headed_encoder` puts the body's prefix before the encoder's names."""
    whole = whole_of(config)
    plain = whole is None
    encoder = half_kinds(config.encoder, "encoder", headed=headed_encoder or not plain)
    decoder = half_kinds(config.decoder, "decoder", headed=True)
    if whole is not None:
        table = whole.table(config.decoder)
        both = {**encoder, **decoder}
        return {table if table and name in whole.copies else name: kind for name, kind in both.items()}
    between: dict[str, Kind] = {f"{BRIDGE}weight": "map", f"{BRIDGE}bias": "other"} if config.bridge else {}
    return (
        {f"encoder.{name}": kind for name, kind in encoder.items()}
        | {f"decoder.{name}": kind for name, kind in decoder.items()}
        | between
    )


def with_carried(
    kinds: Mapping[str, Kind], shapes: Mapping[str, tuple[int, ...]], names: Iterable[str]
) -> dict[str, Kind]:
    """`kinds`, and those of the names that nothing computes with, told by their shape and name."""
    return {name: kinds.get(name) or _carried(name, shapes) for name in names}


def _carried(name: str, shapes: Mapping[str, tuple[int, ...]]) -> Kind:
    module, _, leaf = name.rpartition(".")
    if leaf == "weight" and len(shapes[name]) > 1:
        return "table" if "embed" in module.rpartition(".")[2] else "map"
    alone = len(shapes.get(f"{module}.weight", (0, 0))) == 1
    return "norm" if leaf in ("weight", "bias") and alone else "other"


def _kind(spec: Stack, canonical: str) -> Kind:
    module, _, leaf = canonical.rpartition(".")
    last = module.rpartition(".")[2]
    if leaf != "weight":
        return "other"
    if last in _TABLES or module.startswith("constants."):
        return "table"
    if module.rstrip("0123456789").removesuffix(".").endswith("norm"):
        return "norm" if norm_of(spec, module).kind == "layer" else "scale"
    return "map"
