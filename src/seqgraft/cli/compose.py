"""`seqgraft compose`: two checkpoints -> a folder with a pair."""

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from seqgraft.cli import flags
from seqgraft.cli.console import fail, misused, note
from seqgraft.cli.places import check_folder
from seqgraft.cli.train_settings import half_of

EPILOG = """[bold]Examples[/bold]

seqgraft compose bert-base-uncased bert-base-uncased --output my-pair

seqgraft compose roberta-base gpt2 -o my-pair --dtype bfloat16

seqgraft compose bert-base-cased Qwen/Qwen3-0.6B -o my-pair --graft-every 2

seqgraft compose minilm minilm -o small --encoder-num-hidden-layers 3 --decoder-num-hidden-layers 2 \
--vocabulary-from pairs.jsonl"""

_GRAFT, _IDS = "Cross-attention of a decoder that was published without it", "Special ids"
_SMALLER = "A smaller model"


class Gate(str, Enum):
    """Whether new cross-attention starts shut."""

    tanh = "tanh"
    none = "none"


def compose(
    encoder: Annotated[str, typer.Argument(help="A folder or hub name.", metavar="ENCODER")],
    decoder: Annotated[str, typer.Argument(help="A folder or hub name.", metavar="DECODER")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder to write.")],
    dtype: Annotated[
        str | None, typer.Option(metavar="T", help="float32, bfloat16 or float16; by default the checkpoints'.")
    ] = None,
    tie: Annotated[
        bool, typer.Option("--tie", help="One set of weights for both halves, which must be alike.")
    ] = False,
    tokenizers: Annotated[
        bool, typer.Option("--tokenizers/--no-tokenizers", help="Whether the folder gets the models' tokenizers.")
    ] = True,
    seed: Annotated[int, typer.Option(metavar="N", help="Makes the new weights repeatable.")] = 0,
    force: flags.Force = False,
    json_: flags.Json = False,
    graft_gate: Annotated[
        Gate | None,
        typer.Option(help="tanh starts shut, so that the decoder begins as it was.", rich_help_panel=_GRAFT),
    ] = None,
    graft_every: Annotated[
        int | None, typer.Option(metavar="N", help="In every N-th layer only.", rich_help_panel=_GRAFT)
    ] = None,
    start_id: Annotated[
        int | None, typer.Option(metavar="N", help="First token of every output.", rich_help_panel=_IDS)
    ] = None,
    pad_id: Annotated[int | None, typer.Option(metavar="N", help="Padding.", rich_help_panel=_IDS)] = None,
    eos_id: Annotated[
        int | None, typer.Option(metavar="N", help="Last token of every output.", rich_help_panel=_IDS)
    ] = None,
    encoder_num_hidden_layers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The first N layers alone.", rich_help_panel=_SMALLER)
    ] = None,
    decoder_num_hidden_layers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The first N layers alone.", rich_help_panel=_SMALLER)
    ] = None,
    vocabulary_from: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Keep only the tokens that these pairs use (read as `seqgraft train` does). Repeatable.",
            rich_help_panel=_SMALLER,
        ),
    ] = None,
    vocabulary_least: Annotated[
        int, typer.Option(metavar="N", min=1, help="And use N times.", rich_help_panel=_SMALLER)
    ] = 1,
    source_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of those pairs' sources.", rich_help_panel=_SMALLER)
    ] = None,
    target_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of their targets.", rich_help_panel=_SMALLER)
    ] = None,
    init: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HALF=scratch",
            help="Random weights for encoder or decoder, to measure what warm-starting does. Repeatable.",
        ),
    ] = None,
    pad_token: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="The target's padding; a token that is new gets a row in the decoder's tables.",
            rich_help_panel=_IDS,
        ),
    ] = None,
) -> None:
    """Put a pretrained encoder in front of a pretrained decoder, and save the pair with its tokenizers.

    Cross-attention that the decoder lacks is new, and must be trained: `seqgraft train` does. Special ids come from
    the decoder's tokenizer unless they are given. A tokenizer without padding pads with its unknown token or, if it
    has none (GPT-2), with its end, which training does not mask: --pad-token "<pad>" adds one instead.
    """
    from seqgraft.cli import parts, tables

    check_folder(output, force=force)
    graft = _graft(graft_gate, graft_every)
    pair = parts.composed(encoder, decoder, graft=graft, tie=tie)
    if pair.problems:
        fail(f"'{encoder}' and '{decoder}' do not make a pair:\n" + "\n".join(pair.problems))
    if graft and pair.graft is None:
        misused(f"--graft-gate and --graft-every are for a decoder without cross-attention; '{decoder}' has its own.")
    ids = {"decoder_start_token_id": start_id, "pad_token_id": pad_id, "eos_token_id": eos_id}
    given = {name: value for name, value in ids.items() if value is not None}
    for name, value in given.items():
        if not 0 <= value < pair.decoder.vocabulary:
            misused(f"{name} must be an id of the decoder's vocabulary ({pair.decoder.vocabulary}), but is {value}.")
    if pad_token is not None and (pad_id is not None or not tokenizers or encoder == decoder or tie):
        misused("--pad-token is for a decoder with a tokenizer of its own, and without --pad-id.")
    if vocabulary_from and not tokenizers:
        misused("--vocabulary-from needs the tokenizers, so --no-tokenizers must be left out.")
    halves = [half for text in init or () for half in half_of(text)]
    layers = {
        "encoder_num_hidden_layers": encoder_num_hidden_layers,
        "decoder_num_hidden_layers": decoder_num_hidden_layers,
    }
    tokenizer, told = _tokenizer(encoder, decoder, pad_token) if tokenizers else (None, [])
    how = {"dtype": dtype, "tie_encoder_decoder": tie, "decoder_graft": graft}
    model = _model(encoder, decoder, {**how, **layers}, given, seed)
    if halves:
        from seqgraft.training.recipes import start_afresh

        told += [start_afresh(model, half) for half in halves]
    if tokenizer is not None:
        from seqgraft.torch.check_tokens import sides
        from seqgraft.torch.special import settle

        source, target = sides(tokenizer, None)
        if pad_token is not None:
            told += _room(model, target)
        told.append(settle(model, source, target) or "Special ids: all were set.")
    if vocabulary_from:
        tokenizer, lines = _fewer_tokens(
            model, tokenizer, vocabulary_from, vocabulary_least, source_field=source_field, target_field=target_field
        )
        told += lines
    _save(model, tokenizer, output)
    if any(layers.values()) or vocabulary_from:
        pair = parts.with_new(parts.stored_pair(str(output), model.config), _new(model))
    ids = {name: model.config.special(name) for name in ids}
    new = {"new": pair.new, "new_total": sum(pair.new.values())}
    if json_:
        made = {"output": str(output), **pair.to_dict(), "special_ids": ids, **new}
        print(json.dumps(made, indent=2))
        return
    out = Console(highlight=False)
    for table in tables.composition(pair):
        out.print(table)
        out.print()
    for line in told:
        note(line)
    note(f"Saved {output}. Next: seqgraft train {output} --data pairs.jsonl --output {output}-trained")


