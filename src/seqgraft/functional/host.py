"""A pair on the host, before a framework takes its weights: opened, composed, made anew, saved; numpy alone.

host = opened("folder", None, {}, "flax")           # Host: config, arrays by canonical name, generation settings
weights = core_weights(host.config, host.arrays)     # the functional core's names: `encoder.embed.weight`, ...
host = composed("bert", "gpt2", {"decoder_graft": ...})
saved("folder", host)
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seqgraft import folders
from seqgraft.checkpoints import sharing, stale_weights
from seqgraft.checkpoints.arguments import BOTH, prefixed
from seqgraft.checkpoints.frameworks import framework_writer
from seqgraft.checkpoints.initial import fresh
from seqgraft.checkpoints.layout import HDF5, MSGPACK, PICKLE, SAFETENSORS
from seqgraft.checkpoints.maps import Array
from seqgraft.checkpoints.opening import (
    Framework,
    decoder_configuration,
    encoder_configuration,
    join,
    open_half,
    open_pair,
)
from seqgraft.checkpoints.pair_arrays import (
    HalfArrays,
    PairArrays,
    fresh_bridge,
    make_missing,
    pair_tensors,
    read_half,
    read_pair,
)
from seqgraft.checkpoints.written import written_pair
from seqgraft.config import EncoderDecoderConfig, encoder_width
from seqgraft.errors import ConfigurationError
from seqgraft.families import family
from seqgraft.families.configuration import CONFIG_NAME, PretrainedConfig
from seqgraft.functional.layout import canonical, laid_out
from seqgraft.functional.layout import names as core_names
from seqgraft.functional.layout import shapes as core_shapes
from seqgraft.functional.stack import constants
from seqgraft.generation import GenerationConfig
from seqgraft.generation.folder import pair_generation
from seqgraft.generation.link import link
from seqgraft.spec import Stack, parameters

logger = logging.getLogger("seqgraft")
Source = str | os.PathLike[str]
SIDES = ("encoder", "decoder")


@dataclass
class Host:
    """A pair, its weights numpy arrays by canonical name."""

    config: EncoderDecoderConfig
    arrays: PairArrays
    generation: GenerationConfig = field(default_factory=GenerationConfig)

    def linked(self) -> Host:
        """The same, its special ids and generation settings telling each other."""
        link(self.config, self.generation)
        return self


def opened(source: Source, config: PretrainedConfig | None, kwargs: dict[str, Any], first: Framework) -> Host:
    """A pair's folder or hub repository; raises as `EncoderDecoderModel.from_pretrained` does.

    Of several frameworks' files those of `first` are opened.
    """
    found = open_pair(source, config, kwargs, first)
    arrays = read_pair(found.config, found.files, source)
    host = Host(found.config, arrays, pair_generation(source, found.origin, found.config)).linked()
    found.keep_said()
    return host


def spec_of(config: EncoderDecoderConfig, side: str) -> Stack:
    """What one half computes."""
    half = getattr(config, side)
    spec: Stack = family(half.model_type).half(side).spec(half)  # type: ignore[arg-type]
    return spec


def described(config: EncoderDecoderConfig) -> Host:
    """A pair without weights."""
    config = EncoderDecoderConfig.of(copy.deepcopy(config), None)
    return Host(config, PairArrays(HalfArrays({}), HalfArrays({})), GenerationConfig.from_model_config(config)).linked()


def made(config: EncoderDecoderConfig, seed: int) -> Host:
    """A pair with fresh weights."""
    config = EncoderDecoderConfig.of(copy.deepcopy(config), None)
    halves = []
    for side in SIDES:
        spec = spec_of(config, side)
        halves.append(HalfArrays(fresh(spec, parameters(spec), seed)))
    arrays = PairArrays(halves[0], halves[1], fresh_bridge(config, seed))
    share(config, arrays)
    return Host(config, arrays, GenerationConfig.from_model_config(config)).linked()


def composed(
    encoder_source: Source | None,
    decoder_source: Source | None,
    kwargs: dict[str, Any],
    given: Callable[[str, Any], tuple[PretrainedConfig, HalfArrays]],
    seed: int = 0,
    first: Framework = "pt",
) -> Host:
    """Two checkpoints as a pair; arguments and errors are those of `from_encoder_decoder_pretrained`.

    `given(side, model)` says what a model that was handed in as `encoder_model` or `decoder_model` holds.
    """
    both = {name: kwargs.pop(name) for name in BOTH if name in kwargs}
    both["first"] = first
    own, other = prefixed(kwargs, "encoder_"), prefixed(kwargs, "decoder_")
    for name in ("from_pt", "from_tf", "from_flax"):
        if name in kwargs:
            both[name] = kwargs.pop(name)
    if "causal" in own:
        own["is_causal"] = own.pop("causal")
    pair_config = kwargs.pop("config", None)
    if pair_config is not None and not isinstance(pair_config, EncoderDecoderConfig):
        raise ConfigurationError(f"`config` must be an EncoderDecoderConfig, but is a {type(pair_config).__name__}.")
    encoder, source = _half(
        "encoder", encoder_source, own, both, given, getattr(pair_config, "encoder", None), encoder_configuration
    )

    def looking(source: Source, arguments: dict[str, Any], fallback: PretrainedConfig | None) -> PretrainedConfig:
        return decoder_configuration(source, arguments, encoder_width(encoder), fallback)

    decoder, target = _half(
        "decoder", decoder_source, other, both, given, getattr(pair_config, "decoder", None), looking, seed
    )
    config = join(encoder, decoder, pair_config, kwargs)
    arrays = PairArrays(source, target, fresh_bridge(config, seed))
    share(config, arrays)
    return Host(config, arrays, GenerationConfig.from_model_config(config)).linked()


def _half(
    side: Any,
    source: Source | None,
    own: dict[str, Any],
    both: dict[str, Any],
    given: Callable[[str, Any], tuple[PretrainedConfig, HalfArrays]],
    fallback: PretrainedConfig | None,
    configured: Callable[..., PretrainedConfig],
    seed: int = 0,
) -> tuple[PretrainedConfig, HalfArrays]:
    """One half of a pair, from a checkpoint or from a model that was handed in."""
    model = own.pop("model", None)
    if (model is None) == (source is None):
        raise ValueError(
            f"Exactly one of `{side}_pretrained_model_name_or_path` and `{side}_model` must be given, "
            f"but {'neither' if model is None else 'both'} are."
        )
    if model is not None:
        if own:
            names = ", ".join(f"{side}_{name}" for name in sorted(own))
            raise TypeError(f"{names}: what `{side}_model` is, it is already; change it before it is given.")
        return given(side, model)
    if source is None:
        raise AssertionError
    arguments = {**both, **own}
    first = arguments.pop("first")
    config = configured(source, arguments, fallback)
    arguments.pop("dtype", None), arguments.pop("torch_dtype", None), arguments.pop("device_map", None)
    arguments.pop("attn_implementation", None)
    found = open_half(source, side, config, arguments, first)
    half = read_half(found.config, side, found.files, source)
    new = make_missing(found.config, side, half, seed)
    if side == "decoder":
        found.config.new_parameters = new
    return found.config, half


def share(config: EncoderDecoderConfig, arrays: PairArrays) -> None:
    """Give the encoder the decoder's arrays where the halves share them."""
    for name in shared_names(config):
        arrays.encoder.arrays[name] = arrays.decoder.arrays[name]


