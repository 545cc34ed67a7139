"""How the summarizer that comes with the package was made: `python -m examples.docstrings.embedded STEP`.

Steps, in their order: `pairs` (packages are downloaded as data and read, never installed or imported), `compose`,
`train` (an hour), `evaluate`, `install` (weights in half precision, and the card, into the package's data). Each prints
the commands that it runs; all else is kept under `--folder`.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from examples.docstrings import code, embedded_card, models
from seqgraft import AutoTokenizer, EncoderDecoderModel, folders
from seqgraft.evaluation.bootstrap import compare, interval
from seqgraft.evaluation.measures import Measure, measure
from seqgraft.pipelines.default import FOLDER
from seqgraft.torch.initial import start_from_self_attention
from seqgraft.training.metrics import lead_sentence

PACKAGES = shlex.split("""
astropy==8.0.2 bokeh==3.9.2 celery==5.7.0 dask==2026.8.0 diffusers==0.42.1 django==5.2.19 fastapi==0.165.0
flask==3.1.3 geopandas==1.2.0 gymnasium==1.4.0 ipython==9.18.1 jax==0.10.2 keras==3.15.1 librosa==0.11.0 mne==1.13.2
nilearn==0.14.1 numba==0.68.1 optuna==5.0.0 pymc==5.28.5 scikit-image==0.26.0 scikit-learn==1.9.1 scipy==1.17.1
seaborn==0.13.2 sphinx==9.0.4 sqlalchemy==2.1.9 statsmodels==0.15.0 tornado==6.6.1 trio==0.35.0 twisted==26.10.0
xarray==2026.9.0
""")
"""Read beside the standard library and what is installed."""

COMPOSE = (
    "--encoder-num-hidden-layers 3 --decoder-num-hidden-layers 2 --vocabulary-from train.jsonl --vocabulary-least 60"
)
TRAIN = (
    "seqgraft train pair --data train.jsonl --validation validation.jsonl --output trained "
    "--max-minutes 53 --epochs 10 --tokens-per-batch 2048 --max-source-length 64 --max-target-length 32 "
    "--learning-rate 3e-4 --new-learning-rate 1e-3 --warmup 0.05 --decay linear --no-dropout --output-prior "
    "--metrics rouge --eval-steps 800 --eval-pairs 100 --best loss --checkpoint-every 200 "
    "--precision bfloat16 --save-dtype float16"
)
LONGEST = 64
"""Tokens that are read of a source; longer ones were cut in training."""
_POSITIONS = "encoder.embeddings.position_embeddings.weight"
GENERATION = {"max_new_tokens": 32, "no_repeat_ngram_size": 3}
"""Greedy: on the validation pairs 4 beams were no better."""
FURTHER = (
    "seqgraft train trained --data train_second.jsonl --validation validation.jsonl --output trained_on "
    "--max-minutes 11.5 --epochs 10 --tokens-per-batch 2048 --max-source-length 64 --max-target-length 32 "
    "--learning-rate 2e-4 --new-learning-rate 2e-4 --warmup 0.03 --decay linear --no-dropout --metrics rouge "
    "--eval-steps 8000 --eval-pairs 100 --best loss --checkpoint-every 200 --precision bfloat16 --save-dtype float16"
)
SECOND = 60_000
"""Pairs of `train_second.jsonl`, the last ones of `train.jsonl`: the first training saw less than half of all."""
EVALUATE = (
    "seqgraft evaluate ready --data held_out_{kind}.jsonl --metrics rouge "
    f"--max-source-length {LONGEST} --batch-size 32 --worst 1000000 --json"
)
KINDS = ("code", "text")
LEADS: dict[str, dict[str, Callable[[str], str]]] = {
    "code": {"its first line": lambda source: source.partition("\n")[0], "words of its name": code.name_of},
    "text": {"its first sentence": lead_sentence},
}
"""What costs nothing, by kind; the first of each is the lead that the model is held against."""


def pairs(folder: Path) -> None:
    """`train.jsonl`, `validation.jsonl`, `held_out.jsonl` (and its two kinds apart), and `sources.json`."""
    wheels, unpacked = folder / "wheels", folder / "packages"
    show([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", "wheels", *PACKAGES], folder)
    for path in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(path) as wheel:
            wheel.extractall(unpacked, [n for n in wheel.namelist() if n.endswith((".py", "/METADATA", "/RECORD"))])
    paths = sysconfig.get_paths()
    places = [Path(paths["purelib"]), unpacked]
    known = code.licences(places)
    sides = code.collected([Path(paths["stdlib"]), *places], known)
    for side, found in sides.items():
        rows = "".join(json.dumps(asdict(pair)) + "\n" for pair in found)
        (folder / f"{side}.jsonl").write_text(rows, encoding="utf-8")
    apart(folder, known)


def apart(folder: Path, known: dict[str, tuple[str, str]]) -> None:
    """The held-out pairs by kind, and what every side is from: `sources.json`."""
    sides = {side: read(folder / f"{side}.jsonl") for side in ("train", "validation", "held_out")}
    for kind in KINDS:
        rows = [json.dumps(pair) + "\n" for pair in sides["held_out"] if pair["kind"] == kind]
        (folder / f"held_out_{kind}.jsonl").write_text("".join(rows), encoding="utf-8")
    sources: dict[str, Any] = {}
    for side, found in sides.items():
        modules = Counter(pair["module"] for pair in found)
        named = sorted({known[module] for module in modules})
        sources[side] = {
            "pairs": dict(Counter(pair["kind"] for pair in found)),
            "distributions": named,
            "modules": dict(modules.most_common()),
        }
        print(f"{side}: {len(found):,} pairs, {sources[side]['pairs']}, of {len(named)} distributions")
    folders.write_json(folder / "sources.json", sources)


def compose(folder: Path) -> None:
    """MiniLM's first layers twice, and the rows of its vocabulary that the pairs use: `pair`.

    Cross-attention starts as its layer's self-attention (Zhang et al. 2025, T5Gemma).
    """
    minilm = str(models.checkpoint())
    show(["seqgraft", "compose", minilm, minilm, "--output", "pair", *shlex.split(COMPOSE)], folder)
    model, tokenizer = opened(folder / "pair")
    names = [name for name, _ in model.decoder.named_parameters() if ".cross_attention." in name]
    start_from_self_attention(model.decoder, names)
    save(model, tokenizer, folder / "pair")


def train(folder: Path) -> None:
    """An hour on one thread: `trained`, and from there `trained_on`."""
    rows = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "train_second.jsonl").write_text("".join(rows[-SECOND:]), encoding="utf-8")
    show([*shlex.split(TRAIN), "--resume"], folder)
    show([*shlex.split(FURTHER), "--resume"], folder)


def ready(folder: Path) -> None:
    """`trained_on` as it is installed: with its settings of generation, and the positions that it learned.

    Beyond LONGEST its positions are MiniLM's own; sources that are read so far come out worse.
    """
    made = folder / "ready"
    shutil.copytree(folder / "trained_on", made, dirs_exist_ok=True)
    config = folders.read_json(made / "config.json")
    config["encoder"]["max_position_embeddings"] = LONGEST
    folders.write_json(made / "config.json", config)
    weights = load_file(made / "model.safetensors")
    weights[_POSITIONS] = weights[_POSITIONS][:LONGEST].clone()
    save_file(weights, made / "model.safetensors", {"format": "pt"})
    model, tokenizer = opened(made)
    for name, value in GENERATION.items():
        setattr(model.generation_config, name, value)
    tokenizer.model_max_length = LONGEST
    save(model, tokenizer, made)


def opened(folder: Path) -> tuple[EncoderDecoderModel, Any]:
    """(model, tokenizer) of a folder."""
    return EncoderDecoderModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def save(model: EncoderDecoderModel, tokenizer: Any, folder: Path) -> None:
    """Both into one folder."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def evaluate(folder: Path) -> None:
    """ROUGE on every held-out pair by kind, against the leads, with intervals: `figures.json`."""
    ready(folder)
    figures: dict[str, Any] = {}
    rows: dict[str, list[tuple[str, str, str]]] = {}
    for kind in KINDS:
        made = json.loads(show(shlex.split(EVALUATE.format(kind=kind)), folder, read_output=True))
        rows[kind] = [(one["prediction"], one["source"], one["target"]) for one in made["worst"]]
        figures[kind] = against(rows[kind], LEADS[kind])
    leads = [next(iter(LEADS[kind].values()))(source) for kind in KINDS for _, source, _ in rows[kind]]
    both = [row for kind in KINDS for row in rows[kind]]
    figures["all"] = figures_of([one[0] for one in both], [one[2] for one in both], {"the lead": leads})
    folders.write_json(folder / "figures.json", figures)
    print(json.dumps(figures, indent=1))


