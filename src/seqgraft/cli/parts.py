"""What a folder holds, and what composing two would add: from configurations and headers, no weights, no framework."""

import copy
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from seqgraft.checkpoints import WeightFiles, open_weights
from seqgraft.checkpoints.check import grouped, problems
from seqgraft.checkpoints.quantized import quantization, quantized_problems, settle_quantized_tie, shared_tables
from seqgraft.cli.cost import Cost, element_size, the_cost
from seqgraft.config import SPECIAL_IDS, AutoConfig, EncoderDecoderConfig
from seqgraft.families import family, graft_table
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.naming import Plan, plan_reading
from seqgraft.spec import Graft, Stack, parameters
from seqgraft.spec.table import Table

Side = Literal["encoder", "decoder"]
SIDES: tuple[Side, Side] = ("encoder", "decoder")
BRIDGE = "enc_to_dec_proj."


@dataclass
class Half:
    """One half of a pair, or what a model is in that place."""

    family: str
    layers: int
    width: int
    heads: int
    key_value_heads: int
    feed_forward: int
    vocabulary: int
    positions: int | None
    """The longest sequence; None when no table of positions ends it."""
    tied_head: bool | None
    """Whether the head's table is the embedding's; None without a head."""
    parameters: dict[str, int]
    """part -> how many numbers it holds"""
    new: dict[str, int] = field(default_factory=dict)
    """part -> numbers that no file holds, made afresh"""
    new_tensors: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All of its numbers."""
        return sum(self.parameters.values())


@dataclass
class Pair:
    """Two halves and what is between them."""

    encoder: Half
    decoder: Half
    bridge: tuple[int, int] | None
    """(decoder width, encoder width) of the map between them"""
    shared: int
    """Numbers that the halves have in common."""
    special_ids: dict[str, Any]
    graft: dict[str, Any] | None
    problems: list[str]
    cost: Cost

    @property
    def bridge_parameters(self) -> int:
        """Numbers of the map between the halves."""
        return self.bridge[0] * (self.bridge[1] + 1) if self.bridge else 0

    @property
    def total(self) -> int:
        """All numbers, shared ones once."""
        return self.encoder.total + self.decoder.total + self.bridge_parameters - self.shared

    @property
    def new(self) -> dict[str, int]:
        """part -> numbers that composing makes afresh."""
        bridge = {"bridge": self.bridge_parameters} if self.bridge else {}
        return {**self.encoder.new, **self.decoder.new, **bridge}

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "encoder": asdict(self.encoder) | {"total": self.encoder.total},
            "decoder": asdict(self.decoder) | {"total": self.decoder.total},
            "bridge": None if self.bridge is None else {"shape": self.bridge, "parameters": self.bridge_parameters},
            "shared": self.shared,
            "total": self.total,
            "memory": asdict(self.cost),
            "graft": self.graft,
            "special_ids": self.special_ids,
        }


_BLOCKS = {"cross_attention": "cross-attention", "self_attention": "self-attention", "gate": "cross-attention"}


def part_of(name: str) -> str:
    """The part of a model that a canonical tensor belongs to."""
    words = name.split(".")
    if words[0] == "layers":
        block = words[3 if words[2] == "inserted" else 2].removesuffix("_norm")  # an inserted layer: by its blocks
        return _BLOCKS.get(block, "feed-forward")
    return {"head": "head", "final_norm": "final norm"}.get(words[0], "embeddings")


def count(table: Table) -> dict[str, int]:
    """part -> numbers of its tensors."""
    parts: dict[str, int] = {}
    for name, shape in table.items():
        parts[part_of(name)] = parts.get(part_of(name), 0) + math.prod(shape)
    return parts


def stored_pair(source: str, config: EncoderDecoderConfig) -> Pair:
    """A pair's folder. `problems` holds what keeps it from loading."""
    files = open_weights(source)
    undressed = {name.removeprefix("encoder_decoder."): header for name, header in files.headers.items()}
    files = replace(files, headers=undressed)
    plans = {side: _plan(config, side, files, f"{side}.") for side in SIDES}
    found: list[str] = []
    for side, other in (SIDES, SIDES[::-1]):
        elsewhere = plans[other].pieces if config.tie_encoder_decoder else {}
        found += problems(plans[side], fresh=tuple(elsewhere), files=files)
    found += _of_no_half(config, files)
    return _pair(config, {}, found, (element_size(files),) * 2)