def shared_names(config: EncoderDecoderConfig) -> list[str]:
    """The canonical names of what the halves have in common."""
    if not config.tie_encoder_decoder:
        return sharing.one_table(config)
    return sharing.tied_names(*(spec_of(config, side) for side in SIDES))


def core_weights(config: EncoderDecoderConfig, arrays: PairArrays) -> dict[str, Array]:
    """The functional core's names -> arrays, views where possible; what the halves share stands with the decoder."""
    held: dict[str, Array] = {}
    for side in SIDES:
        spec = spec_of(config, side)
        own: HalfArrays = getattr(arrays, side)
        held |= {f"{side}.{name}": value for name, value in laid_out(spec, own.arrays, np.transpose).items()}
        held |= {f"{side}.{name}": value for name, value in constants(spec).items()}
    for name in owners(config):
        del held[name]
    if arrays.bridge:
        held["bridge.kernel"], held["bridge.bias"] = arrays.bridge["weight"].T, arrays.bridge["bias"]
    return held


def owners(config: EncoderDecoderConfig) -> dict[str, str]:
    """Names of the core that are another's array: encoder name -> decoder name."""
    ours = core_names(spec_of(config, "encoder"))
    return {f"encoder.{ours[name]}": f"decoder.{ours[name]}" for name in shared_names(config)}


