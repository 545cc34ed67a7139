"""What a training did."""

from dataclasses import dataclass, field


@dataclass
class TrainingResult:
    """What a training did. `training.json` of the folder holds this and the settings."""

    output: str | None
    """The folder that was written, or None when none was asked for."""
    steps: int
    pairs: int
    """Pairs seen, those seen again counted again."""
    target_tokens: int
    seconds: float
    target_tokens_per_second: float
    train_loss: float
    """Mean over the target tokens of the last steps, label smoothing included."""
    valid_loss: float | None
    """Mean over the target tokens of `valid_pairs`, without smoothing, after training."""
    waste: float
    """The share of padding in all tokens of an epoch's batches."""
    cut_sources: int
    cut_targets: int
    """Pairs whose source or target was longer than the maximum, and was cut."""
    interrupted: bool
    """Whether Ctrl-C ended the training; what was learned until then is in the model and the folder."""
    skipped: int = 0
    """Bad pairs that were left out, where that was asked for."""
    broken_steps: int = 0
    """Steps whose loss was no finite number, and that were left out, where that was asked for."""
    notes: list[str] = field(default_factory=list)
    """Lines for the user: special ids that were found, texts that were cut."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """`step`, `seconds`, `loss` along the way."""
    training_pairs: int = 0
    validation_pairs: int = 0
    validation: list[dict[str, float]] = field(default_factory=list)
    """`step`, `seconds` and the figures of every validation along the way."""
    best: dict[str, float] | None = None
    """The entry of `validation` whose weights were kept; None: the last weights were."""
    stopped_early: bool = False
    """Whether validations that were no better ended the training."""
    averaged: list[int] = field(default_factory=list)
    """The steps after which the weights were those that the kept ones are the mean of, where that was asked for."""
