"""A streamer for searches that keep several hypotheses: a token is told once all that can still win have it.

These are the rows that run, of every source that can still change, and its best finished hypothesis: the worse ones
are beaten already. What was told is therefore the beginning of the best row, whatever comes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from seqgraft.generation.streamers import BaseStreamer
from seqgraft.torch.search_beams import Beams
from seqgraft.torch.search_hypotheses import Pool, Running


class Agreed:
    """Tells a streamer columns [sources] of ids, the prompt [sources, time] first; sources that ended are filled."""

    def __init__(self, streamer: BaseStreamer, prompt: Tensor, fill: int) -> None:
        self.streamer, self.fill, self.told = streamer, fill, prompt.shape[1]
        streamer.put(prompt.cpu())

    def beams(self, held: Beams) -> None:
        """Look at the beams of all sources after a step."""
        length, sources = held.length, []
        running, going = held.running[..., :length].tolist(), held.going.tolist()
        best, lengths = held.finished[:, 0].tolist(), ((held.finished_rows[:, 0] >= 0).sum(-1) + held.start).tolist()
        for source, finished in enumerate(held.is_finished[:, 0].tolist()):
            winners = running[source] if going[source] else []
            sources.append((winners + ([best[source][: lengths[source]]] if finished else []), going[source]))
        self._tell(sources)

    def pools(self, pools: Sequence[Sequence[Pool]], running: Running, first_end: int | None) -> None:
        """Look at the pools of all sources after a step, one of each group; `first_end` closes hypotheses."""
        ids, place, sources = running.ids.tolist(), 0, []
        for of_source in pools:
            winners: list[list[int]] = []
            for pool in of_source:
                winners += ids[place : place + pool.size] if not pool.done else []
                place += pool.size
            held = [h for pool in of_source for h in pool.held]
            best = max((h.score for h in held), default=None)
            ends = [] if first_end is None else [first_end]
            winners += [h.ids + (ends if h.closed else []) for h in held if h.score == best]
            sources.append((winners, not all(pool.done for pool in of_source)))
        self._tell(sources)

    def end(self, ids: Tensor) -> None:
        """Tell the rest of the best rows ids [sources, time]."""
        for column in ids[:, self.told :].cpu().unbind(1):
            self.streamer.put(column)
        self.streamer.end()

    def _tell(self, sources: list[tuple[list[list[int]], bool]]) -> None:
        """sources: the hypotheses of each that can win, and whether it can still change."""
        agreed = [_common(winners) for winners, changing in sources if changing]
        for at in range(self.told, min(agreed, default=self.told)):
            column = [winners[0][at] if at < len(winners[0]) else self.fill for winners, _ in sources]
            self.streamer.put(torch.tensor(column))
            self.told = at + 1


def _common(rows: list[list[int]]) -> int:
    """How many tokens the rows begin with alike."""
    shortest = min(map(len, rows))
    return next((at for at in range(shortest) if len({row[at] for row in rows}) > 1), shortest)
