"""Which pairs stand in which batch: rows of like length together, in an order that a seed gives."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from seqgraft.errors import ConfigurationError

Lengths = np.ndarray[Any, np.dtype[np.int64]]


class BatchPlan(Sampler[list[int]]):
    """The batches of one epoch after the other, each a list of indexes; every pair stands in one batch of an epoch.

    Args:
        sources, targets: the pairs' lengths in tokens.
        tokens: the most tokens of a batch, padding included: rows x (longest source + longest target).
        rows: the most rows of a batch. One of the two must be given; with both, both hold.
        seed: gives the order, together with the epoch.

    A pair that alone is longer than `tokens` is a batch of its own.
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
        self._planned: tuple[int, list[list[int]]] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls it before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches())

    def __len__(self) -> int:
        return len(self.batches())

    def batches(self) -> list[list[int]]:
        """The batches of the epoch that is set.

        Pairs are sorted into buckets of sources of about one length and within a bucket by their targets, up and
        down in turn so that neighbours across a border are alike; ties fall at random. Then batches are cut, and
        shuffled.
        """
        if self._planned is None or self._planned[0] != self.epoch:
            random = np.random.default_rng([self.seed, self.epoch])
            cut = self._cut(self._sorted(random))
            self._planned = self.epoch, [cut[index] for index in random.permutation(len(cut))]
        return self._planned[1]

    def waste(self) -> float:
        """The share of padding in the tokens of all batches, 0 to 1."""
        held = padded = 0
        for batch in self.batches():
            own, other = self.sources[batch], self.targets[batch]
            held += int(own.sum() + other.sum())
            padded += len(batch) * int(own.max() + other.max())
        return 1 - held / padded if padded else 0.0

    def _sorted(self, random: np.random.Generator) -> list[int]:
        order = random.permutation(len(self.sources))
        order = order[np.argsort(self.sources[order], kind="stable")]
        total = int((self.sources + self.targets).sum())
        expected = max(total / self.tokens if self.tokens else 0, len(order) / self.rows if self.rows else 0)
        out: list[int] = []
        for number, bucket in enumerate(np.array_split(order, max(1, round((expected / 2) ** 0.5)))):
            by_target = bucket[np.argsort(self.targets[bucket], kind="stable")]
            out.extend((by_target if number % 2 == 0 else by_target[::-1]).tolist())
        return out

    def _cut(self, order: list[int]) -> list[list[int]]:
        batches: list[list[int]] = []
        source = target = 0
        for index in order:
            own, other = max(source, int(self.sources[index])), max(target, int(self.targets[index]))
            size = len(batches[-1]) + 1 if batches else 1
            full = (self.rows is not None and size > self.rows) or (
                self.tokens is not None and size * (own + other) > self.tokens
            )
            if not batches or full:
                batches.append([])
                own, other = int(self.sources[index]), int(self.targets[index])
            batches[-1].append(index)
            source, target = own, other
        return batches
