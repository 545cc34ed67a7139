"""Where drafts of the next tokens come from: the source and the text so far, or a smaller model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from seqgraft.torch.processors import LogitsProcessorList
from seqgraft.torch.ragged import Texts, processed
from seqgraft.torch.search import Decoder, State
from seqgraft.torch.stopping import Stopping


@dataclass(frozen=True)
class Drafts:
    """What may come next: ids [live, most], of which row r has its first counts[r].

    `probabilities [live, most, vocab]`: what each was drawn from; None where drafts follow from the text alone.
    """

    ids: Tensor
    counts: Tensor
    probabilities: Tensor | None = None

    @classmethod
    def none(cls, texts: Texts) -> "Drafts":
        """No draft for any row."""
        counts = torch.zeros_like(texts.live)
        return cls(counts.new_zeros(len(counts), 0), counts)


class Proposer(Protocol):
    """What drafts tokens. A row's drafts may depend on that row's text, and on nothing behind its end."""

    def propose(self, texts: Texts, room: Tensor) -> Drafts:
        """Drafts for the live rows, at most room[r] for each; room [live]."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Live row i is from now on what live row rows[i] was; the others left."""
        ...

    def done(self) -> None:
        """The search is over."""
        ...


@dataclass(frozen=True)
class Drafting:
    """How an assisted search is helped: who drafts, how long a text with its drafts can be read (None: any length),
    how many rows of a source start alike, and whether all rows must go on `together`, by what the worst one accepts."""

    proposer: Proposer
    longest: int | None = None
    rows_per_source: int = 1
    together: bool = False


class PromptLookup:
    """Copies what followed the same n-gram before, in the source or in the row itself (Saxena 2023, prompt lookup).

    The longest n-gram wins, up to `size`; of several places the first, the source's before the text's own.

    Args:
        tokens: the most that is copied at once.
        size: the longest n-gram that is looked for.
        source: ids [rows, source_time] in the words of the text, -1 where there are none.
    """

    def __init__(self, tokens: int, size: int, source: Tensor | None = None) -> None:
        self.tokens, self.size, self.source = tokens, size, source

    def propose(self, texts: Texts, room: Tensor) -> Drafts:
        now = texts.now
        own = texts.ids[texts.live, : int(now.max())]
        own = own.masked_fill(torch.arange(own.shape[1], device=own.device) >= now[:, None], -1)
        seen = own
        if self.source is not None:
            seen = torch.cat((self.source[texts.live], own.new_full((len(own), 1), -1), own), dim=1)
        matching, matched = torch.ones_like(seen, dtype=torch.bool), torch.zeros_like(seen)
        for back in range(min(self.size, own.shape[1])):
            last = own.gather(1, (now - 1 - back).clamp(min=0)[:, None])
            matching = matching & (functional.pad(seen, (back, 0), value=-1)[:, : seen.shape[1]] == last)
            matched += matching & (back < now)[:, None]
        behind = functional.pad(seen, (0, self.tokens), value=-1)
        time = seen.shape[1]
        early = torch.arange(time, 0, -1, device=seen.device)  # the first of several places has the most
        rank = torch.where(behind[:, 1 : time + 1] >= 0, matched, 0) * (time + 1) + early
        best, place = rank.max(dim=1)
        ids = behind.gather(1, place[:, None] + torch.arange(1, self.tokens + 1, device=seen.device))
        counts = (ids >= 0).long().cumprod(dim=1).sum(dim=1)
        counts = torch.where(best > time, torch.minimum(counts, room), 0)
        most = int(counts.max())
        return Drafts(ids[:, :most].clamp(min=0), counts)

    def keep(self, rows: Tensor) -> None:
        pass

    def done(self) -> None:
        pass


