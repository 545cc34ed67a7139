"""`seqgraft evaluate`: a model and pairs -> how good it is, and how sure that is."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from seqgraft.cli import flags
from seqgraft.cli.console import fail, note, stderr

EPILOG = """[bold]Examples[/bold]

seqgraft evaluate my-summarizer --data held_out.jsonl --metrics rouge,exact

seqgraft evaluate en-de -d test.tsv --metrics bleu,chrf --compare en-de-large --num-beams 4 --json

[bold]How it is computed[/bold]

Intervals are of bootstrap resampling of the pairs; --compare draws the same pairs for both models (Koehn 2004), and p
is the share of draws in which the model that is ahead is not."""

_MEASURED, _DATA = "What is measured", "Data"


def _option(*names: str, panel: str, metavar: str | None = "N", **how: Any) -> Any:
    return typer.Option(*names, metavar=metavar, rich_help_panel=panel, **how)


def running(
    device: Annotated[
        str, _option(panel=flags.MODEL, metavar="D", help="cpu, cuda, a GPU's number, or auto.")
    ] = "auto",
    dtype: Annotated[
        str | None,
        _option(panel=flags.MODEL, metavar="T", help="float32, bfloat16 or float16; by default the checkpoint's."),
    ] = None,
    tokenizer: Annotated[
        str | None, _option(panel=flags.MODEL, metavar="DIR", help="Folder or hub name; by default the model's.")
    ] = None,
    batch_size: Annotated[int, _option(panel=flags.MODEL, min=1, help="Texts that run together.")] = 16,
) -> None:
    """How the model is loaded and fed."""


def evaluate(
    model: Annotated[str, typer.Argument(help="A pair's folder or hub name.", metavar="MODEL")],
    data: Annotated[
        list[str],
        typer.Option("--data", "-d", metavar="FILE", help="Pairs, as `seqgraft train` reads them. Repeatable."),
    ],
    running: dict[str, Any],
    settings: dict[str, Any],
    metrics: Annotated[
        str, _option(panel=_MEASURED, metavar="NAMES", help="Of rouge, bleu, chrf, exact, perplexity.")
    ] = "rouge,bleu,chrf,exact,perplexity",
    tokenize: Annotated[
        str | None,
        _option("--bleu-tokenize", panel=_MEASURED, metavar="NAME", help="sacrebleu's: 13a; none for tokenised texts."),
    ] = None,
    lowercase: Annotated[
        bool, _option("--lowercase", panel=_MEASURED, metavar=None, help="Of BLEU and chrF: case does not count.")
    ] = False,
    compare: Annotated[
        str | None, _option(panel=_MEASURED, metavar="OTHER", help="A second model, for a paired test.")
    ] = None,
    worst: Annotated[int, _option(panel=_MEASURED, min=0, help="Worst examples to show.")] = 5,
    samples: Annotated[int, _option(panel=_MEASURED, min=2, help="Resampled sets of pairs.")] = 1000,
    level: Annotated[float, _option(panel=_MEASURED, metavar="X", help="Of the intervals.")] = 0.95,
    source_field: Annotated[
        str | None, _option(panel=_DATA, metavar="NAME", help="By default source, document or text.")
    ] = None,
    target_field: Annotated[
        str | None, _option(panel=_DATA, metavar="NAME", help="By default target or summary.")
    ] = None,
    limit: Annotated[int | None, _option(panel=_DATA, min=1, help="The first N pairs alone.")] = None,
    max_source_length: Annotated[
        int | None, _option(panel=_DATA, help="In tokens; longer sources are cut. By default too long is an error.")
    ] = None,
    skip_bad: Annotated[
        bool, _option("--skip-bad", panel=_DATA, metavar=None, help="Leave bad lines out, counted.")
    ] = False,
    json_: flags.Json = False,
) -> None:
    """Generate from every source of a file and measure the texts: figures, their intervals, the worst examples."""
    from seqgraft.evaluation.measures import check
    from seqgraft.evaluation.report import report
    from seqgraft.training.pairs import Skipped

    names = [name.strip() for name in metrics.split(",") if name.strip()]
    check(names)
    made = flags.settings_of(settings)
    skipped = Skipped() if skip_bad else None
    fields = {"source_field": source_field, "target_field": target_field}
    pairs = _pairs(data, fields, limit, skipped)
    how: dict[str, Any] = {"metrics": names, "max_source_length": max_source_length, "skip_bad": skip_bad}
    how |= {"tokenize": tokenize, "lowercase": lowercase}
    measures, predictions, kept = _examined(model, pairs, running, made, how)
    others: Sequence[Any] = ()
    if compare is not None:
        others, _, also = _examined(compare, pairs, running, made, how)
        if [pair.place for pair in kept] != [pair.place for pair in also]:
            left = f"{len(kept)} and {len(also)} are left of them"
            fail(f"'{model}' and '{compare}' must read the same pairs, but {left}.")
    found = report(
        measures,
        [pair.source for pair in kept],
        [pair.target for pair in kept],
        predictions,
        others=others,
        worst=worst,
        places=[pair.place for pair in kept],
        samples=samples,
        seed=settings["seed"] or 0,
        level=level,
    )
    left_out = len(pairs) - len(kept) + (skipped.count if skipped is not None else 0)
    if json_:
        names_of = {"model": model, "compare": compare, "data": list(data), "left_out": left_out}
        print(json.dumps({**names_of, **found.to_dict()}, indent=2, ensure_ascii=False))
        return
    _show(found, model, compare)
    if skipped is not None and left_out:
        note(str(skipped) if skipped.count == left_out else f"{left_out:,} bad pairs were left out.")


def _pairs(data: list[str], fields: dict[str, Any], limit: int | None, skipped: Any) -> list[Any]:
    from itertools import islice

    from seqgraft.training.pairs import read_pairs

    return list(islice((pair for name in data for pair in read_pairs(name, **fields, skipped=skipped)), limit))


def _examined(
    model: str, pairs: list[Any], running: dict[str, Any], settings: dict[str, Any], how: dict[str, Any]
) -> tuple[list[Any], list[str], list[Any]]:
    """One model's measures, predictions, and the pairs that they are of."""
    from seqgraft.pipelines.device import as_device
    from seqgraft.text import AutoTokenizer
    from seqgraft.torch.model import EncoderDecoderModel
    from seqgraft.training.adapters import take_in_own
    from seqgraft.training.examine import examine

    device = as_device(running["device"])
    made = EncoderDecoderModel.from_pretrained(model, dtype=running["dtype"])
    adapter = take_in_own(made, model)
    if adapter is not None:
        note(f"The adapters of {adapter} are in the weights.")
    tokenizer = AutoTokenizer.from_pretrained(running["tokenizer"] or model)
    with stderr.status(f"{model}: generating from {len(pairs):,} sources"):
        return examine(made.to(device), tokenizer, pairs, rows_per_batch=running["batch_size"], **how, **settings)


