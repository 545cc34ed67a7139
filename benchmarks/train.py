"""Training on real pairs, in turns with the field's trainer: `python -m benchmarks.train`.

The pairs are docstrings of this machine (`examples.docstrings`: body -> summary line), whose lengths vary. Both
programs train the same pair with AdamW at the same constant rates, clip at the same norm, drop nothing out, and take
about as many target tokens in an optimizer step; each batches as it does by itself: seqgraft by tokens, transformers'
Seq2SeqTrainer by rows, as many as take as many target tokens in the mean (`--group` lets it group rows by length).
The turns alternate; loading and tokenising are done before the clock runs. The held-out loss of both is measured by
the same code after the same number of target tokens.
"""

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import seqgraft
from benchmarks.harness import OURS, machine
from benchmarks.pairs import reference
from examples.docstrings import collect, models
from seqgraft.training.data import TokenizedPairs
from seqgraft.training.metrics import mean_loss
from seqgraft.training.special import settle_special_ids
from seqgraft.training.trainer import train

THEIRS = "transformers"
RATE, BETAS, CLIP = 1e-4, (0.9, 0.98), 1.0


@dataclass
class Task:
    """What is trained, on what, and how much of it."""

    folder: Path
    tokenizer: Any
    pairs: list[tuple[str, str]]
    held_out: list[tuple[str, str]]
    tokens_per_batch: int
    steps: int
    lengths: dict[str, int]
    group: bool


@dataclass
class Turn:
    """One training."""

    seconds: float
    tokens: int
    steps: int
    waste: float
    loss: float
    """Held out, in nats, after it."""

    @property
    def speed(self) -> float:
        """Target tokens per second."""
        return self.tokens / self.seconds


def ours(task: Task, data: TokenizedPairs, valid: TokenizedPairs) -> Turn:
    """One training by `seqgraft.training`."""
    model = seqgraft.EncoderDecoderModel.from_pretrained(task.folder)
    result = train(
        model,
        task.tokenizer,
        task.pairs,
        output=None,
        epochs=100,
        max_steps=task.steps,
        tokens_per_batch=task.tokens_per_batch,
        learning_rate=RATE,
        new_learning_rate=RATE,
        adam_beta2=BETAS[1],
        weight_decay=0.0,
        warmup=0.0,
        decay="constant",
        gradient_clip=CLIP,
        dropout=False,
        check=False,
        progress=False,
        **task.lengths,
    )
    return Turn(result.seconds, result.target_tokens, result.steps, result.waste, mean_loss(model, valid))


def theirs(task: Task, data: TokenizedPairs, valid: TokenizedPairs, rows: int, tokens: int) -> Turn:
    """One training by transformers' Seq2SeqTrainer, of about so many target tokens."""
    library = reference()
    model = library.EncoderDecoderModel.from_pretrained(task.folder)
    examples = [
        {
            "input_ids": data.sources[index].tolist(),
            "attention_mask": [1] * len(data.sources[index]),
            "labels": data.targets[index].tolist(),
        }
        for index in range(len(data))
    ]
    counted = {"tokens": 0, "held": 0, "padded": 0, "began": 0.0, "ended": 0.0}
    pad = library.DataCollatorForSeq2Seq(_Padding(task.tokenizer), None)

    def collate(some: list[dict[str, Any]]) -> Any:
        batch = pad(some)
        counted["padded"] += batch["input_ids"].numel() + batch["labels"].numel()
        counted["held"] += sum(len(row["input_ids"]) + len(row["labels"]) for row in some)
        counted["tokens"] += sum(len(row["labels"]) for row in some)
        return batch

    class Clock(library.TrainerCallback):  # type: ignore[misc, name-defined]
        """From the first step to the last."""

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            counted["began"] = time.monotonic()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            counted["ended"] = time.monotonic()

    mean = sum(map(len, (data.targets[index] for index in range(len(data))))) / len(data)
    steps = max(1, round(tokens / (rows * mean)))
    model.train = lambda mode=True: model  # nothing drops out, as in the other program
    with tempfile.TemporaryDirectory() as folder:
        arguments = library.Seq2SeqTrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=rows,
            max_steps=steps,
            learning_rate=RATE,
            lr_scheduler_type="constant",
            adam_beta2=BETAS[1],
            max_grad_norm=CLIP,
            optim="adamw_torch_fused",
            train_sampling_strategy="group_by_length" if task.group else "random",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            use_cpu=not torch.cuda.is_available(),
            disable_tqdm=True,
        )
        library.Seq2SeqTrainer(
            model=model.eval(), args=arguments, train_dataset=examples, data_collator=collate, callbacks=[Clock()]
        ).train()
        model.save_pretrained(folder)
        loss = mean_loss(seqgraft.EncoderDecoderModel.from_pretrained(folder), valid)
    waste = 1 - counted["held"] / counted["padded"]
    return Turn(counted["ended"] - counted["began"], int(counted["tokens"]), steps, waste, loss)


