"""What 8-bit weights cost in quality: `python -m benchmarks.quantized MODEL PAIRS`.

The same held-out pairs through a model in floats and through its quantised copy: how far the next token's distribution
moves on the references (Kullback-Leibler divergence, and how often the likeliest token stays the same: sure within a
few hundred pairs), and ROUGE of what both generate, with an interval of the difference by a paired bootstrap (Koehn
2004), since ROUGE of a few hundred texts is noisy.
"""

import argparse
import copy
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from examples.docstrings.collect import Docstring, split
from seqgraft import AutoTokenizer, EncoderDecoderModel
from seqgraft.torch.product_int8 import described
from seqgraft.training.data import TokenizedPairs
from seqgraft.training.metrics import generate_texts

KINDS = ("rouge1", "rouge2", "rougeL")


@dataclass(frozen=True)
class Moved:
    """How far the quantised model's next tokens are from the float one's, on the references."""

    tokens: int
    divergence: float
    """Mean of KL(float, quantised), nats a token."""
    agreement: float
    """Share of tokens where both find the same one likeliest."""
    loss: tuple[float, float]
    """Nats a token: float, quantised."""


@torch.inference_mode()
def moved(model: Any, small: Any, data: TokenizedPairs, rows: int = 16) -> Moved:
    """Both models on every pair, teacher-forced."""
    order = sorted(range(len(data)), key=lambda row: data.sources.lengths()[row])
    tokens, sums = 0, torch.zeros(4, dtype=torch.double)
    for at in track(range(0, len(order), rows), "Distributions", transient=True):
        batch = data[order[at : at + rows]]
        known = batch["labels"] != -100
        labels = batch["labels"][known]
        one, other = (torch.log_softmax(m(**batch).logits[known].double(), -1) for m in (model, small))
        tokens += len(labels)
        sums[0] += (one.exp() * (one - other)).sum()
        sums[1] += (one.argmax(-1) == other.argmax(-1)).sum()
        sums[2] -= one.gather(1, labels[:, None]).sum()
        sums[3] -= other.gather(1, labels[:, None]).sum()
    divergence, agreement, before, after = (sums / tokens).tolist()
    return Moved(tokens, divergence, agreement, (before, after))


def rouge_each(made: Sequence[str], references: Sequence[str]) -> torch.Tensor:
    """F-measures of every text [texts, 3], 0 to 100, as `rouge-score` computes them."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(KINDS), use_stemmer=True)
    found = [scorer.score(reference, text) for text, reference in zip(made, references, strict=True)]
    return 100 * torch.tensor([[one[kind].fmeasure for kind in KINDS] for one in found], dtype=torch.double)


def interval(differences: torch.Tensor, draws: int = 10_000) -> tuple[torch.Tensor, torch.Tensor]:
    """differences [texts, kinds] -> bounds of the mean [kinds], 95 % of the means of texts drawn with replacement."""
    maker = torch.Generator().manual_seed(0)
    texts = len(differences)
    means = [
        differences[torch.randint(texts, (1000, texts), generator=maker)].mean(1) for _ in range(max(1, draws // 1000))
    ]
    low, high = torch.cat(means).quantile(torch.tensor([0.025, 0.975], dtype=torch.double), dim=0)
    return low, high


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.quantized", description=__doc__)
    parser.add_argument("model", help="a folder with float weights, such as runs/docstrings/model")
    parser.add_argument(
        "pairs",
        type=Path,
        help="JSON lines of source and target; of the example's own (runs/docstrings/pairs.jsonl) those it held out",
    )
    parser.add_argument("--dtype", default="int8", choices=["int8", "fp8"])
    parser.add_argument("--skip", action="append", default=[], metavar="PATTERN", help="maps that stay floats")
    parser.add_argument("--limit", type=int, default=1000, help="the most pairs (1000)")
    parser.add_argument("--beams", default="1,4", help="widths of the search, by commas; 0: no texts (default: 1,4)")
    parser.add_argument("--max-source-length", type=int, default=128)
    parser.add_argument("--max-new-tokens", type=int, default=32)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    return parser.parse_args(given)


def pairs_of(path: Path) -> list[tuple[str, str]]:
    """(source, target) of every line; where lines name a module, as the example's do, those that it held out."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if rows and all("module" in row for row in rows):
        return [(pair.source, pair.target) for pair in split([Docstring(**row) for row in rows])[1]]
    return [(row["source"], row["target"]) for row in rows]


def main(given: Sequence[str] | None = None) -> int:
    """Run it; returns the exit code."""
    asked = arguments(given)
    pairs = pairs_of(asked.pairs)[: asked.limit]
    model, tokenizer = EncoderDecoderModel.from_pretrained(asked.model), AutoTokenizer.from_pretrained(asked.model)
    model.eval()
    small = copy.deepcopy(model).quantize(asked.dtype, modules_to_not_convert=asked.skip)
    lengths = {"max_source_length": asked.max_source_length, "max_target_length": asked.max_new_tokens}
    found = moved(model, small, TokenizedPairs.make(pairs, model, tokenizer, **lengths))
    out = Console(highlight=False, soft_wrap=True)
    kernel = f", products by {described()}" if asked.dtype == "int8" else ""
    out.print(f"{len(pairs):,} pairs, {found.tokens:,} tokens; {asked.dtype}{kernel}")
    out.print(
        f"divergence {1000 * found.divergence:.2f} thousandths of a nat a token; the likeliest token is the same for "
        f"{found.agreement:.1%}; loss {found.loss[0]:.4f} -> {found.loss[1]:.4f}"
    )
    figures: dict[str, Any] = {"pairs": len(pairs), "dtype": asked.dtype, **vars(found), "rouge": {}}
    sources, references = [list(side) for side in zip(*pairs, strict=True)]
    for beams in [int(word) for word in asked.beams.split(",") if int(word)]:
        settings = {"num_beams": beams, "max_new_tokens": asked.max_new_tokens}
        texts = [
            generate_texts(one, tokenizer, sources, max_source_length=asked.max_source_length, **settings)
            for one in (model, small)
        ]
        before, after = (rouge_each(made, references) for made in texts)
        low, high = interval(after - before)
        same = sum(one == other for one, other in zip(*texts, strict=True)) / len(pairs)
        out.print(f"{'greedy' if beams == 1 else f'{beams} beams'}: the same text for {same:.1%}")
        rows = zip(KINDS, before.mean(0).tolist(), after.mean(0).tolist(), low.tolist(), high.tolist(), strict=True)
        for kind, was, now, least, most in rows:
            out.print(f"  {kind:7s} {was:6.2f} -> {now:6.2f}   {now - was:+.2f}, 95 %: {least:+.2f} to {most:+.2f}")
            figures["rouge"][f"{kind}, {beams}"] = {"float": was, "quantised": now, "interval": [least, most]}
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
