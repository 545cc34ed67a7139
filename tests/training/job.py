"""Trainings that every process of a torchrun does one after the other: `-m tests.training.job OUT [NAME ...]`.

The weights and results of the first process are left in OUT; without torchrun one process does the same.
"""

import copy
import dataclasses
import sys
from pathlib import Path

import torch

import seqgraft
from seqgraft.training import module, recipes
from seqgraft.training.processes import Processes, rank
from seqgraft.training.trainer import train
from seqgraft.training.validation import Validation

from .conftest import SIZES, half, tiny
from .test_exact import OPTIONS, sixty_four, weights

ROWS, ACCUMULATE = 8, 4
"""Of one process: 64 pairs are two steps an epoch, of four batches."""
SCENARIOS = {
    "plain": {},
    "tied halves": {"recipe": "share", "gradient_clip": 0.05},  # which every step reaches, if the norm is that of all
    "gated, frozen and by patterns": {
        "kinds": ("bert", "gpt2"),
        "freeze": ["encoder.embed.*", "decoder.layers.0.feed_forward.*"],
        "rates": ["decoder.*.cross_attention.*=2e-3,warmup=0.3", "encoder.layers.1.*=1e-5"],
    },
    "shared table": {"kinds": ("bart", "bart"), "gradient_clip": 0.1, "gradient_checkpointing": True},
    "shared layers": {"kinds": ("albert", "bert")},
    "biases of layers": {"kinds": ("umt5", "bert")},
    "validated": {
        "learning_rate": 5e-3,
        "epochs": 8,
        "validation": {"metrics": ("rouge", "perplexity"), "every": 3, "best": "rougeL", "patience": 3, "pairs": 19},
    },
    "resumed": {"checkpoint_every": 3, "gradient_clip": 0.1, "average_checkpoints": 2, "average_every": 2},
    "resumed adapters": {"checkpoint_every": 3, "recipe": "lora", "learning_rate": 5e-3},
}
WHOLE = ("gated, frozen and by patterns", "validated", "resumed adapters")
"""Those that are done with the whole model on every process as well."""


def pair_of(kinds):
    if set(kinds) <= {"bert", "gpt2", "bart"}:
        return tiny(*kinds)
    made = tiny()
    words = made.tokenizer.vocab_size
    torch.manual_seed(0)
    if kinds[0] == "albert":
        encoder = seqgraft.AlbertConfig(vocab_size=words, embedding_size=16, max_position_embeddings=64, **SIZES)
    else:
        encoder = seqgraft.UMT5Config(vocab_size=words, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2)
    config = seqgraft.EncoderDecoderConfig(encoder, half("bert", words))
    made.model = seqgraft.EncoderDecoderModel(config=config)
    return made


def scenario(name, strategy, folder, world):
    asked = dict(SCENARIOS[name])
    made = pair_of(asked.pop("kinds", ("bert", "bert")))
    recipe, checking = asked.pop("recipe", None), asked.get("checkpoint_every") is not None
    settings = {
        **OPTIONS,
        "check": False,
        "gradient_clip": 1.0,
        "learning_rate": 5e-4,
        "device": "cpu",
        "epochs": 3,
        "max_source_length": 64,
        **asked,
    }
    if recipe is not None:
        recipes.prepare(made.model, recipe)
        settings = recipes.settings(recipe, **settings)
    if "validation" in settings:
        settings |= {"validation": Validation(**settings["validation"]), "valid_pairs": sixty_four()[:40]}
    settings |= {"rows_per_batch": ROWS, "accumulate": ACCUMULATE // world, "strategy": strategy}
    start, done = weights(made.model), {}
    if checking and world > 1:
        output = folder / f"{name} {strategy}"
        interrupted(copy.deepcopy(made), settings, output)
        again = copy.deepcopy(made)
        result = train(again.model, again.tokenizer, sixty_four(), output=output, **settings, resume=True)
        done["resumed"] = {"weights": weights(again.model), "notes": result.notes, "loss": result.train_loss}
    result = train(made.model, made.tokenizer, sixty_four(), output=None, **settings)
    return {**done, "start": start, "weights": weights(made.model), "result": dataclasses.asdict(result)}


class StoppedError(Exception):
    """In the middle of the fifth step."""


def interrupted(made, settings, output):
    """The same training, which ends in every process at the same batch."""
    calls, true = [], module.token_loss

    def breaks(*arguments, **options):
        calls.append(1)
        if len(calls) == 4 * settings["accumulate"] + 1:
            raise StoppedError
        return true(*arguments, **options)

    module.token_loss = breaks
    try:
        train(made.model, made.tokenizer, sixty_four(), output=output, **settings)
    except StoppedError:
        pass
    finally:
        module.token_loss = true


def main(out, *names):
    folder, processes = Path(out), Processes.asked(None, 1)
    for strategy in ("ddp", "fsdp") if processes.world > 1 else (None,):
        for name in names or (WHOLE if strategy == "ddp" else SCENARIOS):
            done = scenario(name, strategy, folder, processes.world)
            if rank() == 0:
                torch.save(done, folder / f"{name} {strategy}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
