"""A pair's or a half's configuration as its folder's `config.json` has it, in every framework."""

from typing import Any, Literal

from seqgraft.config import EncoderDecoderConfig, config_class, known_types
from seqgraft.families import ENTRIES, PretrainedConfig
from seqgraft.families.configuration import GENERATION_FIELDS


def written_pair(config: EncoderDecoderConfig, dtype: str) -> dict[str, Any]:
    """What `config.json` holds of a pair with weights of this dtype, such as 'float32'."""
    whole = config.whole
    written = _without_generation((config if whole is None else config.to_whole()).to_dict())
    written["dtype"] = dtype
    written["architectures"] = ["EncoderDecoderModel" if whole is None else ENTRIES[whole].whole]
    return written


def written_half(config: PretrainedConfig, side: Literal["encoder", "decoder"], dtype: str) -> dict[str, Any]:
    """What `config.json` holds of one half, saved alone."""
    entry = ENTRIES[config.model_type]
    name = (entry.body or "EncoderModel") if side == "encoder" else entry.causal or "CausalModel"
    return {**config.to_dict(), "dtype": dtype, "architectures": [name]}


def _without_generation(values: dict[str, Any]) -> dict[str, Any]:
    """Generation settings have a file of their own; only those that a family publishes as fields stay."""
    published = config_class(values["model_type"]).published
    kept = {n: v for n, v in values.items() if n not in GENERATION_FIELDS or n in published}
    for side in ("encoder", "decoder"):
        if isinstance(kept.get(side), dict) and kept[side].get("model_type") in known_types():
            kept[side] = _without_generation(kept[side])
    return kept
