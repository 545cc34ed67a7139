"""Published tensors -> the weight files of Flax and TensorFlow. (Reading them: `renamed`, which `open_weights` uses.)

write = framework_writer(config, "flax")            # or "tf", "pt"; safetensors=True for that format
write(folder, pair_tensors(config, arrays))         # published name -> array
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from seqgraft.checkpoints.arrays import write_arrays, write_safetensors
from seqgraft.checkpoints.flax_file import write_flax
from seqgraft.checkpoints.hdf5_file import write_hdf5, write_hdf5_shard
from seqgraft.checkpoints.kinds import Kind, half_kinds, pair_kinds, with_carried
from seqgraft.checkpoints.layout import HDF5, MSGPACK, SAFETENSORS, shards
from seqgraft.checkpoints.maps import Array
from seqgraft.checkpoints.matching import Side
from seqgraft.checkpoints.names_flax import to_flax
from seqgraft.checkpoints.names_tensorflow import in_shard, leveled, to_tensorflow
from seqgraft.config import EncoderDecoderConfig
from seqgraft.errors import CheckpointError
from seqgraft.families import PretrainedConfig, family
from seqgraft.folders import write_json

Framework = Literal["pt", "tf", "flax"]
FRAMEWORKS: tuple[Framework, ...] = ("pt", "tf", "flax")


def framework_writer(
    config: PretrainedConfig,
    framework: Framework,
    side: Side | None = None,
    *,
    safetensors: bool = False,
    max_shard_size: int | str = "50GB",
) -> Callable[[Path, Mapping[str, Array]], list[Path]]:
    """What writes published tensors as a framework's files into a folder, and returns the paths written.

    Args:
        config: of the pair; or of one half, whose `side` is then given.
        framework: pt writes safetensors; flax `flax_model.msgpack`; tf `tf_model.h5`.
        safetensors: write that format for flax and tf, too, with their own names.
    """

    def write(folder: Path, arrays: Mapping[str, Array]) -> list[Path]:
        if framework == "pt":
            return write_arrays(folder, arrays, max_shard_size=max_shard_size)
        if framework == "flax":
            return _write_flax(folder, named_for_flax(config, arrays, side), safetensors, max_shard_size)
        return _write_tensorflow(folder, named_for_tensorflow(config, arrays, side), safetensors, max_shard_size)

    return write


def named_for_flax(config: PretrainedConfig, arrays: Mapping[str, Array], side: Side | None = None) -> dict[str, Array]:
    """Published tensors by their paths in Flax's tree, with slashes; kernels are (in, out), views."""
    arrays = _one_bias(config, arrays, side)
    found: dict[str, Array] = {}
    for name, kind in _kinds(config, arrays, side).items():
        path, reverse = to_flax(name, kind)
        found[path] = arrays[name].T if reverse else arrays[name]
    return found


def named_for_tensorflow(
    config: PretrainedConfig, arrays: Mapping[str, Array], side: Side | None = None
) -> dict[str, Array]:
    """Published tensors by their variables' names in TensorFlow, without the class; kernels are (in, out), views."""
    arrays = _one_bias(config, arrays, side)
    arrays = {_dressed(config, name, side): array for name, array in arrays.items()}
    found: dict[str, Array] = {}
    for name, kind in _kinds(config, arrays, side, headed=True).items():
        array = arrays[name]
        variable, reverse = to_tensorflow(name, kind, _family_of(config, name))
        if kind == "convolution" and array.ndim == 1:
            array = array[None]
        found[variable] = array.T if reverse else array
    return found


def _one_bias(config: PretrainedConfig, arrays: Mapping[str, Array], side: Side | None) -> Mapping[str, Array]:
    """Without the second bias that PyTorch's BERT head has while it is untied: the other frameworks' has one."""
    plain = isinstance(config, EncoderDecoderConfig)
    half = config.decoder if isinstance(config, EncoderDecoderConfig) else config
    if side == "encoder" or family(half.model_type).decoder is None:
        return arrays
    start = "decoder." if plain and getattr(config, "whole", None) is None else ""
    found = dict(arrays)
    for copy, owner in family(half.model_type).half("decoder").names(half).ties:
        if owner.endswith(".decoder.bias") and start + owner in found:
            found[start + copy] = found.pop(start + owner)
    return found


def _kinds(
    config: PretrainedConfig, arrays: Mapping[str, Array], side: Side | None, *, headed: bool = False
) -> dict[str, Kind]:
    if isinstance(config, EncoderDecoderConfig):
        kinds = pair_kinds(config, headed_encoder=headed)
    elif side is not None:
        kinds = half_kinds(config, side, headed=headed or side == "decoder")
    else:
        raise CheckpointError("A half must be written with its `side`, 'encoder' or 'decoder', but none is given.")
    return with_carried(kinds, {name: tuple(array.shape) for name, array in arrays.items()}, arrays)


def _dressed(config: PretrainedConfig, name: str, side: Side | None) -> str:
    """A published name with its body's prefix, which PyTorch's files of an encoder leave out."""
    if isinstance(config, EncoderDecoderConfig):
        if config.whole is not None or not name.startswith("encoder."):
            return name
        return "encoder." + _dressed(config.encoder, name.removeprefix("encoder."), "encoder")
    prefix = family(config.model_type).half("encoder").names(config).prefix if side == "encoder" else ""
    return name if name.startswith(prefix) else prefix + name


def _family_of(config: PretrainedConfig, name: str) -> str:
    if isinstance(config, EncoderDecoderConfig):
        half = config.encoder if name.startswith("encoder.") and config.whole is None else config.decoder
        return half.model_type
    return config.model_type


def _write_flax(folder: Path, arrays: dict[str, Array], safetensors: bool, most: int | str) -> list[Path]:
    if safetensors:
        dotted = {path.replace("/", "."): array for path, array in arrays.items()}
        return write_arrays(folder, dotted, max_shard_size=most, metadata={"format": "flax"})
    layout = shards(_sizes(arrays), most, base=MSGPACK)
    for file, names in layout.files.items():
        write_flax(folder / file, {name: arrays[name] for name in names})
    return _with_index(folder, list(layout.files), layout.index_name, layout.index)


def _write_tensorflow(folder: Path, arrays: dict[str, Array], safetensors: bool, most: int | str) -> list[Path]:
    layout = shards(_sizes(arrays), most, base=SAFETENSORS if safetensors else HDF5)
    if layout.index is None and not safetensors:
        parts: dict[str, dict[str, Array]] = {}
        for name, array in arrays.items():
            part = name.removesuffix(":0").partition("/")[0].partition(".")[0]
            parts.setdefault(part, {})[leveled(name)] = array
        write_hdf5(folder / HDF5, parts)
        return [folder / HDF5]
    for file, names in layout.files.items():
        shard = {in_shard(name): arrays[name] for name in names}
        if safetensors:
            write_safetensors(folder / file, shard, {"format": "tf"})
        else:
            write_hdf5_shard(folder / file, shard)
    if layout.index is not None:
        layout.index["weight_map"] = {leveled(name): file for name, file in layout.index["weight_map"].items()}
    return _with_index(folder, list(layout.files), layout.index_name, layout.index)


def _with_index(folder: Path, files: list[str], name: str | None, index: dict[str, Any] | None) -> list[Path]:
    if name and index:
        write_json(folder / name, index)
        files = [*files, name]
    return [folder / file for file in files]


def _sizes(arrays: Mapping[str, Array]) -> dict[str, int]:
    return {name: array.nbytes for name, array in arrays.items()}