class _Padding:
    """What their collator wants of a tokenizer, with rows of ids that are made already."""

    padding_side = "right"

    def __init__(self, tokenizer: Any) -> None:
        self.pad_token_id = tokenizer.pad_token_id
        self.pad, self._own = self._pad, tokenizer

    def _pad(self, rows: Any, **options: Any) -> Any:
        return self._own.pad(rows, **{k: v for k, v in options.items() if k in ("padding", "return_tensors")})


def turns(task: Task, rounds: int, say: Callable[[str], None]) -> dict[str, list[Turn]]:
    """Both programs in turns, ours first: theirs sees as many target tokens."""
    model = seqgraft.EncoderDecoderModel.from_pretrained(task.folder)
    data = TokenizedPairs.make(task.pairs, model, task.tokenizer, **task.lengths)
    valid = TokenizedPairs.make(task.held_out, model, task.tokenizer, **task.lengths)
    found: dict[str, list[Turn]] = {OURS: [], THEIRS: []}
    for number in range(rounds):
        turn = ours(task, data, valid)
        mean = sum(map(len, (data.targets[index] for index in range(len(data))))) / len(data)
        rows = max(1, round(turn.tokens / turn.steps / mean))
        other = theirs(task, data, valid, rows, turn.tokens)
        found[OURS].append(turn)
        found[THEIRS].append(other)
        speeds = f"{turn.speed:,.0f} and {other.speed:,.0f} target tokens/s"
        say(f"round {number + 1}: {speeds}, {turn.speed / other.speed:.2f} times")
    return found


def main() -> None:
    """Collect the pairs, run the turns, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a tiny random pair instead of MiniLM")
    parser.add_argument("--pairs", type=int, default=4000, help="pairs to train on")
    parser.add_argument("--held-out", type=int, default=300)
    parser.add_argument("--steps", type=int, default=60, help="optimizer steps of a turn")
    parser.add_argument("--tokens-per-batch", type=int, default=4096)
    parser.add_argument("--max-source-length", type=int, default=256)
    parser.add_argument("--max-target-length", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--group", action="store_true", help="let transformers group rows by length")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("runs/docstrings"), help="where the pairs are kept")
    parser.add_argument("--json", help="file to write the figures to")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    warnings.simplefilter("ignore")
    console = Console(soft_wrap=True, highlight=False)
    found, _ = collect.cached(asked.folder)
    training, held_out = collect.split(found)
    model, tokenizer = models.compose(tiny=asked.tiny)
    settle_special_ids(model, tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        task = Task(
            Path(folder),
            tokenizer,
            [(pair.source, pair.target) for pair in training[: asked.pairs]],
            [(pair.source, pair.target) for pair in held_out[: asked.held_out]],
            asked.tokens_per_batch,
            asked.steps,
            {"max_source_length": asked.max_source_length, "max_target_length": asked.max_target_length},
            asked.group,
        )
        runs = turns(task, asked.rounds, console.print)
    report(runs, task, console, asked.json)


def report(runs: dict[str, list[Turn]], task: Task, console: Console, output: str | None) -> None:
    """The table, the median ratio of the rounds, and both losses; JSON when a file is named."""
    about = machine()
    table = Table(title=f"training, {len(task.pairs):,} docstring pairs, {task.tokens_per_batch} tokens a batch")
    for name in ("program", "target tokens/s", "steps", "target tokens", "padding", "held-out loss"):
        table.add_column(name, justify="left" if name == "program" else "right")
    for name, held in runs.items():
        speed = statistics.median(turn.speed for turn in held)
        last = held[-1]
        cells = (f"{speed:,.0f}", f"{last.steps:,}", f"{last.tokens:,}", f"{last.waste:.1%}", f"{last.loss:.4f}")
        table.add_row(name, *cells)
    console.print(table)
    ratio = statistics.median(a.speed / b.speed for a, b in zip(runs[OURS], runs[THEIRS], strict=True))
    apart = runs[OURS][-1].loss / runs[THEIRS][-1].loss - 1
    console.print(f"{ratio:.2f} times the target tokens per second; the loss at equal tokens is {apart:+.2%} apart.")
    if about["load_before"] > 0.5:
        console.print(f"The machine was busy (load {about['load_before']}): ratios are less sure than they look.")
    if output:
        held = {name: [vars(turn) | {"speed": turn.speed} for turn in each] for name, each in runs.items()}
        told = {"machine": about, "ratio": ratio, "loss_apart": apart, "turns": held}
        Path(output).write_text(json.dumps(told, indent=2), encoding="utf-8")
        console.print(f"Written: {output}")


if __name__ == "__main__":
    main()
