"""What `from_pretrained` is called with, in every framework: the field's arguments, and fields of a configuration."""

from typing import Any

from seqgraft.config import EncoderDecoderConfig
from seqgraft.errors import ConfigurationError
from seqgraft.families.configuration import GENERATION_FIELDS

BOTH = (
    "dtype",
    "torch_dtype",
    "device_map",
    "attn_implementation",
    "cache_dir",
    "token",
    "local_files_only",
    "force_download",
    "revision",
    "use_safetensors",
    "from_pt",
    "from_tf",
    "from_flax",
    "low_cpu_mem_usage",
    "trust_remote_code",
)
"""Arguments without a prefix that hold for both halves."""

_ACCEPTED = ("low_cpu_mem_usage", "trust_remote_code", "_fast_init", "use_fast", "output_loading_info")
"""Arguments of the field that ask here for what is always done, or must be off."""
_MUST_BE_OFF = ("trust_remote_code", "output_loading_info")
_FRAMEWORKS = {"from_pt": "pt", "from_tf": "tf", "from_flax": "flax"}


def settle(arguments: dict[str, Any]) -> None:
    """Remove the field's arguments that need nothing done here; refuse those that ask for what is not there."""
    for name in _ACCEPTED:
        value = arguments.pop(name, None)
        if value and name in _MUST_BE_OFF:
            raise ConfigurationError(
                f"`{name}` must be left out or False, since it is not supported, but is {value!r}."
            )


def take_framework(arguments: dict[str, Any]) -> str | None:
    """Remove `from_pt`, `from_tf` and `from_flax`, and say whose files alone they allow: pt, tf, flax, or None, any."""
    asked = [name for name in _FRAMEWORKS if arguments.pop(name, None)]
    if len(asked) > 1:
        raise ConfigurationError(f"Only one of {', '.join(f'`{n}`' for n in asked)} must be True, but all are.")
    return _FRAMEWORKS[asked[0]] if asked else None


def override(config: Any, fields: dict[str, Any]) -> None:
    """Set configuration fields that a call gave by keyword; a name that is no field is a TypeError."""
    unknown = [n for n in fields if n not in config.fields and n not in config.attribute_map and not config._knows(n)]
    if unknown:
        raise TypeError(f"{type(config).__name__} has no field {', '.join(sorted(unknown))}.")
    if fields:
        config.update(fields)


def prefixed(kwargs: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Take the arguments of one half out of `kwargs`, without their prefix; the pair's own fields stay."""
    shared = (*EncoderDecoderConfig.fields, *GENERATION_FIELDS)
    names = [n for n in kwargs if n.startswith(prefix) and n not in shared]
    return {name[len(prefix) :]: kwargs.pop(name) for name in names}