def weights_of(source: str, config: PretrainedConfig) -> WeightFiles:
    """The headers of a folder's weights, quantised or not."""
    small = quantization(config)
    return open_weights(source, variant=None if small is None else small["dtype"])


def quantized_pair(source: str, config: PretrainedConfig) -> Pair:
    """A quantised pair's folder, a published encoder-decoder's too."""
    files, small = weights_of(source, config), quantization(config) or {}
    settle_quantized_tie(getattr(config, "decoder", config), files)
    pair = config if isinstance(config, EncoderDecoderConfig) else EncoderDecoderConfig.from_whole(config)
    tables: dict[str, Table] = {f"{side}.": parameters(_spec(pair, side)) for side in SIDES}
    if pair.bridge is not None:
        tables[BRIDGE] = {"weight": pair.bridge, "bias": pair.bridge[:1]}
    names = shared_tables(pair)
    found = quantized_problems(files, tables, small["dtype"], {f"encoder.{n}": f"decoder.{n}" for n in names})
    width = {"float32": 4, "float64": 8}.get(str(pair.decoder.dtype or pair.dtype), 2)
    made = _pair(pair, {}, found, (width, width))
    made.shared = sum(math.prod(tables["encoder."][name]) for name in names)
    made.cost = replace(made.cost, weights=sum(header.size for header in files.headers.values()))
    return made


def composed(encoder: str, decoder: str, *, graft: dict[str, Any] | None = None, tie: bool = False) -> Pair:
    """The pair that two models' folders would make, and what of it would be new."""
    config = paired(AutoConfig.from_pretrained(encoder), AutoConfig.from_pretrained(decoder), graft, tie)
    found: list[str] = []
    new: dict[Side, tuple[str, ...]] = {}
    widths: list[int] = []
    for side, source in zip(SIDES, (encoder, decoder), strict=True):
        files = open_weights(source)
        widths.append(element_size(files))
        plan = _plan(config, side, files, "")
        own = config.decoder
        may = set(graft_table(family(own.model_type), own)) if side == "decoder" else set()
        if not any(name.startswith("head.") for name in plan.pieces):
            may |= {name for name in plan.missing if name.startswith("head.")}
        found += [f"As {side}, {problem}" for problem in problems(plan, fresh=may, files=files)]
        new[side] = tuple(name for name in plan.missing if name in may)
    return _pair(config, new, found, (widths[0], widths[1]))


def with_new(pair: Pair, new: dict[Side, Table]) -> Pair:
    """A pair of whose tensors these are told to be new."""
    halves = {
        side: replace(getattr(pair, side), new=count(new[side]), new_tensors=grouped(new[side])) for side in SIDES
    }
    return replace(pair, encoder=halves["encoder"], decoder=halves["decoder"])


def paired(
    encoder: PretrainedConfig, decoder: PretrainedConfig, graft: dict[str, Any] | None = None, tie: bool = False
) -> EncoderDecoderConfig:
    """The configuration that composing gives two models."""
    decoder = copy.deepcopy(decoder)
    if family(decoder.model_type).grafted:
        decoder.graft = vars(Graft.read(graft if graft is not None else decoder.graft))
        decoder.cross_attention_hidden_size = None  # the encoder's width is taken
    return EncoderDecoderConfig(encoder=encoder, decoder=decoder, tie_encoder_decoder=tie)


def _pair(
    config: EncoderDecoderConfig, new: dict[Side, tuple[str, ...]], found: list[str], bytes_each: tuple[int, int]
) -> Pair:
    halves = {side: _half(config, side, new.get(side, ())) for side in SIDES}
    shared = halves["encoder"].total if config.tie_encoder_decoder else 0
    ids = {name: config.special(name) for name in SPECIAL_IDS}
    between = config.bridge
    numbers = halves["encoder"].total, halves["decoder"].total + (between[0] * (between[1] + 1) if between else 0)
    cost = the_cost(_spec(config, "decoder"), numbers, shared, bytes_each)
    graft = _found_graft(config.decoder.graft, _spec(config, "decoder"))
    return Pair(halves["encoder"], halves["decoder"], between, shared, ids, graft, found, cost)


