"""The settings of a watermark, in no framework's words."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from seqgraft.errors import GenerationError

SCHEMES = ("lefthash", "selfhash")
_SYNTHID = ("ngram_len", "keys", "sampling_table_size", "sampling_table_seed", "context_history_size")


@dataclass
class WatermarkingConfig:
    """A watermark after Kirchenbauer et al. 2023 (https://arxiv.org/abs/2301.10226).

    Args:
        greenlist_ratio: the part of the vocabulary that is green at a step.
        bias: what is added to the scores of green tokens.
        hashing_key: the secret; whoever knows it can find the mark.
        seeding_scheme: "lefthash": the last token says which are green; "selfhash": the last `context_width` tokens do,
            the new one among them (Algorithm 3 of https://arxiv.org/abs/2306.04634), which is slower.
        context_width: how many tokens the seed looks at.
    """

    greenlist_ratio: float = 0.25
    bias: float = 2.0
    hashing_key: int = 15485863
    seeding_scheme: str = "lefthash"
    context_width: int = 1

    @classmethod
    def of(cls, value: Any) -> "WatermarkingConfig":
        """A mapping, or any object with `to_dict`, as one of these; GenerationError for anything else."""
        if isinstance(value, cls):
            return value
        settings = value if isinstance(value, Mapping) else value.to_dict() if hasattr(value, "to_dict") else None
        if settings is None:
            raise GenerationError(
                f"`watermarking_config` must be a WatermarkingConfig or its fields, but is {value!r}."
            )
        return cls.from_dict(settings)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any], **changes: Any) -> "WatermarkingConfig":
        """One of a file's settings; `changes` go over them. GenerationError for SynthID's and for unknown ones."""
        given = {**settings, **changes}
        if any(name in given for name in _SYNTHID):
            raise GenerationError(
                "`watermarking_config` must be a WatermarkingConfig, but has the fields of SynthID. Its published "
                "library, synthid-text 0.2.1, must have torch 2.4.0, while this needs at least 2.6, so SynthID is not "
                "offered."
            )
        names = [field.name for field in fields(cls)]
        unknown = [name for name in given if name not in names]
        if unknown:
            raise GenerationError(f"`watermarking_config` may have {', '.join(names)}, but has {', '.join(unknown)}.")
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)

    def to_json_string(self) -> str:
        """The fields as JSON."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def update(self, **changes: Any) -> None:
        """Set the fields named here."""
        for name, value in self.from_dict(self.to_dict(), **changes).to_dict().items():
            setattr(self, name, value)

    def validate(self) -> None:
        """GenerationError for impossible values."""
        found = list(faults(**self.to_dict()))
        if found:
            raise GenerationError(" ".join(found))


def faults(greenlist_ratio: Any, bias: Any, hashing_key: Any, seeding_scheme: Any, context_width: Any) -> Iterator[str]:
    """A sentence for every setting of a watermark that is impossible."""
    if not isinstance(greenlist_ratio, (int, float)) or not 0 < greenlist_ratio < 1:
        yield f"`greenlist_ratio` of a watermark must be more than 0 and less than 1, but is {greenlist_ratio!r}."
    if not isinstance(bias, (int, float)):
        yield f"`bias` of a watermark must be a number, but is {bias!r}."
    if not isinstance(hashing_key, int):
        yield f"`hashing_key` of a watermark must be an integer, but is {hashing_key!r}."
    if seeding_scheme not in SCHEMES:
        yield f"`seeding_scheme` of a watermark must be 'lefthash' or 'selfhash', but is {seeding_scheme!r}."
    if isinstance(context_width, bool) or not isinstance(context_width, int) or context_width < 1:
        yield f"`context_width` of a watermark must be an integer of at least 1, but is {context_width!r}."
