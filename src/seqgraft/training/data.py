"""Texts tokenised once, kept as flat arrays of ids, given out as padded batches."""

from __future__ import annotations

import bisect
import hashlib
import itertools
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from seqgraft.config import decoder_spec, longest_source
from seqgraft.errors import ConfigurationError, DataError
from seqgraft.text.pairing import PairTokenizer
from seqgraft.text.tokenizer import Tokenizer
from seqgraft.torch.loss import IGNORED
from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.training import cache
from seqgraft.training.ahead import ahead
from seqgraft.training.pairs import Pair, PairFiles, Skipped
from seqgraft.training.special import end_ids, sides
from seqgraft.training.store import Rows

_CHUNK = 2000


@dataclass(frozen=True)
class _Framed:
    """What becomes of a pair's ids: special ids, the most tokens of a side, and whether longer sources are cut."""

    start: int | None
    ends: list[int]
    pad: int
    most_source: int | None
    most_target: int | None
    cuts: bool


class TokenizedPairs(Dataset[dict[str, Tensor]]):
    """Pairs as ids. `data[indexes]` is the batch of those pairs: `input_ids`, `attention_mask`, `labels`.

    Labels are what `generate` should write after the start id: the target's ids as its tokenizer frames them, without
    a leading id that equals `decoder_start_token_id` (BERT's [CLS], which is given, not written) and with an end id
    that `generate` stops on (GPT-2's tokenizer adds none). A target that is too long is cut and still ends; it is in
    its tokenizer's `tgt_lang`, where that has languages.
    """

    def __init__(self, source_pad: int, folder: Path | None = None) -> None:
        self.sources, self.targets = Rows(folder), Rows(folder)
        self.source_pad = source_pad
        self.cut_sources = self.cut_targets = 0
        """How many were longer than asked for."""
        self.read = 0
        """How many pairs came in."""
        self.kept: Any = array("q")
        """Which of them these are, in order."""
        self.lines: Any = array("q")
        """Where each stands in its file; -1 where that is not known."""
        self.files: list[tuple[int, str]] = []
        """(the first pair of it, a file) of all files."""
        self._digest: str | None = None

    @classmethod
    def make(
        cls,
        pairs: Iterable[Pair | tuple[str, str]],
        model: EncoderDecoderModel,
        tokenizer: Tokenizer | PairTokenizer,
        *,
        max_source_length: int | None = None,
        max_target_length: int | None = None,
        skipped: Skipped | None = None,
        folder: Path | None = None,
        cache_folder: Path | None = None,
    ) -> TokenizedPairs:
        """Tokenise pairs, each side with its own tokenizer; `pairs` is read once and need not fit in memory.

        A thread reads and tokenises, on all cores, while this one frames what it gave; ids beyond 64 MiB a side go to
        a mapped file in `folder` (`store.Rows`). What is made of files (`PairFiles`) is kept in `cache_folder` and
        taken from there the next time, as long as files, tokenizers and settings are the same (`cache`).

        Lengths count tokens, special ones included. What is longer than a maximum is cut, and a maximum is at most
        what the model has positions for; without one a source that is longer than those positions is bad. The special
        ids of `model.config` must be set (`settle_special_ids`).

        Raises DataError for no pairs and, naming the place, for a bad one: without tokens on a side, or too long.
        With `skipped` bad pairs are counted there and left out.
        """
        source, _ = sides(tokenizer)
        positions = decoder_spec(model.config.decoder).positions
        most_source = longest(longest_source(model.config.encoder), max_source_length, "max_source_length")
        most_target = longest(positions.longest if positions else None, max_target_length, "max_target_length")
        framed = _Framed(
            start=model.config.special("decoder_start_token_id"),
            ends=end_ids(model),
            pad=source.pad_token_id if source.pad_token_id is not None else 0,
            most_source=most_source,
            most_target=most_target,
            cuts=max_source_length is not None,
        )
        if not isinstance(pairs, PairFiles) or cache_folder is None:
            return cls._made(pairs, tokenizer, framed, skipped, folder)
        files = pairs
        settings = {**vars(framed), "skips": skipped is not None}
        name = cache.key(files, tokenizer, settings)

        def make(left_out: Skipped | None) -> TokenizedPairs:
            return cls._made(files.read(left_out), tokenizer, framed, left_out, folder)

        if name is None:
            return make(skipped)
        made = cache.kept(cache_folder, name, skipped, make, lambda: cache.key(files, tokenizer, settings) == name)
        files.count = made.read
        return made

    @classmethod
    def _made(
        cls,
        pairs: Iterable[Pair | tuple[str, str]],
        tokenizer: Tokenizer | PairTokenizer,
        framed: _Framed,
        skipped: Skipped | None,
        folder: Path | None,
    ) -> TokenizedPairs:
        source, target = sides(tokenizer)
        start, ends, cuts = framed.start, framed.ends, framed.cuts
        most_source, most_target = framed.most_source, framed.most_target
        made = cls(framed.pad, folder)
        texts: dict[str, Any] = {"padding": False, "return_attention_mask": False, "verbose": False}

        def tokenised() -> Iterator[tuple[list[Pair], list[list[int]], list[list[int]]]]:
            for chunk in _chunks(pairs):
                own = source([pair.source for pair in chunk], truncation=False, **texts)["input_ids"]
                other = target(text_target=[pair.target for pair in chunk], truncation=False, **texts)["input_ids"]
                yield chunk, own, other

        for chunk, own, other in ahead(tokenised(), 2):
            long = [index for index, ids in enumerate(own) if most_source is not None and len(ids) > most_source]
            if long and cuts:  # cut by the tokenizer, which keeps the special tokens at both ends
                again = [chunk[index].source for index in long]
                cut = source(again, truncation=True, max_length=most_source, **texts)["input_ids"]
                for index, ids in zip(long, cut, strict=True):
                    own[index] = ids
                made.cut_sources += len(long)
            for pair, ids, written in zip(chunk, own, other, strict=True):
                made.read += 1
                labels = made._framed(written, start, ends)
                bad = _bad(pair, ids, labels, ends, None if cuts else most_source)
                if bad is not None:
                    if skipped is None:
                        raise bad
                    skipped.add(bad)
                    continue
                if most_target is not None and len(labels) > most_target:
                    made.cut_targets += 1
                    kept = _closing(labels, ends)
                    labels = [*labels[: most_target - kept], *labels[len(labels) - kept :]]
                made.kept.append(made.read - 1)
                made._note_place(pair.place)
                made.sources.append(ids)
                made.targets.append(labels)
        if not len(made):
            raise DataError(f"There must be pairs to read, but there are none. {skipped if skipped else ''}".rstrip())
        return made

    def _framed(self, ids: list[int], start: int | None, ends: list[int]) -> list[int]:
        """A target's ids as `generate` should write them, with one end where there is one."""
        if _closing(ids, ends) > 1:
            return ids
        first = 1 if len(ids) > 1 and ids[0] == start else 0
        labels = ids[first:]
        end = ends[:1]
        if ends and labels and labels[-1] in ends:
            end = [labels.pop()]
        return labels + end

    def digest(self) -> str:
        """A hash of all ids, in their order."""
        if self._digest is None:
            found = hashlib.sha256()
            for rows in (self.sources, self.targets):
                for piece in rows.pieces():
                    found.update(piece)
            self._digest = found.hexdigest()[:16]
        return self._digest

    def _note_place(self, place: str) -> None:
        file, _, line = place.rpartition(":")
        known = bool(file) and line.isdecimal()
        if not self.files or self.files[-1][1] != file:
            self.files.append((len(self.lines), file if known else ""))
        self.lines.append(int(line) if known else -1)

    def place(self, index: int) -> str:
        """Where a pair stands, "file:line"; its number where it came without a place."""
        file = self.files[bisect.bisect_right(self.files, index, key=lambda held: held[0]) - 1][1]
        return f"{file}:{self.lines[index]}" if self.lines[index] >= 0 else f"pair {self.kept[index] + 1}"

    def some(self, indexes: Sequence[int]) -> TokenizedPairs:
        """These pairs alone, in this order."""
        made = TokenizedPairs(self.source_pad)
        for index in indexes:
            made.kept.append(self.kept[index])
            made._note_place(self.place(index))
            made.sources.append(self.sources[index].tolist())
            made.targets.append(self.targets[index].tolist())
        return made

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, indexes: Sequence[int]) -> dict[str, Tensor]:
        ids = self.sources.padded(indexes, self.source_pad)
        lengths = torch.tensor([len(self.sources[index]) for index in indexes])
        mask = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
        return {"input_ids": ids, "attention_mask": mask, "labels": self.targets.padded(indexes, IGNORED)}


