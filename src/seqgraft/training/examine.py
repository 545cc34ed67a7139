"""A model on pairs: what it writes, and the figures of that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seqgraft.evaluation.measures import Measure, check, measure
from seqgraft.text.pairing import PairTokenizer
from seqgraft.text.tokenizer import Tokenizer
from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.training.data import TokenizedPairs
from seqgraft.training.metrics import generate_texts, pair_losses
from seqgraft.training.pairs import Pair, Skipped
from seqgraft.training.special import settle_special_ids


def examine(
    model: EncoderDecoderModel,
    tokenizer: Tokenizer | PairTokenizer,
    pairs: Sequence[Pair | tuple[str, str]],
    *,
    metrics: Sequence[str],
    max_source_length: int | None = None,
    rows_per_batch: int = 16,
    skip_bad: bool = False,
    tokenize: str | None = None,
    lowercase: bool = False,
    **generation: Any,
) -> tuple[list[Measure], list[str], list[Pair]]:
    """The figures of a model on pairs, its texts, and the pairs that these are of.

    Nothing is generated where only perplexity is asked for: the texts are empty then. `generation` goes to
    `generate`; `tokenize` and `lowercase` are of BLEU and chrF (`evaluation.measures.measure`). With `skip_bad` pairs
    without tokens, or with a source that is too long, are left out.

    Raises DataError, naming its place, for such a pair otherwise; ConfigurationError for unknown metrics.
    """
    check(metrics)
    held = [pair if isinstance(pair, Pair) else Pair(*pair) for pair in pairs]
    settle_special_ids(model, tokenizer)
    skipped = Skipped() if skip_bad else None
    data = TokenizedPairs.make(held, model, tokenizer, max_source_length=max_source_length, skipped=skipped)
    kept = [held[index] for index in data.kept]
    losses = pair_losses(model, data) if "perplexity" in metrics else None
    texts = [""] * len(kept)
    if set(metrics) - {"perplexity"}:
        sources = [pair.source for pair in kept]
        how: dict[str, Any] = {"max_source_length": max_source_length, "rows_per_batch": rows_per_batch, **generation}
        texts = generate_texts(model, tokenizer, sources, **how)
    references = [pair.target for pair in kept]
    return measure(metrics, texts, references, losses, tokenize=tokenize, lowercase=lowercase), texts, kept
