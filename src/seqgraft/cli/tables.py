"""Reports as tables that fit 80 columns."""

from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from seqgraft.cli.parts import Half, Pair

PARTS = ("embeddings", "self-attention", "cross-attention", "feed-forward", "final norm", "head")


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(columns[0])
    for column in columns[1:]:
        table.add_column(column, justify="right")
    return table


def halves(pair: Pair, titles: tuple[str, str] = ("encoder", "decoder")) -> Table:
    """What each half is."""
    table = _table("", *titles)
    both = (pair.encoder, pair.decoder)
    table.add_row("family", *(half.family for half in both))
    for title, name in (("layers", "layers"), ("width", "width")):
        table.add_row(title, *(f"{getattr(half, name):,}" for half in both))
    table.add_row("heads", *(_heads(half) for half in both))
    for title, name in (("feed-forward", "feed_forward"), ("vocabulary", "vocabulary")):
        table.add_row(title, *(f"{getattr(half, name):,}" for half in both))
    table.add_row("longest text", *(f"{half.positions:,}" if half.positions else "no limit" for half in both))
    table.add_row("head", "-", "tied to the embeddings" if pair.decoder.tied_head else "a table of its own")
    return table


def _heads(half: Half) -> str:
    fewer = half.key_value_heads != half.heads
    return f"{half.heads} ({half.key_value_heads} for keys)" if fewer else str(half.heads)


def numbers(pair: Pair, titles: tuple[str, str] = ("encoder", "decoder"), *, new: bool, totals: bool = True) -> Table:
    """Parameters by part; with `new`, those that composing makes and training must fill."""
    table = _table("parameters", *titles, *(("of these new",) if new else ()))
    made = pair.new
    for part in PARTS:
        counts = [half.parameters.get(part, 0) for half in (pair.encoder, pair.decoder)]
        if any(counts):
            table.add_row(part, *map(_number, counts), *((_number(made.get(part, 0)),) if new else ()))
    if pair.bridge:
        bridge = _number(pair.bridge_parameters)
        table.add_row(f"bridge {pair.bridge[1]} to {pair.bridge[0]}", "", bridge, *((bridge,) if new else ()))
    table.add_section()
    sums = [pair.encoder.total, pair.decoder.total + pair.bridge_parameters]
    table.add_row("sum", *map(_number, sums), *((_number(sum(made.values())),) if new else ()))
    if totals:
        if pair.shared:
            table.add_row("shared by both", "", _number(-pair.shared))
        table.add_row("whole model", "", _number(pair.total), style="bold")
    return table


def facts(pairs: list[tuple[str, str]]) -> Table:
    """Names and what is said of them."""
    table = Table(box=None, show_header=False, pad_edge=False, show_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, Text(value, overflow="fold"))
    return table


def title(name: str, rest: str) -> Text:
    """The first line of a report."""
    return Text.assemble((name, "bold"), rest)


def ids(values: dict[str, Any]) -> str:
    """`pad 0, eos 102`: what is set, and what is not."""
    short = {name.removesuffix("_token_id").removeprefix("decoder_"): value for name, value in values.items()}
    held = ", ".join(f"{name} {value}" for name, value in short.items() if value is not None)
    unset = ", ".join(name for name, value in short.items() if value is None)
    return "; ".join(part for part in (held, f"not set: {unset}" if unset else "") if part)


def size(count: int) -> str:
    """Bytes in units of 1000."""
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count} B"


def _number(count: int) -> str:
    return f"{count:,}" if count else "-"


def composition(pair: Pair) -> list[RenderableType]:
    """What a pair that is composed has, and what of it is new."""
    said = [("new tensors", modules(pair.decoder.new_tensors))] if pair.decoder.new_tensors else []
    if pair.graft:
        said.append(("graft", ", ".join(f"{name} {value}" for name, value in pair.graft.items())))
    return [halves(pair), numbers(pair, new=True), facts([*said, memory(pair)])]


def memory(pair: Pair) -> tuple[str, str]:
    """What the weights take, and each token of a text."""
    return "memory", f"{size(pair.cost.weights)} of weights; of the cache, {cache(pair)}"


def cache(pair: Pair) -> str:
    """What the decoder keeps of each token, in the dtype of its checkpoint."""
    cost = pair.cost
    return (
        f"{size(cost.cache_per_source_token)} a source token and {size(cost.cache_per_target_token)} a target token "
        f"of each beam ({cost.bytes_per_number} bytes a number)"
    )


def modules(tensors: list[str]) -> str:
    """Tensor names without their leaves, so that they fit."""
    return ", ".join(dict.fromkeys(name.rpartition(".")[0] for name in tensors))
