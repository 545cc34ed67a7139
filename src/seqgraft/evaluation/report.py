"""The report of an evaluation: figures, intervals, worst examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from seqgraft.evaluation.bootstrap import SAMPLES, Difference, compare, interval
from seqgraft.evaluation.measures import Measure


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    value: float
    low: float
    high: float
    signature: str


@dataclass(frozen=True)
class Example:
    """A pair, what the model wrote, and how good that is."""

    number: int
    """Of the pair, from 1."""
    score: float
    source: str
    target: str
    prediction: str
    place: str = ""


@dataclass
class Report:
    """What an evaluation found. `to_dict` is what `--json` writes."""

    examples: int
    figures: list[Figure]
    ranked_by: str
    """The figure that the worst examples are worst by."""
    worst: list[Example]
    compared: list[Difference] = field(default_factory=list)
    level: float = 0.95
    samples: int = SAMPLES

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "compared": [difference.to_dict() for difference in self.compared]}


def report(
    measures: Sequence[Measure],
    sources: Sequence[str],
    references: Sequence[str],
    predictions: Sequence[str],
    *,
    others: Sequence[Measure] = (),
    worst: int = 5,
    places: Sequence[str] = (),
    samples: int = SAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> Report:
    """Figures with their intervals, the `worst` examples, and with `others` the paired differences.

    Examples are ranked by ROUGE-L where it was measured, else by the first figure.
    """
    how: dict[str, Any] = {"samples": samples, "seed": seed, "level": level}
    made = [Figure(one.name, one.value(), *interval(one, **how), one.signature) for one in measures]
    rank = next((one for one in measures if one.name == "rougeL"), measures[0])
    each = rank.each()
    order = sorted(range(len(each)), key=lambda index: (rank.better * each[index], index))[:worst]
    named = list(places) or [""] * len(each)
    examples = [
        Example(index + 1, each[index], sources[index], references[index], predictions[index], named[index])
        for index in order
    ]
    compared = [compare(own, other, **how) for own, other in zip(measures, others, strict=bool(others))]
    return Report(len(each), made, rank.name, examples, compared, level, samples)