def computed(config: EncoderDecoderConfig) -> dict[str, Array]:
    """Those of the core's arrays that no checkpoint holds: tables of sines."""
    held: dict[str, Array] = {}
    for side in SIDES:
        spec = spec_of(config, side)
        held |= {f"{side}.{name}": value for name, value in constants(spec).items()}
    return held


def shapes(config: EncoderDecoderConfig) -> dict[str, tuple[int, ...]]:
    """The core's names of what a pair learns -> shapes; what the halves share stands with the decoder."""
    table: dict[str, tuple[int, ...]] = {}
    for side in SIDES:
        spec = spec_of(config, side)
        table |= {f"{side}.{name}": shape for name, shape in core_shapes(spec).items()}
    for name in owners(config):
        del table[name]
    if config.bridge is not None:
        table["bridge.kernel"], table["bridge.bias"] = config.bridge[::-1], config.bridge[:1]
    return table


def from_core(config: EncoderDecoderConfig, weights: Mapping[str, Array], carried: PairArrays) -> PairArrays:
    """The way back: the core's arrays, and what is carried along unchanged."""
    weights = dict(weights)
    for name, owner in owners(config).items():
        weights[name] = weights[owner]
    halves = []
    for side in SIDES:
        spec = spec_of(config, side)
        own = {n.removeprefix(f"{side}."): v for n, v in weights.items() if n.startswith(f"{side}.")}
        halves.append(HalfArrays(canonical(spec, own, np.transpose), getattr(carried, side).carried))
    bridge = {}
    if config.bridge is not None:
        bridge = {"weight": weights["bridge.kernel"].T, "bias": weights["bridge.bias"]}
    return PairArrays(halves[0], halves[1], bridge)


def carried_shapes(pair: Host) -> dict[str, tuple[int, ...]]:
    """Names in the pair's file of what is carried along and computes nothing -> shapes."""
    held: dict[str, tuple[int, ...]] = {}
    for side in SIDES:
        half: HalfArrays = getattr(pair.arrays, side)
        placed = _carried_names(pair.config, side, half.carried)
        held |= {placed[name]: tuple(value.shape) for name, value in half.carried.items()}
    return held


def carried_place(config: EncoderDecoderConfig, name: str) -> tuple[str, str]:
    """The side of a carried tensor by its name in the pair's file, and its full name in the half's headed file."""
    for side in SIDES:
        half = getattr(config, side)
        start = "" if config.whole is not None else f"{side}."
        if not name.startswith(start):
            continue
        names = family(half.model_type).half(side).names(half)  # type: ignore[arg-type]
        short = name.removeprefix(start)
        full = short if short.startswith(names.prefix) or side == "decoder" else names.prefix + short
        if names.carries(full.removeprefix(names.prefix)):
            return side, full
    raise KeyError(f"'{name}' must be a name that a half carries along, but is none.")


def _carried_names(config: EncoderDecoderConfig, side: str, held: Mapping[str, Any]) -> dict[str, str]:
    half = getattr(config, side)
    names = family(half.model_type).half(side).names(half)  # type: ignore[arg-type]
    headed = side == "decoder" or config.whole is not None
    start = "" if config.whole is not None else f"{side}."
    return {name: start + names.placed(name, headed) for name in held}


def saved(folder: Source, host: Host, dtype: str, framework: Framework, safe: bool, max_shard_size: int | str) -> None:
    """Write configuration, generation settings and weights as a framework's files, all or nothing.

    What the framework's class would open instead is replaced; files of the others stay.
    """
    own = {"flax": MSGPACK, "tf": HDF5, "pt": PICKLE}[framework]
    stale = stale_weights(None, (own, SAFETENSORS) if safe else (own,))
    write = framework_writer(host.config, framework, safetensors=safe, max_shard_size=max_shard_size)
    with folders.saving(folder, stale=stale) as staged:
        folders.write_json(staged / CONFIG_NAME, written_pair(host.config, dtype))
        host.generation.save_pretrained(staged)
        write(staged, pair_tensors(host.config, host.arrays))
