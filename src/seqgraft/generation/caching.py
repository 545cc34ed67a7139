"""How keys and values of the past are kept while generating, in no framework's words."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from seqgraft.errors import GenerationError

OFFERED = ("dynamic", "quantized", "static")
# Files of Gemma 2 and 3 say it, which the reference passes over too: windows are the model's own matter.
_PASSED_OVER = ("hybrid",)
# The reference's others: a configuration may say them, `generate` refuses them.
KNOWN = (
    *OFFERED,
    *_PASSED_OVER,
    "offloaded",
    "offloaded_static",
    "sliding_window",
    "hybrid_chunked",
    "offloaded_hybrid",
    "offloaded_hybrid_chunked",
    "paged",
)
_CHOICES: dict[str, tuple[Any, ...]] = {
    "backend": (None, "quanto", "hqq"),
    "nbits": (4, 8),
    "axis_key": (0,),
    "axis_value": (0,),
    "cross_attention": (True, False),
}
_AT_LEAST = {"q_group_size": 1, "residual_length": 0}


@dataclass(frozen=True)
class QuantizedCacheConfig:
    """What `cache_config` says with `cache_implementation="quantized"`: whole numbers with a scale and a zero.

    The names are the reference's, whose own defaults are 4 bits and groups that may cross tokens.

    Args:
        backend: the reference's libraries for whole numbers, "quanto" or "hqq"; all that it says here is that no
            other kind of numbers ("fp8") is meant.
        nbits: bits of a number, 8 or 4.
        axis_key: 0: a scale for each token of a head, or for parts of it.
        axis_value: the same for values.
        q_group_size: numbers that share a scale: so many channels of a head, or all of them if it has fewer.
        residual_length: as many tokens at least, the newest, stay as they are, and at most a quarter more (but all
            tokens of one call are seen by that call as they are).
        cross_attention: whether the encoder's keys and values are kept so too, all of them.
    """

    backend: str | None = None
    nbits: int = 8
    axis_key: int = 0
    axis_value: int = 0
    q_group_size: int = 64
    residual_length: int = 128
    cross_attention: bool = True

    def __post_init__(self) -> None:
        """Raises GenerationError that names every field that cannot be so."""
        found = []
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if not any(value is choice or (value == choice and type(value) is type(choice)) for choice in choices):
                found.append(f"`{name}` of `cache_config` must be {_or(choices)}, but is {value!r}.")
        for name, least in _AT_LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                found.append(f"`{name}` of `cache_config` must be an integer of at least {least}, but is {value!r}.")
        if found:
            raise GenerationError(" ".join(found))

    @classmethod
    def of(cls, value: Any) -> "QuantizedCacheConfig":
        """A mapping of fields, or None for the defaults; GenerationError for unknown fields and anything else."""
        if isinstance(value, cls):
            return value
        if value is None:
            return cls()
        if not isinstance(value, Mapping):
            raise GenerationError(f"`cache_config` must be a mapping or a QuantizedCacheConfig, but is {value!r}.")
        names = [field.name for field in fields(cls)]
        unknown = [str(name) for name in value if name not in names]
        if unknown:
            raise GenerationError(f"`cache_config` may have {', '.join(names)}, but has {', '.join(unknown)}.")
        return cls(**value)

    def to_dict(self) -> dict[str, Any]:
        """The fields, as a file has them."""
        return asdict(self)


def cache_faults(config: Any) -> Iterator[str]:
    """A sentence for every setting of the cache that is impossible."""
    kind, how = config.cache_implementation, config.cache_config
    if kind is not None and kind not in KNOWN:
        yield f"`cache_implementation` must be {_or(OFFERED)}, but is {kind!r}."
    if how is not None and kind == "quantized":
        try:
            QuantizedCacheConfig.of(how)
        except GenerationError as error:
            yield str(error)


def cache_refusals(config: Any) -> Iterator[str]:
    """A sentence for a cache that the field knows and this version does not have."""
    kind = config.cache_implementation
    if kind in KNOWN and kind not in (*OFFERED, *_PASSED_OVER):
        yield f"`cache_implementation` must be {_or(OFFERED)} in this version, but is {kind!r}."


def quantized_cache(config: Any) -> QuantizedCacheConfig | None:
    """How a generation's cache is quantized; None where it is not."""
    return QuantizedCacheConfig.of(config.cache_config) if config.cache_implementation == "quantized" else None


def _or(choices: tuple[Any, ...]) -> str:
    return " or ".join(map(repr, choices))