def against(rows: list[tuple[str, str, str]], leads: dict[str, Callable[[str], str]]) -> dict[str, Any]:
    """(prediction, source, target) -> figures of the predictions and of what each lead makes of the sources."""
    others = {name: [lead(source) for _, source, _ in rows] for name, lead in leads.items()}
    return figures_of([row[0] for row in rows], [row[2] for row in rows], others)


def figures_of(made: list[str], targets: list[str], others: dict[str, list[str]]) -> dict[str, Any]:
    """ROUGE-1, 2 and L with 95 % intervals, and how far ROUGE-L is above each lead's, with the paired interval."""
    own = measure(["rouge"], made, targets)
    found: dict[str, Any] = {"pairs": len(made), "model": {one.name: spread(one) for one in own}, "leads": {}}
    for name, texts in others.items():
        theirs = measure(["rouge"], texts, targets)
        apart = compare(own[-1], theirs[-1])
        found["leads"][name] = {one.name: spread(one) for one in theirs}
        found["leads"][name]["above"] = [round(x, 2) for x in (apart.difference, apart.low, apart.high)]
    return found


def spread(one: Measure) -> list[float]:
    """[value, low, high]."""
    return [round(x, 2) for x in (one.value(), *interval(one))]


def install(folder: Path) -> None:
    """The folder and its card into the package's data."""
    model, tokenizer = opened(folder / "ready")
    said = {name: folders.read_json(folder / f"{name}.json") for name in ("sources", "figures")}
    results = [folders.read_json(folder / name / "training.json")["result"] for name in ("trained", "trained_on")]
    commands = [f"seqgraft compose MINILM MINILM --output pair {COMPOSE}", TRAIN, FURTHER]
    with folders.saving(FOLDER) as staged:
        save(model, tokenizer, staged)
        card = embedded_card.text(model, results, said["sources"], said["figures"], commands)
        (staged / "README.md").write_text(card, encoding="utf-8")


def read(path: Path) -> list[dict[str, str]]:
    """The objects of a file's lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def show(command: list[str], folder: Path, *, read_output: bool = False) -> str:
    """Run a command in the folder, shown first; `seqgraft` is this Python's. Returns its output where asked."""
    print("$", shlex.join(command), flush=True)
    start = [sys.executable, "-m"] if command[0] == "seqgraft" else []
    done = subprocess.run(
        [*start, *command], cwd=folder, check=True, text=True, stdout=subprocess.PIPE if read_output else None
    )
    return done.stdout or ""


STEPS = {one.__name__: one for one in (pairs, compose, train, evaluate, install)}


def main(given: list[str] | None = None) -> int:
    """Run one step."""
    parser = argparse.ArgumentParser("python -m examples.docstrings.embedded", description=__doc__)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--folder", type=Path, default=Path("runs/embedded"), help="where everything is kept")
    options = parser.parse_args(given)
    options.folder.mkdir(parents=True, exist_ok=True)
    STEPS[options.step](options.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
