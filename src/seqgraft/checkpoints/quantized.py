"""The weights of a quantised pair: canonical names, 8-bit tensors, and beside each its rows' scales.

A pair's folder that `model.quantize` made says so in `config.json`, as the field's folders do
(`quantization_config`, with a `quant_method` of this library), and its weights are `model.int8.safetensors`. Its
tensors have the model's own names under `encoder.` and `decoder.`: no other library reads such a folder, so no
published names are needed. What the halves share stands with the decoder, once.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from seqgraft.checkpoints.check import grouped
from seqgraft.checkpoints.files import WeightFiles
from seqgraft.checkpoints.headers import FLOATS
from seqgraft.checkpoints.sharing import one_table
from seqgraft.config import EncoderDecoderConfig, encoder_spec
from seqgraft.errors import ConfigurationError
from seqgraft.families import family
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.spec import parameters

METHOD = "seqgraft"
SCALES = "scales"
CARRIED = "carried."
"""Before the published names of tensors that nothing computes with."""
DTYPES = {"int8": "I8", "fp8": "F8_E4M3"}
"""What weights can be stored as, and the name that safetensors has for it."""

Table = Mapping[str, tuple[int, ...]]


def quantization(config: Any) -> dict[str, Any] | None:
    """How a configuration says that its folder's weights are quantised; None where they are floats.

    Raises ConfigurationError for what this library does not read.
    """
    said = getattr(config, "quantization_config", None)
    if not said:
        return None
    if not isinstance(said, dict) or said.get("quant_method") != METHOD:
        raise ConfigurationError(
            f"`quantization_config` must be unset or of quant_method '{METHOD}', but is {said!r}: open the checkpoint "
            "that the weights were quantised from, and use `model.quantize`."
        )
    if said.get("dtype") not in DTYPES:
        raise ConfigurationError(
            f"`quantization_config` must have a dtype of {', '.join(DTYPES)}, but has {said.get('dtype')!r}."
        )
    return said


def settle_quantized_tie(config: PretrainedConfig, files: WeightFiles) -> None:
    """Let the file say whether the output table is tied, in the families whose configuration does not."""
    if family(config.model_type).output_table is not None:
        config._output_tied = "decoder.head.output.weight" not in files.headers


def shared_tables(config: EncoderDecoderConfig) -> tuple[str, ...]:
    """The canonical names of what both halves of a pair read, and its file has once."""
    if config.tie_encoder_decoder:
        return tuple(parameters(encoder_spec(config.encoder)))
    return tuple(one_table(config))


def scale_of(name: str) -> str:
    """Where the scales of a weight stand."""
    return f"{name.rpartition('.')[0]}.{SCALES}"


def is_quantized(files: WeightFiles, name: str) -> bool:
    """Whether a stored weight has scales."""
    return name.endswith(".weight") and scale_of(name) in files.headers


def quantized_problems(
    files: WeightFiles, tables: Mapping[str, Table], dtype: str, shared: Mapping[str, str]
) -> list[str]:
    """Everything that keeps the files from filling a quantised pair, a line each; empty when all is well.

    Args:
        tables: `encoder.`, `decoder.`, and what stands before the bridge's names -> its tensors.
        dtype: what the configuration says the weights are.
        shared: full names that may be missing -> the full names that are read instead.
    """
    missing: list[str] = []
    wrong: list[str] = []
    known: set[str] = set()
    for start, table in tables.items():
        for name, shape in table.items():
            full = start + name
            known.add(full)
            if full not in files.headers:
                if shared.get(full) not in files.headers:
                    missing.append(full)
                continue
            wrong += _wrong(files, full, shape, dtype)
            if is_quantized(files, full):
                known.add(scale_of(full))
    unexpected = [n for n in files.headers if n not in known and not _is_carried(n)]
    found = []
    for title, names in (("Missing", grouped(missing)), ("Unexpected", grouped(unexpected)), ("Unfit", wrong)):
        if names:
            found.append(f"{title}, {len(names)}:" + "".join(f"\n  - {name}" for name in names))
    return found


def _wrong(files: WeightFiles, full: str, shape: tuple[int, ...], dtype: str) -> Iterator[str]:
    header = files.headers[full]
    if header.shape != shape:
        yield f"{full} must be {list(shape)}, but is {list(header.shape)}"
    if not is_quantized(files, full):
        if header.dtype not in FLOATS:
            yield f"{full} must be of {', '.join(sorted(FLOATS))} or have `{SCALES}`, but is {header.dtype} without"
        return
    if header.dtype != DTYPES[dtype]:
        yield f"{full} must be {DTYPES[dtype]}, as the configuration says ({dtype}), but is {header.dtype}"
    scales = files.headers[scale_of(full)]
    if (scales.shape, scales.dtype) != ((shape[0],), "F32"):
        yield f"{scale_of(full)} must be F32 [{shape[0]}], but is {scales.dtype} {list(scales.shape)}"


def _is_carried(name: str) -> bool:
    return name.partition(".")[2].startswith(CARRIED)
