"""Predictions and references -> figures of the field, as sums over examples, so that resamples cost nothing.

Each figure is a function of per-example statistics that are added up: matches and lengths for BLEU (Papineni et al.
2002) and chrF (Popovic 2015), as `sacrebleu` counts them; F-measures for ROUGE (Lin 2004), as `rouge-score` computes
them; hits for exact match; nats and tokens for perplexity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqgraft.errors import ConfigurationError, MissingExtraError

METRICS = ("rouge", "bleu", "chrf", "exact", "perplexity")
"""What may be asked for; `rouge` means three figures."""
LOWER_IS_BETTER = frozenset(("loss", "perplexity"))
FIGURES = ("rouge1", "rouge2", "rougeL", "bleu", "chrf", "exact", "perplexity", "loss")
"""Names of figures that a set of metrics may give."""
_ROUGE = ("rouge1", "rouge2", "rougeL")

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass
class Measure:
    """One figure over a set of examples."""

    name: str
    statistics: Array
    """[examples, numbers]; sums of rows are the statistics of the set."""
    score: Callable[[Array], float]
    """Summed statistics [numbers] -> the figure."""
    signature: str = ""
    """How it was computed, in the words of the library that did."""

    def value(self) -> float:
        """The figure over all examples."""
        return self.score(self.statistics.sum(0))

    def each(self) -> list[float]:
        """The figure of every example alone."""
        return [self.score(row) for row in self.statistics]

    @property
    def better(self) -> int:
        """1 where more is better, -1 where less is."""
        return -1 if self.name in LOWER_IS_BETTER else 1


def check(metrics: Sequence[str]) -> None:
    """Raise ConfigurationError for a metric that there is none of."""
    unknown = [name for name in metrics if name not in METRICS]
    if unknown or not metrics:
        raise ConfigurationError(
            f"Metrics must be of {', '.join(METRICS)}, but are {', '.join(map(repr, metrics)) or 'none'}."
        )


def figures(metrics: Sequence[str]) -> list[str]:
    """Names of the figures that metrics give: `rouge` gives three."""
    check(metrics)
    return [figure for name in metrics for figure in (_ROUGE if name == "rouge" else (name,))]


def measure(
    metrics: Sequence[str],
    predictions: Sequence[str],
    references: Sequence[str],
    losses: Sequence[tuple[float, int]] | None = None,
    *,
    tokenize: str | None = None,
    lowercase: bool = False,
) -> list[Measure]:
    """The figures asked for, `predictions[i]` against `references[i]`; 0 to 100, but for perplexity.

    `losses` are (nats, tokens) of each reference under the model, for perplexity. `tokenize` is sacrebleu's for BLEU
    (`13a` unless said; `none` for texts that are tokenised already), `lowercase` its own for BLEU and chrF.

    Raises:
        ConfigurationError: unknown metrics, lists of unequal length or none.
        MissingExtraError: sacrebleu or rouge-score is not installed.
    """
    check(metrics)
    if not references or len(predictions) != len(references):
        raise ConfigurationError(
            f"There must be as many predictions as references ({len(references)}) and at least one, "
            f"but there are {len(predictions)}."
        )
    made: list[Measure] = []
    for name in dict.fromkeys(metrics):
        if name == "rouge":
            made += _rouge(predictions, references)
        elif name == "exact":
            made.append(exact(predictions, references))
        elif name == "perplexity":
            if losses is None:
                raise ConfigurationError("Perplexity needs the model's `losses` of the references, but has none.")
            made.append(perplexity(losses))
        else:
            made.append(_sacrebleu(name, predictions, references, tokenize, lowercase))
    return made


def _mean(statistics: Array) -> float:
    """Statistics (sum, count) -> a mean of 0 to 1, as 0 to 100."""
    return float(100 * statistics[0] / statistics[1])


def _rouge(predictions: Sequence[str], references: Sequence[str]) -> list[Measure]:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise MissingExtraError("ROUGE needs rouge-score: pip install 'seqgraft[train]'.") from error
    scorer = RougeScorer(list(_ROUGE), use_stemmer=True)
    scores = [scorer.score(reference, made) for made, reference in zip(predictions, references, strict=True)]
    return [
        Measure(name, np.array([[score[name].fmeasure, 1.0] for score in scores]), _mean, "F-measure, stemmed, mean")
        for name in _ROUGE
    ]


def exact(predictions: Sequence[str], references: Sequence[str]) -> Measure:
    """The share of predictions that are the reference, white space aside, times 100."""
    hits = [[float(made.split() == true.split()), 1.0] for made, true in zip(predictions, references, strict=True)]
    return Measure("exact", np.array(hits), _mean, "white space aside")


def perplexity(losses: Sequence[tuple[float, int]]) -> Measure:
    """The exponential of the mean loss of a reference's token, its end counted."""
    held = np.array(losses, dtype=np.float64)
    return Measure("perplexity", held, lambda sums: math.exp(min(sums[0] / sums[1], 700.0)), "per target token")


def _sacrebleu(
    name: str, predictions: Sequence[str], references: Sequence[str], tokenize: str | None, lowercase: bool
) -> Measure:
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        raise MissingExtraError("BLEU and chrF need sacrebleu: pip install 'seqgraft[train]'.") from error
    if tokenize is not None and tokenize not in BLEU.TOKENIZERS:
        raise ConfigurationError(f"`tokenize` must be one of {', '.join(BLEU.TOKENIZERS)}, but is {tokenize!r}.")
    metric: Any = BLEU(tokenize=tokenize, lowercase=lowercase) if name == "bleu" else CHRF(lowercase=lowercase)
    # What sacrebleu's own significance tests add up; it has no public name there.
    statistics = np.array(metric._extract_corpus_statistics(list(predictions), [list(references)]), dtype=np.float64)

    def score(sums: Array) -> float:
        return float(metric._compute_score_from_stats(sums.astype(np.int64).tolist()).score)

    return Measure(name, statistics, score, str(metric.get_signature()))
