"""How good a model is on pairs: loss, ROUGE, and the lead sentence to compare with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from seqgraft.config import longest_source
from seqgraft.evaluation.measures import measure
from seqgraft.text.pairing import PairTokenizer
from seqgraft.text.tokenizer import Tokenizer
from seqgraft.torch.loss import IGNORED
from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.training.data import longest
from seqgraft.training.loss import token_loss
from seqgraft.training.plan import BatchPlan
from seqgraft.training.special import sides

if TYPE_CHECKING:
    from seqgraft.training.data import TokenizedPairs

_SENTENCE_END = re.compile(r"[.!?][\"')\]]*(?=\s+[\"'(\[]*[A-Z0-9])")


def rouge(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Mean F-measures `rouge1`, `rouge2`, `rougeL`, 0 to 100, stemmed (Lin 2004, as `rouge-score` computes them).

    Raises ConfigurationError for lists of unequal length or none, MissingExtraError without rouge-score.
    """
    return {one.name: one.value() for one in measure(["rouge"], predictions, references)}


def lead_sentence(text: str) -> str:
    """The first sentence: the summary that costs nothing, and is hard to beat."""
    text = text.strip()
    end = _SENTENCE_END.search(text)
    return text if end is None else text[: end.end()]


def mean_loss(model: EncoderDecoderModel, data: TokenizedPairs, *, tokens_per_batch: int = 8192) -> float:
    """Mean cross-entropy over all target tokens, in nats, with the model in eval mode."""
    plan = BatchPlan(data.sources.lengths(), data.targets.lengths(), tokens=tokens_per_batch)
    was = model.training
    model.eval()
    total = count = 0.0
    with torch.inference_mode():
        for indexes in plan:
            batch = {name: value.to(model.device) for name, value in data[indexes].items()}
            loss, tokens = token_loss(model, batch)
            total, count = total + float(loss), count + tokens
    model.train(was)
    return total / count


def pair_losses(
    model: EncoderDecoderModel, data: TokenizedPairs, *, tokens_per_batch: int = 4096, share: tuple[int, int] = (0, 1)
) -> list[tuple[float, int]]:
    """(nats, tokens) of every pair's target, in the order of `data`, with the model in eval mode.

    `share=(2, 4)` computes the third of four parts; the other pairs get (0.0, 0), so that the parts can be added.
    """
    plan = BatchPlan(data.sources.lengths(), data.targets.lengths(), tokens=tokens_per_batch)
    was = model.training
    model.eval()
    found: list[tuple[float, int]] = [(0.0, 0)] * len(data)
    with torch.inference_mode():
        for indexes in islice(plan, share[0], None, share[1]):
            batch = {name: value.to(model.device) for name, value in data[indexes].items()}
            logits = model(**batch, return_dict=True).logits.float()
            each = F.cross_entropy(logits.transpose(1, 2), batch["labels"], reduction="none", ignore_index=IGNORED)
            sums, counts = each.double().sum(1).tolist(), (batch["labels"] != IGNORED).sum(1).tolist()
            for index, total, count in zip(indexes, sums, counts, strict=True):
                found[index] = total, count
    model.train(was)
    return found


def generate_texts(
    model: EncoderDecoderModel,
    tokenizer: Tokenizer | PairTokenizer,
    sources: Sequence[str],
    *,
    rows_per_batch: int = 16,
    max_source_length: int | None = None,
    share: tuple[int, int] = (0, 1),
    **generation: Any,
) -> list[str]:
    """The model's text for every source, in their order; sources of like length are generated together.

    `generation` goes to `generate` (`max_new_tokens`, `num_beams`, ...). Sources are cut at `max_source_length`
    tokens, at most what the encoder has positions for. `share=(2, 4)` writes the third of four parts; the other
    texts are empty.
    """
    source, target = sides(tokenizer)
    bound = longest(longest_source(model.config.encoder), max_source_length, "max_source_length")
    cut: dict[str, Any] = {} if bound is None else {"truncation": True, "max_length": bound}
    rows = source(list(sources), **cut, return_attention_mask=False, verbose=False)["input_ids"] if sources else []
    if generation.get("stop_strings") is not None:
        generation.setdefault("tokenizer", target)
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
    pad = source.pad_token_id or 0
    out = [""] * len(rows)
    for first in range(share[0] * rows_per_batch, len(order), share[1] * rows_per_batch):
        indexes = order[first : first + rows_per_batch]
        width = max(len(rows[index]) for index in indexes)
        ids = torch.tensor([rows[index] + [pad] * (width - len(rows[index])) for index in indexes])
        mask = torch.tensor([[1] * len(rows[index]) + [0] * (width - len(rows[index])) for index in indexes])
        made = model.generate(input_ids=ids.to(model.device), attention_mask=mask.to(model.device), **generation)
        for index, text in zip(indexes, target.batch_decode(made, skip_special_tokens=True), strict=True):
            out[index] = text.strip()
    return out
