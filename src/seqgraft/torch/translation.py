"""Drafts of an assistant that has other words than the model: both are read as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqgraft.torch.candidates import Assistant, Drafts
from seqgraft.torch.ragged import Texts


@dataclass(frozen=True)
class Translator:
    """From ids of the tokenizer `other` to ids of `own`, by what they spell; special ids spell nothing."""

    other: Any
    own: Any

    def there(self, ids: Sequence[int]) -> list[int]:
        """Ids of `other` -> ids of `own`."""
        return words(self.own, spelled(self.other, ids))

    def grown(self, before: str, ids: Sequence[int]) -> list[int]:
        """The ids of `own` that the text of ids of `other` has behind those of the text `before`."""
        after = spelled(self.other, ids)
        new, old = words(self.own, after), words(self.own, before)
        if new[: len(old)] == old:
            return new[len(old) :]
        return words(self.own, after[len(before) :]) if after.startswith(before) else []


def spelled(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of ids."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=True))


def words(tokenizer: Any, text: str) -> list[int]:
    """The ids of a text, and no others."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    """Rows of ids -> [rows, longest], `fill` behind the shorter ones."""
    longest = max((len(row) for row in rows), default=0)
    full = [[*row, *[fill] * (longest - len(row))] for row in rows]
    return torch.tensor(full, dtype=torch.long).view(len(rows), longest)


class Translated:
    """An assistant with words of its own; texts pass between the two as strings (Timor et al. 2025, arXiv:2502.05202).

    Its drafts are its best tokens, in sampling too: what is drawn from another vocabulary has no probability in this
    one, while a draft that follows from the text alone has.

    Args:
        start, ends: the assistant's first id, and its end ids; `end`: the model's own.
        capacity: how long a text in the assistant's words may be; a longer one gets no drafts.
    """

    def __init__(
        self,
        assistant: Assistant,
        translator: Translator,
        *,
        start: int,
        ends: Sequence[int],
        end: int | None,
        capacity: int,
    ) -> None:
        self.assistant, self.translator = assistant, translator
        self.start, self.ends, self.end, self.capacity = start, frozenset(ends), end, capacity
        self._told: Texts | None = None  # the texts in the assistant's words

    def propose(self, texts: Texts, room: Tensor) -> Drafts:
        own = [ids[:now] for ids, now in zip(texts.ids[texts.live].tolist(), texts.now.tolist(), strict=True)]
        before = [spelled(self.translator.own, ids) for ids in own]
        rows = [[self.start, *words(self.translator.other, text)] for text in before]
        lengths = room.new_tensor([len(row) for row in rows])
        if int(lengths.max()) >= self.capacity:
            return Drafts.none(texts)
        if self._told is None:
            self._told = Texts(texts.ids[:, :0], self.capacity, 0)
        told = self._told
        told.live = texts.live
        told.lengths[told.live] = 0
        told.write(padded(rows, 0).to(room.device), lengths)
        told.lengths[told.live] = lengths
        drafts = self.assistant.propose(told, torch.where(room > 0, self.capacity - int(lengths.max()), 0))
        drafted = [ids[:count] for ids, count in zip(drafts.ids.tolist(), drafts.counts.tolist(), strict=True)]
        made = [self._back(*row) for row in zip(before, rows, drafted, strict=True)]
        counts = torch.minimum(room.new_tensor([len(ids) for ids in made]), room)
        return Drafts(padded(made, 0).to(room.device)[:, : int(counts.max())], counts)

    def _back(self, before: str, row: list[int], drafted: list[int]) -> list[int]:
        """The drafts behind a row in the model's words."""
        new = self.translator.grown(before, row + drafted) if drafted else []
        return [*new, self.end] if self.end is not None and drafted and drafted[-1] in self.ends else new

    def keep(self, rows: Tensor) -> None:
        self.assistant.keep(rows)

    def done(self) -> None:
        self.assistant.done()
