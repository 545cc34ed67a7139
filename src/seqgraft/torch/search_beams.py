"""Beam search and beam sampling, with the reference's arithmetic to the last bit.

Every source keeps `beams` running rows and `beams` finished hypotheses. A step takes the best
max(2, 1 + end tokens) * beams continuations, so that enough of them run on however many end. A hypothesis counts
sum of log-probabilities / (generated length) ** length_penalty, its end token included (Wu et al. 2016, section 7,
https://arxiv.org/abs/1609.08144, in the field's simpler form).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seqgraft.torch.processors import LogitsProcessorList
from seqgraft.torch.search import Decoder, FoundBeams, Record, State, best, drawn, worth_leaving
from seqgraft.torch.stopping import Stopping
from seqgraft.torch.waiting import looking_is_free

_WORST = -1.0e9  # what the reference adds to the score of anything that may not be chosen


@dataclass(frozen=True)
class Candidates:
    """The continuations of one step, all [sources, count]: log-probabilities so far, and where each comes from.

    `ended` is None where it is known that none did; `ranked` where the scores fall.
    """

    scores: Tensor
    parents: Tensor
    tokens: Tensor
    ended: Tensor | None
    ranked: bool = True


class Beams:
    """The running rows and the finished hypotheses of every source."""

    def __init__(
        self, prompt: Tensor, beams: int, limit: int, fill: int, *, length_penalty: float, early_stopping: bool | str
    ) -> None:
        """prompt [sources * beams, time]."""
        self.start = self.length = prompt.shape[1]
        self.beams, self.fill, self.limit = beams, fill, limit
        self.length_penalty, self.early_stopping = length_penalty, early_stopping
        sources, device = prompt.shape[0] // beams, prompt.device
        # For each running row its ids, and for each of these after the prompt the row that it was chosen from.
        self._both = torch.full((sources, beams, 2, limit), -1, device=device)
        self.running.fill_(fill)
        self.running[..., : self.length] = prompt.view(sources, beams, -1)
        self.finished, self.finished_rows = self.running.clone(), self.running_rows.clone()
        # Only the first beam counts at the first step: the others are its copies.
        self.running_scores = torch.zeros(sources, beams, device=device)
        self.running_scores[:, 1:] = _WORST
        self.finished_scores = torch.full((sources, beams), _WORST, device=device)
        self.is_finished = torch.zeros(sources, beams, dtype=torch.bool, device=device)
        self.improvable = torch.ones(sources, 1, dtype=torch.bool, device=device)
        self.row_offsets = torch.arange(sources, device=device)[:, None] * beams
        self.same_parents = torch.arange(beams, device=device)
        self.going = torch.ones(sources, dtype=torch.bool, device=device)
        """The sources of which a running row could still beat a finished one."""
        self._all_going = True
        """Whether they are known to be all of them."""
        self.any_finished = False
        """Whether a hypothesis may be finished, as far as the host knows without asking."""
        self.left: tuple[Tensor, Tensor, Tensor] | None = None
        """The finished hypotheses of all sources, and their scores and rows, once some sources left the batch."""
        self.live = torch.arange(sources, device=device)
        """The sources that are in the batch."""

    @property
    def running(self) -> Tensor:
        """The ids of the running rows, filled up, [sources, beams, limit]; a view."""
        return self._both[:, :, 0]

    @property
    def running_rows(self) -> Tensor:
        """The row that each generated token was chosen from, -1 where there is none yet, [sources, beams, steps]."""
        return self._both[:, :, 1, self.start :]

    @property
    def ids(self) -> Tensor:
        """The running rows so far, [sources * beams, length]."""
        return self.running[..., : self.length].flatten(0, 1)

    def continued(self, candidates: Candidates) -> Tensor:
        """The whole ids of the candidates, [sources * count, length + 1]."""
        past = self.running[..., : self.length].take_along_dim(candidates.parents[..., None], 1)
        return torch.cat((past, candidates.tokens[..., None]), dim=-1).flatten(0, 1)

    def finish(self, candidates: Candidates) -> None:
        """Merge those of the best `beams` candidates that ended into the finished hypotheses."""
        if candidates.ended is None:
            return
        finishing = candidates.ended.clone()
        finishing[:, self.beams :] = False
        if looking_is_free(finishing) and not finishing.any():
            return
        self.any_finished = True
        generated = self.length + 1 - self.start
        scores = candidates.scores / (generated**self.length_penalty)
        if self.early_stopping is True:
            scores = scores + self.is_finished.all(dim=1, keepdim=True).float() * _WORST
        scores = scores + (~self.improvable).float() * _WORST
        scores = scores + (~finishing).float() * _WORST
        self.finished_scores, order = torch.cat((self.finished_scores, scores), dim=1).topk(self.beams)
        fresh = order >= self.beams
        which = (order - self.beams).clamp(min=0)  # the candidate, where fresh
        old = order.clamp(max=self.beams - 1)  # the hypothesis, elsewhere
        parents = candidates.parents.gather(1, which)
        source = torch.where(fresh, self.beams + parents, old)[..., None]
        self._merge(self.finished, self.running, source, fresh, candidates.tokens.gather(1, which), self.length)
        rows = parents + self.row_offsets
        self._merge(self.finished_rows, self.running_rows, source, fresh, rows, generated - 1)
        self.is_finished = torch.cat((self.is_finished, finishing), dim=1).gather(1, order)

    def _merge(self, kept: Tensor, running: Tensor, source: Tensor, fresh: Tensor, newest: Tensor, at: int) -> None:
        """Rewrite `kept` from both pools; column `at` is what a fresh one adds, and still empty in older ones."""
        empty = self.fill if kept is self.finished else -1
        kept[..., :at] = torch.cat((kept[..., :at], running[..., :at]), dim=1).take_along_dim(source, 1)
        kept[..., at] = torch.where(fresh, newest, empty)

    def advance(self, candidates: Candidates) -> tuple[Tensor, Tensor | None, int] | None:
        """Choose the rows that run on: (tokens, rows), [rows] each, and how many sources can still change; or None.

        `rows` is None when every row goes on from itself. This is the one place where the host waits for the device.
        """
        if candidates.ended is None and candidates.ranked:
            self.running_scores = candidates.scores[:, : self.beams]
            parents, tokens = candidates.parents[:, : self.beams], candidates.tokens[:, : self.beams]
        else:
            held = candidates.scores
            if candidates.ended is not None:
                held = held + candidates.ended.float() * _WORST
            self.running_scores, order = held.topk(self.beams)
            parents, tokens = candidates.parents.gather(1, order), candidates.tokens.gather(1, order)
        generated = self.length + 1 - self.start
        # When every candidate ended, the best ones have filled the places of the finished: nothing can go on then.
        self._look_ahead(generated)
        if looking_is_free(parents):
            changing = len(parents) if self._all_going else int(self.going.sum())
            moves = parents.tolist() != [list(range(self.beams))] * len(parents)
        else:
            moved = (parents != self.same_parents).any()
            changing, moves = torch.stack((self.going.sum(), moved.long())).tolist()
        if not changing:
            return None
        if moves and generated > 1:
            past = self._both.narrow(3, 0, self.length)
            past.copy_(past.take_along_dim(parents[..., None, None], 1))
        rows = parents + self.row_offsets
        self._both.select(3, self.length).copy_(torch.stack((tokens, rows), -1))
        self.length += 1
        # Before the first step all rows of a source were one and the same.
        if not moves or generated == 1:
            return tokens.flatten(), None, changing
        if self.left is not None:
            rows = parents + torch.arange(len(parents), device=parents.device)[:, None] * self.beams
        return tokens.flatten(), rows.flatten(), changing

    def leave(self) -> Tensor:
        """The sources that can change no more leave the batch; these rows [left * beams] of it remain."""
        going = self.going.nonzero().squeeze(1)
        self._put_away()
        for name in ("_both", "finished", "running_scores", "finished_scores", "is_finished", "improvable", "going"):
            setattr(self, name, getattr(self, name)[going])
        for name in ("finished_rows", "row_offsets", "live"):
            setattr(self, name, getattr(self, name)[going])
        return (going[:, None] * self.beams + self.same_parents).flatten()

    def _put_away(self) -> None:
        """Write what is finished so far to its place among all sources."""
        now = (self.finished, self.finished_scores, self.finished_rows)
        if self.left is None:
            self.left = now
            return
        for all_of_them, own in zip(self.left, now, strict=True):
            all_of_them[self.live] = own

    def _look_ahead(self, generated: int) -> None:
        """Whether a running row of each source could still beat a finished one, by `early_stopping`."""
        if self.early_stopping == "never" and self.length_penalty > 0.0:
            reachable = self.limit - self.start
        else:
            reachable = generated
        known = self._all_going and not self.any_finished and looking_is_free(self.running_scores)
        # With nothing finished, a row that could not beat it is one as good as none.
        if known and min(self.running_scores[:, 0].tolist()) / reachable**self.length_penalty > _WORST / 2:
            return
        self._all_going = False
        ahead = self.running_scores[:, :1] / (reachable**self.length_penalty)
        if not self.any_finished:
            self.improvable = self.improvable & (ahead > _WORST)
        else:
            worst = torch.where(self.is_finished, self.finished_scores.amin(dim=1, keepdim=True), _WORST)
            self.improvable = self.improvable & (ahead > worst).any(dim=-1, keepdim=True)
        self.going = self.improvable.squeeze(1)
        if self.early_stopping is True:
            self.going = self.going & ~self.is_finished.all(dim=1)

    def found(self, returned: int, state: State) -> FoundBeams:
        """The best `returned` hypotheses of every source, cut to the longest."""
        if self.left is not None:
            self._put_away()
            self.finished, self.finished_scores, self.finished_rows = self.left
        longest = int((self.finished_rows[:, :returned] >= 0).sum(dim=-1).max())
        return FoundBeams(
            self.finished[:, :returned, : self.start + longest].flatten(0, 1).contiguous(),
            self.finished_scores[:, :returned].flatten(),
            self.finished_rows[:, :returned, :longest].flatten(0, 1).int(),
            state,
        )


def search_beams(
    decoder: Decoder,
    state: State,
    prompt: Tensor,
    *,
    beams: int,
    returned: int,
    processors: LogitsProcessorList,
    stopping: Stopping,
    record: Record,
    sample: bool = False,
    fill: int = 0,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
    watch: Callable[[Beams], None] | None = None,
) -> FoundBeams:
    """Continue prompt [sources * beams, time], the rows of a source alike; finished rows are filled with `fill`.

    `sample` draws the continuations (without replacement) instead of taking the best. `watch` is shown the beams after
    every step; no source leaves the batch then.
    """
    held = Beams(prompt, beams, stopping.max_length, fill, length_penalty=length_penalty, early_stopping=early_stopping)
    count = max(2, 1 + len(stopping.eos_token_ids)) * beams
    leaving = not (watch or record.keeps or processors.fixed or stopping.fixed)
    step, state = decoder.step(prompt, state)
    processors.start()
    while True:
        logits = step.logits.float()
        log_probs = torch.log_softmax(logits, dim=-1)
        if processors:
            log_probs = processors(held.ids, log_probs)
        record.take(step, logits.clone() if record.want_logits else logits, log_probs)
        sources, vocab = len(held.live), log_probs.shape[-1]
        total, before = log_probs.view(sources, beams, vocab), held.running_scores[..., None]
        # A custom processor may have kept what it got; otherwise nobody reads the log-probabilities again.
        total = (total + before if processors else total.add_(before)).view(sources, -1)
        if sample:
            chosen = drawn(total, count, prompt.shape[0] // beams, held.live)
            scores = total.gather(1, chosen)
        else:
            scores, chosen = best(total, count)
        tokens = chosen % vocab
        at_limit = held.length + 1 >= stopping.max_length
        ended = None
        if at_limit or stopping.may_stop_early:
            ended = torch.ones_like(tokens, dtype=torch.bool) if at_limit else stopping.ended(tokens)
        candidates = Candidates(scores, chosen // vocab, tokens, ended, ranked=not sample)
        if ended is not None and stopping.others:
            asked = stopping.asked(held.continued(candidates), record.scores_so_far)
            candidates = replace(candidates, ended=ended | asked.view_as(ended))
        if candidates.ended is not None and looking_is_free(tokens) and not candidates.ended.any():
            candidates = replace(candidates, ended=None)  # free to know there; elsewhere it would wait
        held.finish(candidates)
        going = None if at_limit else held.advance(candidates)
        if going is None:
            return held.found(returned, state)
        if watch is not None:
            watch(held)
        new, rows, changing = going
        if rows is not None:
            state = decoder.reorder(state, rows)
        if leaving and worth_leaving(changing, sources, on_cpu=looking_is_free(new)):
            left = held.leave()
            state, new = decoder.keep(state, left), new[left]
            processors.keep(left)
        step, state = decoder.step(new[:, None], state)
