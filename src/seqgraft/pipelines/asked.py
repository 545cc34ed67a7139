"""What one call of a pipeline asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from seqgraft.errors import ConfigurationError


@dataclass(frozen=True)
class Asked:
    """What one call asks for: how texts become rows, how rows become records, and the settings of `generate`."""

    batch_size: int = 1
    truncation: Any = None
    return_text: bool | None = None
    return_tensors: bool | None = None
    return_type: Any = None
    clean_up_tokenization_spaces: bool | None = None
    stop_sequence: str | None = None
    src_lang: str | None = None
    tgt_lang: str | None = None
    num_workers: int | None = None
    """Of the field: taken, and without effect, since texts are encoded by the tokenizer's own threads."""
    places: Sequence[int] | None = None
    """What messages call the inputs, in their order; by default they count from 0."""
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.batch_size, bool) or not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ConfigurationError(f"`batch_size` must be a whole number of at least 1, but is {self.batch_size!r}.")
        if self.return_type not in (None, "text", "tensors"):
            raise ConfigurationError(f"`return_type` must be 'text' or 'tensors', but is {self.return_type!r}.")
        if self.return_text is False and not self.tensors:
            raise ConfigurationError(
                "`return_text` may be False only with `return_tensors=True`: nothing else is left."
            )

    def place(self, index: int) -> int:
        """What messages call an input."""
        return index if self.places is None else self.places[index]

    @property
    def tensors(self) -> bool:
        """Whether records hold token ids."""
        return bool(self.return_tensors) or self.return_type == "tensors"

    @property
    def text(self) -> bool:
        """Whether records hold text: ids take its place unless both are asked for."""
        return not self.tensors if self.return_text is None else self.return_text

    @property
    def cuts(self) -> bool:
        """Whether sources that are too long are cut."""
        return str(getattr(self.truncation, "value", self.truncation)) not in ("None", "False", "do_not_truncate")
