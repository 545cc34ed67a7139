"""Speculative decoding: cheap drafts of the next tokens, all of them checked by one pass of the model.

Greedy search keeps the drafts that it would have chosen itself, so the result is that of `search_rows`; sampling keeps
and replaces them such that every token has the distribution that plain sampling gives it (Leviathan et al. 2022,
https://arxiv.org/abs/2211.17192; Chen et al. 2023, https://arxiv.org/abs/2302.01318). Every row accepts as many drafts
as it can: rows have lengths of their own, and a row that ended leaves.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from seqgraft.generation.streamers import BaseStreamer
from seqgraft.torch.candidates import Drafting, Drafts
from seqgraft.torch.processors import LogitsProcessorList
from seqgraft.torch.ragged import Texts, asked, processed
from seqgraft.torch.search import Decoder, FoundRows, Record, State, worth_leaving
from seqgraft.torch.stopping import Stopping


@dataclass
class Speculation:
    """How well the drafts did.

    `passes` of the model over `row_passes` rows in all; `tokens` came of them, `accepted` of the `drafted` ones among
    them (those that an end token cut off are no longer counted).
    """

    passes: int = 0
    row_passes: int = 0
    tokens: int = 0
    drafted: int = 0
    accepted: int = 0

    def add(self, going: Tensor, tokens: Tensor, drafted: Tensor, accepted: Tensor) -> None:
        """Count a pass of the rows that are `going`; a number for each row [live]."""
        accepted = torch.minimum(accepted, tokens)
        rows, more, guessed, right = torch.stack((going.long(), tokens, drafted, accepted)).sum(dim=1).tolist()
        self.passes += 1
        self.row_passes += rows
        self.tokens += more
        self.drafted += guessed
        self.accepted += right

    @property
    def tokens_per_pass(self) -> float:
        """Tokens that a row gains in a pass; plain search has 1."""
        return self.tokens / max(self.row_passes, 1)

    @property
    def acceptance(self) -> float:
        """The share of the drafts that was accepted."""
        return self.accepted / max(self.drafted, 1)


@dataclass(frozen=True)
class FoundAssisted(FoundRows):
    """What `FoundRows` has, and how the drafts did; no state, since rows left it at lengths of their own."""

    speculation: Speculation = field(default_factory=Speculation)


def search_assisted(
    decoder: Decoder,
    state: State,
    prompt: Tensor,
    *,
    drafting: Drafting,
    processors: LogitsProcessorList,
    stopping: Stopping,
    record: Record,
    sample: bool = False,
    pad_token_id: int | None = None,
    streamer: BaseStreamer | None = None,
) -> FoundAssisted:
    """Continue prompt [rows, time] as `search_rows` does, in fewer passes of the decoder.

    A pass appends each row's newest token and its drafts; the decoder forgets the drafts that were not accepted.
    """
    proposer = drafting.proposer
    told = prompt.shape[1]
    most = max(stopping.max_length, told + 1)
    texts = Texts(prompt, most, pad_token_id or 0)
    ends = torch.full_like(texts.lengths, most)
    going = torch.ones_like(texts.live, dtype=torch.bool)  # [live]; the others ended, and wait until leaving pays
    steps, counted = _Steps(record, len(prompt), told), Speculation()
    new, alike = prompt, told > 1 or drafting.rows_per_source > 1  # then the first pass reads the prompt alone
    while True:
        drafts = Drafts.none(texts)
        if not alike:
            drafts = proposer.propose(texts, torch.where(going, _room(texts, most, drafting.longest), 0))
        width = 1 + drafts.ids.shape[1]
        logits, state = _logits(decoder, torch.cat((new, drafts.ids), dim=1) if width > 1 else new, width, state)
        texts.write(drafts.ids, drafts.counts)
        needed = drafts.counts + 1
        if pad_token_id is not None:  # what follows an end token is not used: no caller's function is asked about it
            before_end = (~stopping.ended(drafts.ids)).long().cumprod(dim=1).sum(dim=1)
            needed = torch.minimum(needed, before_end + 1)
        scores = processed(processors, texts, logits, torch.where(going, needed, 0))
        tokens, accepted = _drawn(scores, drafts) if sample else _chosen(scores, drafts)
        if drafting.together:
            accepted = accepted.amin().expand(len(accepted))
        totals = torch.where(going, accepted + 1, 0)
        texts.write(tokens, totals)
        steps.take(texts, logits, scores, totals)
        if stopping.may_stop_early:
            first = _first_end(stopping, texts, tokens, totals, steps)
            ends[texts.live] = torch.minimum(ends[texts.live], texts.now + first)
            if pad_token_id is not None:  # without one a row that ended runs on, as in the plain search
                totals = torch.minimum(totals, first)
                texts.write(tokens, totals)
        texts.lengths[texts.live] += totals
        counted.add(going, totals, drafts.counts, accepted)
        unused = width - totals
        going = texts.now < (ends[texts.live] if pad_token_id is not None else ends.max())
        kept = going.nonzero()[:, 0]
        until = int(texts.now[kept].min() if len(kept) else ends.max())
        if streamer is not None:
            for at in range(told, until):
                streamer.put(texts.ids[:, at].cpu())
            told = max(told, until)
        if not len(kept):
            break
        if worth_leaving(len(kept), len(going)) or (drafting.together and len(kept) < len(going)):
            state, unused, going, texts.live = decoder.keep(state, kept), unused[kept], going[kept], texts.live[kept]
            proposer.keep(kept)
        if unused.any():
            state = decoder.forget(state, unused)
        new, alike = texts.last(1), False
    proposer.done()
    if streamer is not None:
        streamer.end()
    steps.cut(until)
    return FoundAssisted(texts.ids[:, :until].clone(), None, counted)


def _room(texts: Texts, most: int, longest: int | None) -> Tensor:
    """How many drafts each live row may have, [live]: the token after them has a place as well.

    Shorter rows are read up to the place of the longest one's last draft, so that must be one that the models know.
    """
    room = most - 1 - texts.now
    return room if longest is None else torch.minimum(room, longest - texts.now.max()).clamp(min=0)


def _logits(decoder: Decoder, ids: Tensor, width: int, state: State) -> tuple[Tensor, State]:
    """Append ids [live, new]; float32 logits [live, width, vocab] of the last `width` of them."""
    if width > 1:
        logits, state = decoder.score(ids, state)
    else:
        step, state = decoder.step(ids, state)
        logits = step.logits[:, None]
    return logits.float(), state


def _first_end(stopping: Stopping, texts: Texts, tokens: Tensor, totals: Tensor, steps: "_Steps") -> Tensor:
    """After how many of its totals[r] next tokens [live, new] a row ends, [live]; far behind them where it does not."""
    stops = stopping.ended(tokens)
    if stopping.others:
        answers = asked(stopping.asked, texts, totals, steps.so_far)
        stops[:, : answers.shape[1]] |= answers
    stops &= torch.arange(tokens.shape[1], device=tokens.device) < totals[:, None]
    first = (~stops).long().cumprod(dim=1).sum(dim=1) + 1
    return torch.where(stops.any(dim=1), first, stopping.max_length + tokens.shape[1])


def _chosen(scores: Tensor, drafts: Drafts) -> tuple[Tensor, Tensor]:
    """The best tokens of scores [rows, 1 + drafts, vocab], and how many drafts they agree with from the first on."""
    best = scores.argmax(dim=-1)
    return best, _leading(best[:, :-1] == drafts.ids, drafts)


def _drawn(scores: Tensor, drafts: Drafts) -> tuple[Tensor, Tensor]:
    """Tokens [rows, 1 + drafts] of the softmax's distribution, and how many of them, from the first on, are drafts.

    A draft of probability p under the model and q under what it was drawn from is accepted with min(1, p / q); the
    token in place of the first rejected one comes from what p has more than q (Leviathan et al. 2022, algorithm 1).
    """
    wanted, count = scores.softmax(dim=-1), drafts.ids.shape[1]
    under_model = wanted[:, :count].gather(2, drafts.ids[..., None]).squeeze(2)
    if drafts.probabilities is None:
        under_draft = torch.ones_like(under_model)
    else:
        under_draft = drafts.probabilities.gather(2, drafts.ids[..., None]).squeeze(2)
    accepted = _leading(torch.rand_like(under_model) * under_draft < under_model, drafts)
    rows = torch.arange(len(accepted), device=scores.device)
    left = wanted[rows, accepted]  # [rows, vocab]
    if count:
        at, rejected = accepted.clamp(max=count - 1), (accepted < drafts.counts)[:, None]
        if drafts.probabilities is None:
            taken = torch.zeros_like(left).scatter_(1, drafts.ids[rows, at][:, None], 1.0)
        else:
            taken = drafts.probabilities[rows, at]
        more = (left - taken).clamp(min=0)
        left = torch.where(rejected & (more.sum(dim=1, keepdim=True) > 0), more, left)
    last = torch.multinomial(left, num_samples=1)
    tokens = torch.cat((drafts.ids, last), dim=1)
    tokens[rows, accepted] = last.squeeze(1)
    return tokens, accepted


def _leading(right: Tensor, drafts: Drafts) -> Tensor:
    """How many of right [rows, drafts] hold from the first on, among those that count, [rows]."""
    within = torch.arange(right.shape[1], device=right.device) < drafts.counts[:, None]
    return (right & within).long().cumprod(dim=1).sum(dim=1)


class _Steps:
    """The record's scores and logits by step, though rows reach a step in different passes."""

    def __init__(self, record: Record, rows: int, prompt_length: int) -> None:
        self.record, self.rows, self.start = record, rows, prompt_length

    def take(self, texts: Texts, logits: Tensor, scores: Tensor, counts: Tensor) -> None:
        """logits and scores [live, new, vocab] of the next counts[r] tokens of each row."""
        for wanted, kept, values in (
            (self.record.want_scores, self.record.scores, scores),
            (self.record.want_logits, self.record.logits, logits),
        ):
            if not wanted:
                continue
            for row, length, count, value in zip(
                texts.live.tolist(), texts.now.tolist(), counts.tolist(), values, strict=True
            ):
                for place in range(count):
                    step = length + place - self.start
                    while step >= len(kept):
                        kept.append(values.new_zeros(self.rows, values.shape[-1]))
                    kept[step][row] = value[place]

    def so_far(self, time: int) -> Any:
        """What stopping criteria get of a text of `time` ids: the scores of every step, if they are kept."""
        return tuple(self.record.scores[: time - self.start]) if self.record.want_scores else None

    def cut(self, time: int) -> None:
        """Drop the steps behind the end, which a row may have taken whose tokens were cut off."""
        del self.record.scores[time - self.start :], self.record.logits[time - self.start :]
