"""Flags of `seqgraft train` -> what the library takes."""

import shlex
import sys
from pathlib import Path
from typing import Any

from seqgraft.cli.console import misused


def half_of(text: str) -> tuple[str, ...]:
    """`encoder=scratch` -> the halves to start from scratch."""
    half, _, how = text.rpartition("=")
    if how != "scratch" or half not in ("", "encoder", "decoder"):
        misused(f"--init must be encoder=scratch, decoder=scratch, or scratch for both, but is {text!r}.")
    return (half,) if half else ("encoder", "decoder")


def lora_of(flags: dict[str, Any]) -> dict[str, Any] | None:
    """The fields of `Lora` that were given."""
    names = {"lora_rank": "rank", "lora_alpha": "alpha", "lora_dropout": "dropout", "lora_target": "targets"}
    made = {name: flags[flag] for flag, name in names.items() if flags[flag]}
    if flags["lora_save"] is not None:
        made["save"] = flags["lora_save"].value
    return made or None


def validation_of(flags: dict[str, Any], options: dict[str, Any]) -> Any:
    """What to validate, or None without held-out pairs."""
    if flags["validation"] is not None and flags["validation_fraction"] is not None:
        misused("--validation and --validation-fraction say the same: give one.")
    asked = [name for name in ("metrics", "eval_steps", "eval_pairs", "best", "patience") if flags[name] is not None]
    if flags["validation"] is None and flags["validation_fraction"] is None:
        if asked:
            misused(f"--{asked[0].replace('_', '-')} needs --validation or --validation-fraction.")
        return None
    from seqgraft.training.validation import Validation

    last = ("last", None) if options["average_checkpoints"] is not None else ("last",)
    return Validation(
        metrics=tuple(name.strip() for name in (flags["metrics"] or "").split(",") if name.strip()),
        every=flags["eval_steps"],
        best=None if flags["best"] in last else flags["best"] or "loss",
        patience=flags["patience"],
        pairs=flags["eval_pairs"],
        generation={"num_beams": flags["eval_beams"]},
        max_source_length=options["max_source_length"],
    )


def about_of(model: str, recipe: str, data: list[str], validating: dict[str, Any]) -> dict[str, Any]:
    """For the model card; folders and files by their names alone, since a card is published."""
    name = None if Path(model).expanduser().exists() else [model]
    held = [Path(validating["validation"]).name] if validating["validation"] is not None else None
    command = shlex.join(["seqgraft", *sys.argv[1:]]) if sys.argv[1:2] == ["train"] else None
    named = [Path(one).name if Path(one).exists() else one for one in data]
    return {"recipe": recipe, "data": named, "validation": held, "base_model": name, "command": command}
