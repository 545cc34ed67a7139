"""Attention to a few blocks of a long text (BigBird, Zaheer et al. 2020)."""

from dataclasses import dataclass

from seqgraft.spec.checks import at_least


@dataclass(frozen=True)
class BlockSparse:
    """Each block sees itself, its neighbours, the first and the last block, and some others, which training draws
    anew for each head and layer; the first and the last block see everything. No probability is dropped.

    As published, nothing is drawn outside training: the first block then stands for each that would have been, and
    so counts as often in the sums of the softmax. The last block is that in which the text, filled up, ends.
    """

    block: int
    """Tokens of a block."""
    drawn: int
    """How many blocks are drawn for each."""
    planned: int
    """Length for which blocks are drawn, of texts that fill 1024, 3072 or 4096 tokens (the paper's old plan)."""

    def __post_init__(self) -> None:
        at_least("BlockSparse.block", self.block, 1)
        at_least("BlockSparse.drawn", self.drawn, 0)
        at_least("BlockSparse.planned", self.planned, 1)

    @property
    def full(self) -> int:
        """The longest text that sees everything all the same: blocks two global, three near, twice those drawn."""
        return (5 + 2 * self.drawn) * self.block