def _show(found: Any, model: str, compare: str | None) -> None:
    out = Console(highlight=False)
    out.print(Text.assemble((model, "bold"), f" on {found.examples:,} pairs"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("figure", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column(f"{found.level:.0%} interval", justify="right", no_wrap=True)
    table.add_column("how", style="dim", overflow="fold")
    for one in found.figures:
        table.add_row(one.name, f"{one.value:.2f}", f"{one.low:.2f} to {one.high:.2f}", one.signature)
    out.print(table)
    if found.compared:
        out.print(Text.assemble("\nagainst ", (str(compare), "bold")))
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column("figure")
        for name in ("this", "other", "difference", "interval", "p"):
            table.add_column(name, justify="right", no_wrap=True)
        for one in found.compared:
            between = f"{one.low:+.2f} to {one.high:+.2f}"
            cells = (f"{one.own:.2f}", f"{one.other:.2f}", f"{one.difference:+.2f}", between, f"{one.p:.3f}")
            table.add_row(one.name, *cells)
        out.print(table)
    for example in found.worst:
        place = example.place or f"pair {example.number}"
        out.print(Text(f"\n{place}  {found.ranked_by} {example.score:.2f}", style="bold"))
        for name in ("source", "target", "prediction"):
            shown = " ".join(getattr(example, name).split())
            out.print(Text(f"  {name:<11}{shown[:300]}{' ...' if shown[300:] else ''}"), soft_wrap=True)