def _graft(gate: Gate | None, every: int | None) -> dict[str, Any] | None:
    asked: dict[str, Any] = {} if gate is None else {"gate": None if gate is Gate.none else gate.value}
    if every is not None:
        asked["every"] = every
    return asked or None


def _tokenizer(encoder: str, decoder: str, target_pad: str | None = None) -> tuple[Any, list[str]]:
    """The tokenizer of both sides, with padding on each, and what to tell of it."""
    from seqgraft.text import AutoTokenizer, pair
    from seqgraft.torch.special import pad_token

    sides = {}
    told = []
    for side, source in (("source", encoder), ("target", decoder)):
        sides[side] = AutoTokenizer.from_pretrained(source)
        if side == "target" and target_pad is not None:
            sides[side].add_special_tokens({"pad_token": target_pad})
        found = pad_token(sides[side])
        if found is not None:
            sides[side].pad_token = found[0]
            told.append(f"The {side} tokenizer has no padding of its own: {found[0]!r} serves.")
    made = pair(sides["source"], sides["target"])
    if made is not sides["source"]:
        told.append("The vocabularies differ: the folder holds a source and a target tokenizer.")
    return made, told


def _new(model: Any) -> Any:
    """half -> name -> shape of its new tensors."""
    from seqgraft.training.groups import is_new

    shapes = {name: tuple(model.get_parameter(name).shape) for name in is_new(model)}
    return {
        side: {name[len(side) + 1 :]: shape for name, shape in sorted(shapes.items()) if name.startswith(f"{side}.")}
        for side in ("encoder", "decoder")
    }


def _fewer_tokens(
    model: Any, tokenizer: Any, files: list[str], least: int, **fields: str | None
) -> tuple[Any, list[str]]:
    from seqgraft.training.pairs import read_pairs
    from seqgraft.training.vocabulary import keep_used

    pairs = (
        pair
        for file in files
        for pair in read_pairs(file, source_field=fields["source_field"], target_field=fields["target_field"])
    )
    tokenizer, told = keep_used(model, tokenizer, pairs, least=least)
    return tokenizer, [*told, f"{model.num_parameters():,} parameters are left."]


def _room(model: Any, target: Any) -> list[str]:
    """Padding of the target's own: its id is set, and its row made where the tables end before it."""
    rows, needed = model.decoder.get_input_embeddings().num_embeddings, target.pad_token_id + 1
    if needed > rows:
        model.decoder.resize_token_embeddings(needed)
    model.config.pad_token_id = target.pad_token_id
    told = f"Padding of the target is {target.pad_token!r}, id {target.pad_token_id}"
    return [f"{told}, in a new row of the decoder's tables." if needed > rows else f"{told}."]


def _model(encoder: str, decoder: str, how: dict[str, Any], ids: dict[str, int], seed: int) -> Any:
    import torch

    from seqgraft.torch.model import EncoderDecoderModel

    torch.manual_seed(seed)
    how = {name: value for name, value in how.items() if value not in (None, False)}
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(encoder, decoder, **how)
    for name, value in ids.items():
        setattr(model.config, name, value)
    return model


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Model and tokenizers together, or neither."""
    import shutil

    from seqgraft.checkpoints import STALE_WEIGHTS
    from seqgraft.folders import saving
    from seqgraft.text.files import TARGET

    with saving(folder, stale=STALE_WEIGHTS) as staged:
        model.save_pretrained(staged)
        if tokenizer is not None:
            tokenizer.save_pretrained(staged)
            if not (staged / TARGET).exists():
                shutil.rmtree(folder / TARGET, ignore_errors=True)
