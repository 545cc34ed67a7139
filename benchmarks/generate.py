"""Tokens per second of whole `generate` calls: `python -m benchmarks.generate`."""

import argparse
import shutil
import warnings

import torch

import seqgraft
from benchmarks.harness import OURS, Line, race, report
from benchmarks.pairs import SIZES, folder, reference


def same_tokens(ours: torch.Tensor, theirs: torch.Tensor) -> str:
    """Whether two programs generated the same."""
    if ours.shape == theirs.shape and torch.equal(ours, theirs):
        return "same tokens"
    alike = (ours == theirs).float().mean().item() if ours.shape == theirs.shape else 0.0
    return f"DIFFERENT tokens ({alike:.1%} alike)"


def lines(size: str, source: int, new: int, rounds: int) -> list[Line]:
    """Greedy and 4 beams, at batch 1 and 8."""
    place = folder(size)
    ours = seqgraft.EncoderDecoderModel.from_pretrained(place)
    theirs = reference().EncoderDecoderModel.from_pretrained(place).eval()
    found = []
    for beams in (1, 4):
        for batch in (1, 8):
            ids = torch.randint(1000, 30000, (batch, source), generator=torch.Generator().manual_seed(1))
            inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            settings = {"max_new_tokens": new, "num_beams": beams, "do_sample": False}
            found.append(
                race(
                    f"{size}, {'greedy' if beams == 1 else f'{beams} beams'}, batch {batch}",
                    {
                        OURS: lambda i=inputs, s=settings: ours.generate(**i, **s),
                        "transformers": lambda i=inputs, s=settings: theirs.generate(**i, **s),
                    },
                    same_tokens,
                    rounds=rounds,
                    amount=batch * new,
                    unit="tokens",
                )
            )
    shutil.rmtree(place.parent)
    return found


def main() -> None:
    """Run every line and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=list(SIZES), action="append", help="default: all")
    parser.add_argument("--source", type=int, default=128, help="tokens of the source")
    parser.add_argument("--new", type=int, default=64, help="tokens to generate")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="default: torch's")
    parser.add_argument("--json", help="file to write the figures to")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    warnings.simplefilter("ignore")
    found = [line for size in asked.size or SIZES for line in lines(size, asked.source, asked.new, asked.rounds)]
    report(f"generate, float32, source {asked.source}, {asked.new} new tokens", found, asked.json)


if __name__ == "__main__":
    main()