def _found_graft(graft: dict[str, Any] | None, spec: Stack) -> dict[str, Any] | None:
    """The graft with the kind that a family's default came to."""
    if not graft or "how" not in graft:
        return graft
    kinds = {"inserted": "inserted", "merged": "merged", "cross_attention": "between"}
    has = [kind for field, kind in kinds.items() if any(getattr(layer, field) for layer in spec.layers)]
    return {**graft, "how": graft["how"] or has[0]}


def _half(config: EncoderDecoderConfig, side: Side, new: tuple[str, ...]) -> Half:
    own = getattr(config, side)
    spec = _spec(config, side)
    table = parameters(spec)
    layer = spec.layers[0]
    return Half(
        family=own.model_type,
        layers=len(spec.layers),
        width=spec.width,
        heads=layer.self_attention.heads,
        key_value_heads=layer.self_attention.key_value_heads,
        feed_forward=layer.feed_forward.width,
        vocabulary=spec.vocabulary,
        positions=spec.positions.longest if spec.positions else getattr(own, "max_position_embeddings", None),
        tied_head=spec.head.tied if spec.head else None,
        parameters=count(table),
        new=count({name: table[name] for name in new}),
        new_tensors=grouped(new),
    )


def _spec(config: EncoderDecoderConfig, side: Side) -> Stack:
    own = getattr(config, side)
    stack: Stack = getattr(family(own.model_type), side).spec(own)
    return stack


def _plan(config: EncoderDecoderConfig, side: Side, files: WeightFiles, start: str) -> Plan:
    own = getattr(config, side)
    names = getattr(family(own.model_type), side).names(own)
    return plan_reading(names, files.shapes, parameters(_spec(config, side)), start)


def _of_no_half(config: EncoderDecoderConfig, files: WeightFiles) -> Iterator[str]:
    """What is wrong with the tensors outside both halves."""
    must = {} if config.bridge is None else {f"{BRIDGE}weight": config.bridge, f"{BRIDGE}bias": config.bridge[:1]}
    for name, shape in must.items():
        if name not in files.shapes:
            yield f"Missing: {name}"
        elif files.shapes[name] != shape:
            yield f"Of the wrong shape: {name} must be {list(shape)}, but is {list(files.shapes[name])}"
    for name in files.shapes:
        if name not in must and not name.startswith(("encoder.", "decoder.")):
            yield f"Unexpected: {name}"


def dtypes(files: WeightFiles) -> dict[str, int]:
    """dtype -> numbers stored in it, the commonest first."""
    held: dict[str, int] = {}
    for header in files.headers.values():
        held[header.dtype] = held.get(header.dtype, 0) + math.prod(header.shape)
    return dict(sorted(held.items(), key=lambda item: -item[1]))


def sizes(source: str) -> dict[str, int]:
    """file -> bytes, of a local folder."""
    folder = Path(os.fspath(source)).expanduser()
    if not folder.is_dir():
        return {}
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(folder)): path.stat().st_size for path in files}


def tokenizers(source: str) -> list[dict[str, Any]] | str:
    """A line for each tokenizer of a folder (source and target), or why there is none."""
    from seqgraft.errors import FolderError, TokenizerError
    from seqgraft.text import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(source)
    except (TokenizerError, FolderError) as error:
        return str(error)
    both = [("source", found.source), ("target", found.target)] if hasattr(found, "target") else [("both", found)]
    names = ("bos", "eos", "cls", "sep", "pad", "unk", "mask")
    return [
        {
            "side": side,
            "class": type(one).__name__,
            "tokens": len(one),
            "longest": int(one.model_max_length) if one.model_max_length < 10**9 else None,
            "special": {n: getattr(one, f"{n}_token_id") for n in names if getattr(one, f"{n}_token_id") is not None},
        }
        for side, one in both
    ]
