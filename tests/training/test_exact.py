"""An optimizer step is the same however its pairs are split: into batches, into processes, in the field's trainer."""

import json
import os
import random
import subprocess
import sys

import pytest
import torch
import transformers

import seqgraft
from seqgraft.training.collator import DataCollatorForSeq2Seq
from seqgraft.training.data import TokenizedPairs
from seqgraft.training.special import settle_special_ids
from seqgraft.training.trainer import train

from .conftest import WORDS

STEPS = 5
SPLITS = [(64, 1), (8, 8), (1, 64)]
OPTIONS = {"tokens_per_batch": None, "epochs": STEPS, "dropout": False, "label_smoothing": 0.1, "progress": False}


def sixty_four():
    draw = random.Random(0)

    def text(least, most):
        return " ".join(draw.choices(WORDS, k=draw.randint(least, most)))

    return [(text(2, 14), text(1, 7)) for _ in range(64)]


def same_weights(found, wanted, start):
    """Relative 1e-5, each tensor and all that training changed; biases of keys apart, whose gradient is nought.

    (They add the same to all scores of a query, and the optimizer makes steps of what rounding leaves.)
    """
    assert set(found) == set(wanted)
    moved = torch.stack([(wanted[name] - start[name]).norm() for name in wanted]).norm()
    apart = torch.stack([(found[name] - wanted[name]).norm() for name in wanted]).norm()
    assert moved > 0
    assert apart / moved < 1e-5
    for name, value in wanted.items():
        if not name.endswith("key.bias"):
            assert (found[name] - value).norm() <= 1e-5 * value.norm() + 1e-12, name


def weights(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def test_batches_of_one_step(make):
    runs, start = [], weights(make().model)
    for rows, accumulate in SPLITS:
        made = make()
        options = {**OPTIONS, "rows_per_batch": rows, "accumulate": accumulate}
        result = train(made.model, made.tokenizer, sixty_four(), output=None, **options)
        assert (result.steps, result.pairs) == (STEPS, STEPS * 64)
        runs.append((result, weights(made.model)))
    for result, held in runs[1:]:
        assert result.train_loss == pytest.approx(runs[0][0].train_loss, rel=1e-5)
        for one, other in zip(result.curve, runs[0][0].curve, strict=True):
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)  # written with four places
        same_weights(held, runs[0][1], start)


def test_the_loss_is_the_mean_over_all_target_tokens(make):
    """By the model's own forward, of batches that are cut unevenly."""
    made = make()
    settle_special_ids(made.model, made.tokenizer)
    data = TokenizedPairs.make(sixty_four(), made.model, made.tokenizer)
    with torch.no_grad():
        whole = float(made.model(**data[range(64)]).loss)
    options = {**OPTIONS, "label_smoothing": 0.0, "epochs": 1, "rows_per_batch": 7, "accumulate": 10}
    result = train(made.model, made.tokenizer, sixty_four(), output=None, **options)
    assert result.steps == 1
    assert result.train_loss == pytest.approx(whole, rel=1e-5)


def command(folder, data, out, *flags, launcher=()):
    settings = "--epochs 5 --no-dropout --label-smoothing 0.1 --device cpu --no-check --json --learning-rate 5e-5"
    line = [sys.executable, *(launcher or ("-m", "seqgraft")), "train", folder, "-d", data, "-o", out]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*map(str, line), *settings.split(), *map(str, flags)],
        capture_output=True, text=True, env=environment, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), weights(seqgraft.EncoderDecoderModel.from_pretrained(out))


@pytest.mark.long
def test_two_processes(make, tmp_path):
    """Through the command, with Lightning's launcher and with torchrun; 3 batches leave one process without."""
    made = make()
    made.model.save_pretrained(tmp_path / "pair")
    made.tokenizer.save_pretrained(tmp_path / "pair")
    start = weights(made.model)
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps({"source": s, "target": t}) + "\n" for s, t in sixty_four()), encoding="utf-8")
    one, alone = command(tmp_path / "pair", data, tmp_path / "one", "--rows-per-batch", 64)
    two, both = command(tmp_path / "pair", data, tmp_path / "two", "--rows-per-batch", 32, "--devices", 2)
    uneven = ("--rows-per-batch", 22, "--accumulate", 2)
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "seqgraft")
    three, shared = command(tmp_path / "pair", data, tmp_path / "three", *uneven, launcher=torchrun)
    assert one["steps"] == two["steps"] == three["steps"] == STEPS
    assert one["pairs"] == two["pairs"] == three["pairs"] == STEPS * 64
    assert one["target_tokens"] == two["target_tokens"] == three["target_tokens"]
    for result, held in ((two, both), (three, shared)):
        assert result["train_loss"] == pytest.approx(one["train_loss"], rel=1e-5)
        same_weights(held, alone, start)


@pytest.mark.long
def test_the_fields_own_trainer(make, tmp_path):
    """`transformers.Seq2SeqTrainer` counts the tokens of a step and hands `num_items_in_batch` to our forward."""
    pytest.importorskip("accelerate")
    runs = []
    for rows, accumulate in ((64, 1), (8, 8), (1, 64)):
        made = make()
        settle_special_ids(made.model, made.tokenizer)
        start = weights(made.model)
        data = TokenizedPairs.make(sixty_four(), made.model, made.tokenizer)
        examples = [
            {"input_ids": data.sources[index].tolist(), "labels": data.targets[index].tolist()} for index in range(64)
        ]
        arguments = transformers.Seq2SeqTrainingArguments(
            output_dir=str(tmp_path / str(rows)),
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=accumulate,
            num_train_epochs=STEPS,
            learning_rate=5e-5,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        made.model.eval()
        collate = DataCollatorForSeq2Seq(made.tokenizer, made.model)
        trainer = transformers.Seq2SeqTrainer(
            model=without_dropout(made.model), args=arguments, train_dataset=examples, data_collator=collate
        )
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        assert len(losses) == STEPS
        runs.append((losses, weights(made.model)))
    for losses, held in runs[1:]:
        assert losses == pytest.approx(runs[0][0], rel=1e-5)
        same_weights(held, runs[0][1], start)


def without_dropout(model):
    """The trainer sets training mode; what it then switches on is switched off."""
    model.train = lambda mode=True: model
    return model
