"""What the example measures and shows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from examples.docstrings.code import Pair
from examples.docstrings.collect import Docstring
from seqgraft import EncoderDecoderModel
from seqgraft.training.data import TokenizedPairs
from seqgraft.training.metrics import generate_texts, lead_sentence, mean_loss, rouge


@dataclass(frozen=True)
class Scores:
    """Loss per token in nats, and ROUGE F-measures from 0 to 100."""

    loss: float | None
    rouge1: float
    rouge2: float
    rouge_l: float

    def to_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return asdict(self)


def measure(
    model: EncoderDecoderModel, tokenizer: Any, pairs: Sequence[Docstring], lengths: dict[str, int]
) -> tuple[Scores, list[str]]:
    """(scores on the pairs, the model's summaries)"""
    texts = [(pair.source, pair.target) for pair in pairs]
    loss = mean_loss(model, TokenizedPairs.make(texts, model, tokenizer, **lengths))
    sources = [pair.source for pair in pairs]
    made = generate_texts(model, tokenizer, sources, max_source_length=lengths["max_source_length"])
    return _scores(loss, made, pairs), made


def lead(pairs: Sequence[Docstring]) -> Scores:
    """The scores of the first sentence."""
    return _scores(None, [lead_sentence(pair.source) for pair in pairs], pairs)


def _scores(loss: float | None, made: Sequence[str], pairs: Sequence[Docstring]) -> Scores:
    found = rouge(made, [pair.target for pair in pairs])
    return Scores(loss, found["rouge1"], found["rouge2"], found["rougeL"])


def table(rows: dict[str, Scores], count: int) -> Table:
    """The scores as a table."""
    shown = Table(title=f"On {count} pairs of modules that the training has not seen")
    shown.add_column("")
    for name in ("loss", "ROUGE-1", "ROUGE-2", "ROUGE-L"):
        shown.add_column(name, justify="right")
    for name, scores in rows.items():
        values = (scores.rouge1, scores.rouge2, scores.rouge_l)
        shown.add_row(name, "" if scores.loss is None else f"{scores.loss:.2f}", *(f"{value:.1f}" for value in values))
    return shown


def examples(console: Console, pairs: Sequence[Docstring | Pair], made: Sequence[str]) -> None:
    """Source (shortened), reference and the model's text."""
    for pair, text in zip(pairs, made, strict=True):
        console.print(f"\nsource     {shorten(pair.source)}", style="dim", highlight=False, markup=False)
        console.print(f"reference  {pair.target}", highlight=False, markup=False)
        console.print(f"model      {text}", style="bold", highlight=False, markup=False)


def shorten(text: str, length: int = 160) -> str:
    """The beginning of a text on one line, cut between words."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[:length].rpartition(" ")[0] + " ..."
