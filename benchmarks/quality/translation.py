"""Transformer-tiny from scratch on Multi30k: `python -m benchmarks.quality.translation DATA_DIR`.

The model and its regularisation are those of Wu et al. 2021, "Good for Misconceived Reasons: An Empirical Revisiting on
the Need for Visual Context in Multimodal Machine Translation": 4 + 4 layers, width 128, 4 heads, feed-forward 256, a
joint vocabulary of 10,000 pieces, one table of embeddings, dropout 0.3, label smoothing 0.1, on lower-cased text.
Everything is done by `seqgraft` commands with one thread. BLEU is of the 1,014 validation pairs: lower-cased and
tokenised by Moses' rules (sacremoses), as in the paper, and sacrebleu's default (13a) on the lower-cased texts.

Ctrl-C ends the training, and what was learned is measured; the same command goes on from there.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.quality import multi30k
from benchmarks.quality.running import Ran, flags, record, seqgraft, thin
from seqgraft import EncoderDecoderConfig, EncoderDecoderModel
from seqgraft.families import family

RESULTS = Path(__file__).parent / "results"
PIECES = 10_000
SPENT = "cpu_minutes.json"
"""In the folder: of the training and of its parts before, where it was interrupted."""
SIZES = {"layers": 4, "attention_heads": 4, "ffn_dim": 256}
TRAINING = {
    "epochs": 40,
    "tokens-per-batch": 4096,
    "learning-rate": 4e-3,
    "new-learning-rate": 4e-3,
    "warmup": 0.08,
    "decay": "linear",
    "label-smoothing": 0.1,
    "adam-beta2": 0.98,
    "max-target-length": 128,
}
"""Flags of `seqgraft train`."""
SEARCH = {"num-beams": 5, "length-penalty": 1.0, "max-new-tokens": 100}
"""Flags of `seqgraft evaluate`."""


def fresh(folder: Path, tokenizer: Any, model_type: str, seed: int) -> EncoderDecoderModel:
    """Write the untrained model; weights are normal with 1 / sqrt(width), so that embeddings, scaled, have size 1."""
    config = family(model_type).config(
        **{f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in SIZES.items()},
        d_model=128,
        vocab_size=len(tokenizer),
        max_position_embeddings=256,
        activation_function="relu",
        dropout=0.3,
        attention_dropout=0.0,
        activation_dropout=0.0,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        scale_embedding=True,
        init_std=128**-0.5,
        pad_token_id=multi30k.PAD,
        bos_token_id=multi30k.START,
        eos_token_id=multi30k.END,
        decoder_start_token_id=multi30k.END,
        forced_eos_token_id=None,
    )
    torch.manual_seed(seed)
    model = EncoderDecoderModel.from_config(EncoderDecoderConfig.from_whole(config))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def moses(texts: list[str]) -> list[str]:
    """German as Moses' `tokenizer.perl` splits it (`-l de`), without escapes."""
    from sacremoses import MosesTokenizer

    split = MosesTokenizer(lang="de")
    return [split.tokenize(text, return_str=True, escape=False) for text in texts]


def bleu(made: list[str], references: list[str]) -> dict[str, float]:
    """Name of the setting -> sacrebleu's corpus figure."""
    import sacrebleu

    both = [text.lower() for text in made], [text.lower() for text in references]
    tokenised = sacrebleu.corpus_bleu(moses(both[0]), [moses(both[1])], tokenize="none", force=True)
    plain = sacrebleu.corpus_bleu(both[0], [both[1]])
    return {"lower-cased, Moses, tokenize none": tokenised.score, "lower-cased, tokenize 13a": plain.score}


def main() -> None:
    """Prepare, train, evaluate, record."""
    parser = argparse.ArgumentParser("python -m benchmarks.quality.translation", description=__doc__)
    parser.add_argument("data", type=Path, help="the folder of Multi30k")
    parser.add_argument("--folder", type=Path, default=Path("runs/translation"), help="where everything is kept")
    parser.add_argument("--results", type=Path, default=RESULTS / "translation.json", help="the figures, JSON")
    parser.add_argument("--model-type", default="m2m_100", help="m2m_100 (norms first) or marian (norms last)")
    parser.add_argument("--seed", type=int, default=0)
    for name in ("epochs", "learning-rate", "tokens-per-batch", "warmup"):
        parser.add_argument(f"--{name}", type=type(TRAINING[name]), default=TRAINING[name])
    asked = parser.parse_args()
    training = {name: getattr(asked, name.replace("-", "_"), value) for name, value in TRAINING.items()}
    training["new-learning-rate"] = training["learning-rate"]
    here = asked.folder
    here.mkdir(parents=True, exist_ok=True)
    found = {part: multi30k.pairs(asked.data, part, lowercase=True) for part in ("train", "val")}
    if not (here / "fresh").is_dir():
        for part, pairs in found.items():
            multi30k.write(here / f"{part}.jsonl", pairs)
        texts = (text for pair in found["train"] for text in pair)
        tokenizer = multi30k.save(multi30k.vocabulary(texts, PIECES, lowercase=True), here / "tokenizer")
        fresh(here / "fresh", tokenizer, asked.model_type, asked.seed)
    trained = train(here, training, asked.seed)
    spent = [*(json.loads((here / SPENT).read_text()) if (here / SPENT).is_file() else []), trained.cpu_minutes]
    record(here / SPENT, spent)
    evaluated = evaluate(here, found["val"])
    figures = {
        "data": {part: len(pairs) for part, pairs in found.items()},
        "parameters": EncoderDecoderModel.from_pretrained(here / "fresh").num_parameters(),
        "commands": [trained.command, evaluated["command"]],
        "cpu_minutes": {"train": round(sum(spent), 2), "evaluate": evaluated["cpu_minutes"]},
        "interrupted": trained.interrupted,
        "bleu": evaluated["bleu"],
        **{name: trained.found[name] for name in ("steps", "target_tokens", "waste", "validation")},
        "curve": thin(trained.found["curve"]),
    }
    record(asked.results, figures)
    Console().print({name: figures[name] for name in ("cpu_minutes", "bleu", "steps", "interrupted")})


def train(folder: Path, training: dict[str, Any], seed: int) -> Ran:
    """`seqgraft train`, from `fresh` to `trained`; from its checkpoint where there is one."""
    words = ["train", folder / "fresh", "-d", folder / "train.jsonl", "--validation", folder / "val.jsonl"]
    words += ["-o", folder / "trained", "--force", "--resume"]
    words += ["--best", "last", "--eval-steps", "500", "--checkpoint-every", "250"]
    return seqgraft(*words, *flags(training), "--seed", str(seed))


def evaluate(folder: Path, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """`seqgraft generate`, from every source of the validation set, and BLEU of what it wrote."""
    sources, made = folder / "val.en.txt", folder / "made.txt"
    sources.write_text("".join(source + "\n" for source, _ in pairs), encoding="utf-8")
    ran = seqgraft("generate", folder / "trained", "--input", sources, "--output", made, "--force", *flags(SEARCH))
    texts = made.read_text(encoding="utf-8").splitlines()
    return {"command": ran.command, "cpu_minutes": ran.cpu_minutes, "bleu": bleu(texts, [one for _, one in pairs])}


if __name__ == "__main__":
    main()
