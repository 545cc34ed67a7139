"""Which pairs stand in which batch: pairs alike in both lengths together, in an order that a seed gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from seqgraft.errors import ConfigurationError

Lengths = np.ndarray[Any, np.dtype[np.int64]]

_SLACK = (1.03, 1.06, 1.09, 1.12, 1.16, 1.2)
"""How much fuller than full a batch is planned to be with its padding; the plan with the fewest batches is taken."""
_WASTE, _MORE = 0.05, 1.1
"""Unless that has a larger share of padding than this, and another, with so many times as many batches at most, has
not."""
_SAMPLE = 200_000
"""Pairs that the choice among them looks at."""


class BatchPlan(Sampler[list[int]]):
    """The batches of one epoch after the other, each a list of indexes; every pair stands in one batch of an epoch.

    Args:
        sources, targets: the pairs' lengths in tokens.
        tokens: the most tokens of a batch, padding included: rows x (longest source + longest target).
        rows: the most rows of a batch. One of the two must be given; with both, both hold.
        seed: gives the order, together with the epoch.

    A pair that alone is longer than `tokens` is a batch of its own. All epochs have the same number of batches, of the
    same shapes: pairs of equal lengths change places, and the batches their order.

    The pairs are points (source length, target length), halved again and again across the side that costs more
    padding, in the proportion of the batches that each half will be, until a part is one batch.
    """

    def __init__(
        self, sources: Lengths, targets: Lengths, *, tokens: int | None = None, rows: int | None = None, seed: int = 0
    ) -> None:
        for name, value in (("tokens", tokens), ("rows", rows)):
            if value is not None and value < 1:
                raise ConfigurationError(f"`{name}` of a batch must be at least 1, but is {value}.")
        if tokens is None and rows is None:
            raise ConfigurationError("A batch must be bounded by `tokens` or by `rows`, but neither is given.")
        self.sources, self.targets = sources, targets
        self.tokens, self.rows, self.seed = tokens, rows, seed
        self.epoch = 0
        self._parts = self._cut(self._slack())
        self._shuffled: tuple[int, Lengths, Lengths] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Which epoch `iter` goes through."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches of an epoch, of every epoch."""
        return len(self._parts)

    def __iter__(self) -> Iterator[list[int]]:
        return (self.batch(self.epoch, index).tolist() for index in range(len(self)))

    def batch(self, epoch: int, index: int) -> Lengths:
        """The indexes of the pairs of one batch; what stands where depends on the seed and the epoch alone."""
        if self._shuffled is None or self._shuffled[0] != epoch:
            random = np.random.default_rng([self.seed, epoch])
            mixed = random.permutation(len(self.sources))
            mixed = mixed[np.lexsort((self.targets[mixed], self.sources[mixed]))]
            named = np.empty_like(mixed)
            named[np.lexsort((self.targets, self.sources))] = mixed  # pairs of equal lengths change places
            self._shuffled = epoch, random.permutation(len(self)), named
        _, order, named = self._shuffled
        rows: Lengths = named[self._parts[order[index]]]
        return rows

    def waste(self) -> float:
        """The share of padding in the tokens of all batches, 0 to 1."""
        return self._waste(self._parts)

    def _waste(self, parts: list[Lengths]) -> float:
        padded = sum(len(part) * int(self.sources[part].max() + self.targets[part].max()) for part in parts)
        own = sum(int(self.sources[part].sum() + self.targets[part].sum()) for part in parts)
        return 1 - own / padded if padded else 0.0

    def _slack(self) -> float:
        """The slack of the plan that is taken."""
        if self.tokens is None:
            return 1.0
        held = np.arange(len(self.sources))
        if len(held) > _SAMPLE:
            held = np.random.default_rng(0).choice(held, _SAMPLE, replace=False)
        plans = {slack: self._cut(slack, held) for slack in _SLACK}
        most = _MORE * min(map(len, plans.values()))
        return min(
            plans,
            key=lambda slack: (self._waste(plans[slack]) > _WASTE or len(plans[slack]) > most, len(plans[slack])),
        )

    def _cut(self, slack: float, held: Lengths | None = None) -> list[Lengths]:
        """Parts of the pairs, each of them a batch."""
        held = np.arange(len(self.sources)) if held is None else held
        if not len(held):
            return []
        shares = np.full(len(self.sources), 1 / self.rows if self.rows else 0.0)  # of a batch, by what fills it
        if self.tokens is not None:
            shares = np.maximum(shares, np.minimum(slack * (self.sources + self.targets) / self.tokens, 1.0))
        alone = self.tokens is None and self.rows is not None
        count = -(-len(held) // self.rows) if alone and self.rows else int(np.ceil(shares[held].sum() - 1e-9))
        parts: list[Lengths] = []
        waiting = [(held, count)]
        while waiting:
            part, count = waiting.pop()
            if len(part) == 1 or (count <= 1 and self._fits(part)):
                parts.append(part)
                continue
            count = max(2, count)
            source, target = self.sources[part], self.targets[part]
            by_source = (source.max() - source).sum() >= (target.max() - target).sum()
            part = part[np.lexsort((target, source) if by_source else (source, target))]
            left = count // 2
            if alone and self.rows:
                place = left * self.rows
            else:
                sums = np.cumsum(shares[part])
                place = int(np.searchsorted(sums, sums[-1] * left / count, side="right"))
                if self.rows is not None:  # each side has rows for as many batches as it will be
                    place = min(max(place, len(part) - (count - left) * self.rows), left * self.rows)
            place = min(max(1, place), len(part) - 1)
            waiting += [(part[place:], count - left), (part[:place], left)]
        return parts

    def _fits(self, part: Lengths) -> bool:
        if self.rows is not None and len(part) > self.rows:
            return False
        return (
            self.tokens is None or len(part) * int(self.sources[part].max() + self.targets[part].max()) <= self.tokens
        )
