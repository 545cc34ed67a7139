"""The model card of a trained folder: what it is, what it was trained on and how, and how good it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.training.curves import PICTURE
from seqgraft.training.groups import Line
from seqgraft.training.recipes import RECIPES

CARD = "README.md"

_PLAIN = ("learning_rate", "new_learning_rate", "warmup", "decay", "label_smoothing", "weight_decay", "adam_beta2")
_MORE = ("epochs", "max_steps", "max_minutes", "tokens_per_batch", "rows_per_batch", "accumulate", "gradient_clip")
_MEAN = ("average_checkpoints", "average_every")
_LAST = ("max_source_length", "max_target_length", "freeze", "rates", "lora", "dropout", "precision", "seed")


def text(
    model: EncoderDecoderModel,
    settings: Mapping[str, Any],
    result: Mapping[str, Any],
    lines: Sequence[Line],
    about: Mapping[str, Any],
    *,
    name: str,
    picture: bool,
) -> str:
    """The card in Markdown, with the header that the hub reads.

    `about` may hold `recipe` (a name), `data` and `validation` (names of files), `command`, `base_model`.
    """
    parts = [
        _header(about),
        f"# {name}",
        f"An encoder-decoder: {_half(model, 'encoder')} reads, {_half(model, 'decoder')} writes; "
        f"{model.num_parameters():,} parameters. Trained with [Seqgraft](https://pypi.org/project/seqgraft/).",
        _use(name),
        _data(result, about),
        _recipe(settings, lines, about),
        _figures(result, picture),
    ]
    if settings.get("lora") and settings["lora"]["save"] == "separate":
        parts.insert(4, _ADAPTER)
    if about.get("command"):
        parts.append(f"## Command\n\n```bash\n{about['command']}\n```")
    return "\n\n".join(part for part in parts if part) + "\n"


_ADAPTER = (
    "The adapters are in `adapter/` and not in the weights. `pipeline` and `seqgraft` add them (with peft); in Python "
    '`peft.PeftModel.from_pretrained(model, "adapter")` does.'
)


def _header(about: Mapping[str, Any]) -> str:
    """Only what is known: names that are none of the hub's would make the hub refuse the card."""
    lines = ["---", "library_name: transformers", "tags:", "- encoder-decoder", "- seqgraft"]
    if about.get("base_model"):
        lines += ["base_model:", *(f"- {name}" for name in about["base_model"])]
    return "\n".join([*lines, "---"])


def _half(model: EncoderDecoderModel, side: str) -> str:
    half = getattr(model, side)
    size = f"{len(half.spec.layers)} layers, width {half.spec.width}" if hasattr(half, "spec") else "of another library"
    return f"{half.config.model_type} ({size})"


def _use(name: str) -> str:
    return (
        "## Use\n\n```python\nfrom seqgraft import pipeline\n\n"
        f'pipe = pipeline("text2text-generation", model="{name}")\nprint(pipe("...")[0]["generated_text"])\n```'
    )


def _data(result: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    said = [f"{result['training_pairs']:,} pairs to train on" + _of(about.get("data"))]
    if result.get("validation_pairs"):
        said.append(f"{result['validation_pairs']:,} to validate on" + _of(about.get("validation")))
    said.append(f"{result['pairs']:,} seen in {result['steps']:,} steps, {result['target_tokens']:,} target tokens")
    for count, what in ((result["skipped"], "bad pairs left out"), (result["cut_sources"], "sources cut")):
        if count:
            said.append(f"{count:,} {what}")
    return "## Data\n\n" + "\n".join(f"- {line}" for line in said)


def _of(names: Sequence[str] | None) -> str:
    return f" ({', '.join(f'`{name}`' for name in names)})" if names else ""


def _recipe(settings: Mapping[str, Any], lines: Sequence[Line], about: Mapping[str, Any]) -> str:
    recipe = RECIPES.get(about.get("recipe", ""))
    out = ["## Recipe\n"]
    if recipe is not None:
        out.append(f"`{recipe.name}`: {recipe.says} ({recipe.source}).\n")
    out += ["| parameters | how many | learning rate |", "| --- | ---: | ---: |"]
    out += [f"| {one.pattern} | {one.parameters:,} | {rate_of(one)} |" for one in lines]
    names = (*_PLAIN, *_MORE, *_MEAN, *_LAST)
    held = [(name, settings[name]) for name in names if settings.get(name) not in (None, (), [])]
    out.append("\n" + ", ".join(f"{name} {json.dumps(value)}" for name, value in held))
    return "\n".join(out)


def rate_of(line: Line) -> str:
    """`5e-05`, `5e-05 from 50 %`, `frozen`."""
    if line.rate is None:
        return "frozen"
    warmup = "" if line.warmup is None else f", warm-up {line.warmup:.0%}"
    return f"{line.rate:.4g}{warmup}{f', from {line.start:.0%}' if line.start else ''}"


def _figures(result: Mapping[str, Any], picture: bool) -> str:
    out = ["## Figures\n", f"Training loss {result['train_loss']:.4f}, label smoothing included"]
    entry = result.get("best") or (result["validation"][-1] if result.get("validation") else None)
    if entry is not None:
        figures = {name: value for name, value in entry.items() if name not in ("step", "seconds")}
        out[-1] += f"; on the validation pairs, at step {entry['step']:.0f}:\n"
        out += ["| " + " | ".join(figures) + " |", "|" + " ---: |" * len(figures)]
        out.append("| " + " | ".join(f"{value:.4g}" for value in figures.values()) + " |")
    elif result.get("valid_loss") is not None:
        out[-1] += f", validation loss {result['valid_loss']:.4f}."
    else:
        out[-1] += "; nothing was held out."
    speed = f"{result['target_tokens_per_second']:,.0f} target tokens per second"
    out.append(
        f"\n{result['seconds']:,.0f} seconds of training, {speed}, {result['waste']:.1%} of the batches padding."
    )
    if picture:
        out.append(f"\n![Losses and figures over the steps]({PICTURE})")
    return "\n".join(out)