class Assistant:
    """A smaller model that continues the texts by itself, as the search does: greedy, or drawn with `sample`.

    It stops early in a row whose newest draft is an end token, or less likely than `threshold`. That draft itself is
    still handed on: whether a draft exists may not depend on what it is, or sampling would be biased.

    Args:
        decoder, state: the model and its state before the prompt; what it has seen of a text is kept between calls.
        tokens: drafts of each row; with `adapt` a row's own number grows by 2 when all were right, else falls by 1.
        remember: gets that number, the mean of the rows, when the search is over.
    """

    def __init__(
        self,
        decoder: Decoder,
        state: State,
        *,
        tokens: int,
        threshold: float,
        processors: LogitsProcessorList,
        stopping: Stopping,
        adapt: bool = False,
        sample: bool = False,
        remember: Callable[[int], None] | None = None,
    ) -> None:
        self.decoder, self.state = decoder, state
        self.tokens, self.threshold = tokens, threshold
        self.processors, self.stopping = processors, stopping
        self.adapt, self.sample, self.remember = adapt, sample, remember
        self._seen: Texts | None = None  # the ids that the state holds
        self._wanted: Tensor | None = None  # [rows] drafts of each
        self._before: tuple[Tensor, Tensor] | None = None  # [rows] lengths at the last call, and counts of its drafts

    def propose(self, texts: Texts, room: Tensor) -> Drafts:
        wanted = torch.minimum(self._adapted(texts), room)
        most = int(wanted.max())
        if most <= 0:
            return Drafts.none(texts)
        new, seen = self._unseen(texts)
        counts, drafting = torch.zeros_like(wanted), wanted > 0
        ids, drawn = new[:, :0], []
        while drafting.any():
            step, self.state = self.decoder.step(new, self.state)
            seen.write(new, torch.full_like(counts, new.shape[1]))
            seen.lengths[seen.live] += new.shape[1]
            logits = step.logits.float()[:, None]
            scores = processed(self.processors, texts, logits, drafting.long(), ahead=ids.shape[1])[:, 0]
            probabilities = scores.softmax(dim=-1)
            new = torch.multinomial(probabilities, 1) if self.sample else scores.argmax(dim=-1, keepdim=True)
            ids = torch.cat((ids, new), dim=1)
            drawn.append(probabilities)
            counts += drafting
            texts.write(ids, counts)  # for the processors of the next one
            sure = probabilities.gather(1, new)[:, 0] >= self.threshold
            drafting = drafting & sure & ~self.stopping.ended(new[:, 0]) & (counts < wanted)
        if self._before is not None:
            for kept, value in zip(self._before, (texts.now, counts), strict=True):
                kept[texts.live] = value
        return Drafts(ids, counts, torch.stack(drawn, dim=1) if self.sample else None)

    def keep(self, rows: Tensor) -> None:
        self.state = self.decoder.keep(self.state, rows)

    def done(self) -> None:
        if self.remember is not None and self._wanted is not None:
            self.remember(max(1, round(self._wanted.float().mean().item())))

    def _adapted(self, texts: Texts) -> Tensor:
        """How many drafts each live row wants, after what became of its last ones."""
        if self._wanted is None:
            self._wanted = torch.full_like(texts.lengths, self.tokens)
            if self.adapt:
                self._before = (texts.lengths - 1, torch.zeros_like(texts.lengths) - 1)
        elif self._before is not None:
            lengths, counts = (kept[texts.live] for kept in self._before)
            right = texts.now - lengths - 1 >= counts
            self._wanted[texts.live] = (self._wanted[texts.live] + torch.where(right, 2, -1)).clamp(min=1)
        return self._wanted[texts.live]

    def _unseen(self, texts: Texts) -> tuple[Tensor, Texts]:
        """The ids that the state has not seen, [live, new]; what it saw and the texts no longer have is forgotten.

        All rows take equally many, so that one step serves: a row that has fewer unseen ones sees some again. Where a
        text is too short for that, each row is brought up to its last id by itself.
        """
        if self._seen is None:
            self._seen = Texts(texts.ids[:, :0], texts.ids.shape[1] - 1, -1)
        seen = self._seen
        seen.live = texts.live
        held, now = seen.now, texts.now
        width = int(now.max())
        same = seen.ids[seen.live, :width] == texts.ids[texts.live, :width]
        right = torch.minimum(same.long().cumprod(dim=1).sum(dim=1), torch.minimum(held, now - 1))
        missing = int((now - right).max())
        if missing > int(now.min()):
            self._forget(seen, held - right)
            places = right[:, None] + torch.arange(missing - 1, device=right.device)
            between = texts.ids[texts.live[:, None], places.clamp(max=width - 1)]
            _, self.state = self.decoder.score(between, self.state)
            seen.write(between, now - 1 - right)
            seen.lengths[seen.live] += missing - 1
            held, missing = seen.now, 1
        self._forget(seen, held - now + missing)
        return texts.last(missing), seen

    def _forget(self, seen: Texts, counts: Tensor) -> None:
        if counts.any():
            self.state = self.decoder.forget(self.state, counts)
            seen.lengths[seen.live] -= counts
