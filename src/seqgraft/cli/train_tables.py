"""What `seqgraft train` shows before and after."""

from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table

from seqgraft.cli import tables


def rates_table(lines: list[Any], recipe: str) -> Table:
    """Pattern, parameters, trained or frozen, rate."""
    from seqgraft.training.card import rate_of

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, title=f"Recipe {recipe}", title_justify="left")
    table.add_column("pattern", no_wrap=True)
    table.add_column("parameters", justify="right")
    table.add_column("")
    table.add_column("rate", justify="right")
    for line in lines:
        moves = line.rate is not None
        rate = rate_of(line) if moves else "-"
        cells = (line.pattern, f"{line.parameters:,}", "trained" if moves else "frozen", rate)
        table.add_row(*cells, style="" if moves else "dim")
    moving = sum(line.parameters for line in lines if line.rate is not None)
    table.add_section()
    table.add_row("trained in all", f"{moving:,}", f"of {sum(line.parameters for line in lines):,}", "")
    return table


def result_table(result: Any) -> RenderableType:
    """What a training did."""
    facts = [
        ("steps", f"{result.steps:,} with {result.pairs:,} pairs in {result.seconds:,.1f} seconds"),
        ("speed", f"{result.target_tokens_per_second:,.0f} target tokens per second"),
        ("padding", f"{result.waste:.1%} of the tokens in batches"),
        ("loss", f"{result.train_loss:.3f} in the last steps"),
    ]
    if result.stopped_early:
        facts.append(("stopped", "early: validation got no better"))
    if result.valid_loss is not None:
        facts.append(("held-out loss", f"{result.valid_loss:.3f}"))
    entry = result.best or (result.validation[-1] if result.validation else None)
    if entry is not None:
        figures = [f"{name} {entry[name]:.2f}" for name in entry if name not in ("step", "seconds", "loss")]
        kept = "the best weights" if result.best else "the last weights"
        facts.append(("kept", f"{kept}, of step {entry['step']:.0f}" + "".join(f", {one}" for one in figures)))
    return tables.facts(facts)
