"""Whether and how a decoding step is compiled, in no framework's words."""

from collections.abc import Iterator, Mapping
from typing import Any

from seqgraft.errors import GenerationError

FIELDS = ("fullgraph", "dynamic", "backend", "mode", "options")
"""Of `compile_config`, as the reference has them: the arguments of `torch.compile`."""
# Recording the step is done here, so the compiler's own recording is left out of these.
_WITHOUT_RECORDING = {"reduce-overhead": "default", "max-autotune": "max-autotune-no-cudagraphs"}


def _fields(value: Any) -> dict[str, Any]:
    """A mapping, or an object with `to_dict` (the reference's CompileConfig); GenerationError for anything else."""
    if not isinstance(value, Mapping):
        if not hasattr(value, "to_dict"):
            raise GenerationError(
                f"`compile_config` must map arguments of torch.compile, or have to_dict, but is {value!r}."
            )
        value = value.to_dict()
    unknown = [str(name) for name in value if name not in FIELDS]
    if unknown:
        raise GenerationError(f"`compile_config` may have {', '.join(FIELDS)}, but has {', '.join(unknown)}.")
    return dict(value)


def compile_faults(config: Any) -> Iterator[str]:
    """A sentence for every setting of compiling that is impossible."""
    if config.disable_compile not in (None, True, False):
        yield f"`disable_compile` must be True or False, but is {config.disable_compile!r}."
    if config.compile_config is None:
        return
    try:
        _fields(config.compile_config)
    except GenerationError as error:
        yield str(error)
    if config.cache_implementation not in (None, "static"):
        yield (
            "`compile_config` needs `cache_implementation` to be None or 'static', since a step is compiled for fixed "
            f"shapes, but it is {config.cache_implementation!r}."
        )


def compile_arguments(config: Any) -> dict[str, Any] | None:
    """Arguments of `torch.compile` for a generation's step; None where it is not compiled."""
    if config.compile_config is None:
        return None
    given = {name: value for name, value in _fields(config.compile_config).items() if value is not None}
    if "options" not in given:
        given["mode"] = _WITHOUT_RECORDING.get(given.get("mode", "default"), given.get("mode", "default"))
    else:
        given.pop("mode", None)  # torch takes one of the two; the reference always says a mode
    return {"dynamic": False, **given}
