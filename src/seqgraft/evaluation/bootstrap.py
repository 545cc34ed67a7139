"""How sure a figure is, and a difference of two: bootstrap resampling of the test set (Koehn 2004)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from seqgraft.errors import ConfigurationError
from seqgraft.evaluation.measures import Array, Measure

SAMPLES = 1000


@dataclass(frozen=True)
class Difference:
    """Two systems on one figure of one test set."""

    name: str
    own: float
    other: float
    low: float
    high: float
    """Between which `own - other` lies, at the level asked for."""
    p: float
    """The share of resampled test sets on which the system that is ahead is not."""

    @property
    def difference(self) -> float:
        """Of the two figures."""
        return self.own - self.other

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "difference": self.difference}


def resample(measure: Measure, samples: int = SAMPLES, seed: int = 0) -> Array:
    """The figure on `samples` test sets drawn from the examples with replacement [samples].

    The same seed and number of examples draw the same test sets, so that figures of two systems are paired.
    Raises ConfigurationError for fewer than 2 samples.
    """
    if samples < 2:
        raise ConfigurationError(f"There must be at least 2 samples, but {samples} are asked for.")
    count = len(measure.statistics)
    random = np.random.default_rng(seed)
    out = np.empty(samples)
    for index in range(samples):
        drawn = np.bincount(random.integers(0, count, count), minlength=count).astype(np.float64)
        out[index] = measure.score(drawn @ measure.statistics)
    return out


def interval(measure: Measure, *, samples: int = SAMPLES, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """(low, high) that the figure lies between on `level` of the resampled test sets."""
    return _middle(resample(measure, samples, seed), level)


def compare(own: Measure, other: Measure, *, samples: int = SAMPLES, seed: int = 0, level: float = 0.95) -> Difference:
    """Paired bootstrap: two systems' figures on the same resampled test sets.

    Raises ConfigurationError unless both are one figure of the same number of examples.
    """
    if own.name != other.name or len(own.statistics) != len(other.statistics):
        raise ConfigurationError(
            f"What is compared must be one figure of the same examples, but is {own.name} of {len(own.statistics)} "
            f"and {other.name} of {len(other.statistics)}."
        )
    differences = resample(own, samples, seed) - resample(other, samples, seed)
    ahead = np.sign(own.value() - other.value())
    p = 1.0 if ahead == 0 else float(np.mean(differences * ahead <= 0))
    return Difference(own.name, own.value(), other.value(), *_middle(differences, level), p)


def _middle(values: Array, level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise ConfigurationError(f"`level` must lie between 0 and 1, but is {level}.")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
