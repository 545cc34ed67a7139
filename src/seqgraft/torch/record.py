"""What a call of a stack brings of an encoder, and what it is asked to keep."""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Record:
    """What a call is asked to keep of its way: states before each layer and after the last, and attentions."""

    states: list[Tensor] | None = None
    attentions: list[Tensor] | None = None
    cross_attentions: list[Tensor] | None = None
    ahead: list[Tensor] | None = None
    """The last states of the streams that look ahead, where there are some [rows, streams, time, width]."""

    @classmethod
    def asked(cls, states: bool, attentions: bool) -> "Record":
        """A record of what is asked for, and of nothing else."""
        return cls([] if states else None, [] if attentions else None, [] if attentions else None)


@dataclass
class Memory:
    """An encoder's states [sources, time, width] and which of them may be seen [sources, time]."""

    states: Tensor | None = None
    mask: Tensor | None = None
