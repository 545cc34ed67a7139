"""One training step (forward, backward, AdamW) on padded batches: `python -m benchmarks.train_step`."""

import argparse
import shutil
import warnings
from collections.abc import Callable
from typing import Any

import torch

import seqgraft
from benchmarks.harness import OURS, Line, race, report
from benchmarks.pairs import PAD, SIZES, folder, reference

BATCH = {"6 x 384": 16, "BERT-base": 4}


def batch(rows: int, source: int, target: int) -> dict[str, torch.Tensor]:
    """Rows of mixed lengths, from a quarter of the longest, padded at the right."""
    maker = torch.Generator().manual_seed(1)
    ids = torch.randint(1000, 30000, (rows, source), generator=maker)
    labels = torch.randint(1000, 30000, (rows, target), generator=maker)
    kept = torch.linspace(0.25, 1.0, rows)
    mask = (torch.arange(source)[None] < (kept * source)[:, None]).long()
    shown = torch.arange(target)[None] < (kept * target)[:, None]
    return {
        "input_ids": ids * mask + PAD * (1 - mask),
        "attention_mask": mask,
        "labels": labels.masked_fill(~shown, -100),
    }


def stepper(model: Any, inputs: dict[str, torch.Tensor]) -> Callable[[], float]:
    """A function that takes one step and returns its loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step() -> float:
        loss = model(**inputs).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


def same_loss(ours: float, theirs: float) -> str:
    """Whether two programs are at the same loss after as many steps."""
    apart = abs(ours - theirs) / abs(theirs)
    return f"same loss ({ours:.4f})" if apart < 1e-3 else f"DIFFERENT loss ({ours:.4f}, {theirs:.4f})"


def line(size: str, source: int, target: int, rounds: int) -> Line:
    """One size; dropout is off, so that the losses can be compared."""
    place = folder(size, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    rows = BATCH[size]
    inputs = batch(rows, source, target)
    ours = stepper(seqgraft.EncoderDecoderModel.from_pretrained(place).train(), inputs)
    theirs = stepper(reference().EncoderDecoderModel.from_pretrained(place).train(), inputs)
    shutil.rmtree(place.parent)
    return race(
        f"{size}, batch {rows} x {source} -> {target}",
        {OURS: ours, "transformers": theirs},
        same_loss,
        rounds=rounds,
        amount=float((inputs["labels"] != -100).sum()),
        unit="target tokens",
    )


def main() -> None:
    """Run every line and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=list(SIZES), action="append", help="default: all")
    parser.add_argument("--source", type=int, default=128)
    parser.add_argument("--target", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", help="file to write the figures to")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    found = [line(size, asked.source, asked.target, asked.rounds) for size in asked.size or SIZES]
    report("a training step, float32", found, asked.json)


if __name__ == "__main__":
    main()