def _closing(labels: list[int], ends: list[int]) -> int:
    """How many ids close a target: its end, and the language that some tokenizers write after it (mBART)."""
    return 2 if len(labels) > 1 and labels[-2] in ends and labels[-1] not in ends else int(bool(ends))


def _bad(pair: Pair, ids: list[int], labels: list[int], ends: list[int], most: int | None) -> DataError | None:
    """What keeps a tokenised pair from being trained on."""
    place = pair.place or "A pair"
    if not ids or len(labels) <= _closing(labels, ends):
        return DataError(f"{place}: the {'target' if ids else 'source'} must have tokens, but has none.")
    if most is not None and len(ids) > most:
        return DataError(
            f"{place}: the source must have at most {most} tokens, as the encoder has positions for, but has "
            f"{len(ids)}; a maximum (--max-source-length {most}) cuts it."
        )
    return None


def longest(positions: int | None, asked: int | None, name: str) -> int | None:
    """The most tokens of a side: what is asked for, at most what there are positions for (None: no bound)."""
    if asked is not None and asked < 2:
        raise ConfigurationError(f"`{name}` must be at least 2, but is {asked}.")
    bounds = [bound for bound in (asked, positions) if bound]
    return min(bounds, default=None)


def _chunks(pairs: Iterable[Pair | tuple[str, str]]) -> Iterator[list[Pair]]:
    rest = iter(pairs)
    while chunk := list(itertools.islice(rest, _CHUNK)):
        yield [pair if isinstance(pair, Pair) else Pair(*pair) for pair in chunk]
