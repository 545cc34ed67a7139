"""Which slots of a cache each row sees, where slot and place in the text are not one and the same.

The rows of one source (its beams) write their keys and values beside each other into one cache, and a table says
whose past each slot is: choosing other beams rewrites the table and moves no key. The same table serves rows that
take back tokens of their own (speculative decoding) and so become of different length.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from seqgraft.spec import Positions

Window = tuple[int, int] | None


@dataclass
class Look:
    """What the new tokens of one call see: `each` rows a source, `time` tokens a row, queries row by row."""

    places: Tensor
    """Of the new tokens in their texts, padding counted, [rows, time]."""
    shade: Tensor
    """Added to the scores: 0 where a slot is seen, [sources, each * time, slots]."""
    keys: Tensor
    """The place of each slot in its text, [sources, slots]."""
    pads: Tensor | None
    """How many tokens before them are padding, [rows, 1]."""
    place: int | None = None
    """Of the one new token of every row, where it is the same and the host knows it."""

    @cached_property
    def distance(self) -> Tensor:
        """Places of the keys minus those of the queries, [sources, each * time, slots]."""
        return self.keys[:, None] - self.places.view(self.shade.shape[0], -1, 1)

    def bias(self, window: Window) -> Tensor:
        """What is added to the scores of a layer with this window, [sources, 1, each * time, slots]."""
        if window is None:
            return self.shade[:, None]
        far = (self.distance < -window[0]) | (self.distance > window[1])
        return self.shade.masked_fill(far, torch.finfo(self.shade.dtype).min / 2)[:, None]

    def rows(self, spec: Positions) -> Tensor:
        """The rows [rows, time] of a table of positions for the new tokens."""
        counted = self.places if spec.counted == "all" or self.pads is None else self.places - self.pads
        return counted + spec.offset


class Seats:
    """The table, for `sources` sources of `each` rows."""

    def __init__(self, sources: int, each: int, used: int, mask: Tensor | None, like: Tensor) -> None:
        """After a prompt of `used` slots, the same for all rows of a source; mask [sources, used] hides its padding.

        `like` tells device and dtype of the scores.
        """
        self.each, self.used, self.longest = each, used, used
        self._hidden = torch.finfo(like.dtype).min / 2
        size = max(2 * used, used + 32 * each)
        self._keys = torch.arange(size, device=like.device).repeat(sources, 1)
        self._shade = like.new_full((sources, each, size), self._hidden)
        self._shade[:, :, :used] = 0.0 if mask is None else (mask[:, None] == 0).to(like.dtype) * self._hidden
        self._next: Tensor | None = None
        """The place of each row's next token [sources, each]; None while it is `longest` for all of them."""
        pads = None if mask is None else (mask == 0).sum(-1)
        self._pads = pads[:, None].expand(sources, each) if pads is not None else None
        self._alone = torch.full((each, each), self._hidden, dtype=like.dtype, device=like.device)
        self._alone.fill_diagonal_(0.0)
        self._look_again = size

    def advance(self, time: int) -> Look:
        """Seat `time` new tokens of every row after all that is there, and say what they see."""
        new = self.each * time
        self._room(new)
        start, end = self.used, self.used + new
        if self.each > 1 and time > 1:
            raise ValueError("Rows that share their slots go on one token at a time.")
        pads = None if self._pads is None else self._pads.reshape(-1, 1)
        if time == 1 and self._next is None:
            place, self.used, self.longest = self.longest, end, self.longest + 1
            places = self._keys.narrow(1, start, new).fill_(place).reshape(-1, 1)
            self._shade.narrow(2, start, new).copy_(self._alone)
            return Look(places, self._shade.narrow(2, 0, end), self._keys.narrow(1, 0, end), pads, place)
        following = self._following()
        steps = torch.arange(time, device=following.device)
        places = following[..., None] + steps  # [sources, each, time]
        self._keys[:, start:end] = places.flatten(1)
        if time == 1:
            self._shade[:, :, start:end] = self._alone
            shade = self._shade[:, :, :end]
        else:
            self._shade[:, :, start:end] = 0.0
            later = self._shade.new_full((time, time), self._hidden).triu(1)
            shade = self._shade[:, :, :end].repeat(1, time, 1)
            shade[:, :, start:] = later
        self.used, self._next = end, None if self._next is None else self._next + time
        self.longest += time
        return Look(places.flatten(0, 1), shade, self._keys[:, :end], pads)

    def _following(self) -> Tensor:
        """The place of each row's next token, [sources, each]."""
        if self._next is not None:
            return self._next
        return torch.full((len(self._keys), self.each), self.longest, device=self._keys.device)

    def _room(self, new: int) -> None:
        size = self._keys.shape[1]
        if self.used + new <= size:
            return
        more = max(size, self.used + new - size)
        self._keys = torch.nn.functional.pad(self._keys, (0, more))
        self._shade = torch.nn.functional.pad(self._shade, (0, more), value=self._hidden)

    def reorder(self, rows: Tensor) -> None:
        """Row i continues what row rows[i] was, of the same source."""
        parents = rows.view(-1, self.each) % self.each
        index = parents[..., None].expand(-1, -1, self.used)
        self._shade[:, :, : self.used] = self._shade[:, :, : self.used].gather(1, index)
        if self._next is not None:
            self._next = self._next.gather(1, parents)

    def forget(self, counts: Tensor) -> None:
        """Row r takes back its last counts[r] tokens, [rows]."""
        self._next = self._following() - counts.view(-1, self.each)
        gone = self._keys[:, None, : self.used] >= self._next[..., None]
        self._shade[:, :, : self.used].masked_fill_(gone, self._hidden)
        self.longest = int(self._next.max())

    def live(self, *, now: bool = False) -> Tensor | None:
        """The slots [sources, count] that some row still sees, if moving them together is worth it; else None.

        Called when keys may be moved: the table then counts on it. Looks at the table only once the slots in use have
        grown by half, or when it is told to, so that it costs next to nothing a step.
        """
        if self.used < self._look_again and not now:
            return None
        seen = (self._shade[:, :, : self.used] == 0).any(1)
        count = max(int(seen.sum(-1).max()), 1)
        worth = self.used - count >= max(count // 2, 8 * self.each)
        self._look_again = (count if worth else self.used) + max(count // 2, 16 * self.each)
        if not worth:
            return None
        slots = torch.sort(~seen, dim=1, stable=True).indices[:, :count]
        self._keys[:, :count] = self._keys[:, : self.used].gather(1, slots)
        kept = self._shade[:, :, : self.used].gather(2, slots[:, None].expand(-1, self.each, -1))
        self._shade[:, :, :count] = kept
        self._shade[:, :, count : self.used] = self._hidden
        self.used = count
        return slots

    def table(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """The place of each slot in use [sources, used], what is added to its scores [sources, each, used], the place
        of each row's next token and how many tokens before it are padding, both [sources, each]."""
        return self._keys[:, : self.used], self._shade[:, :, : self.used], self._following(), self._pads

    def take_over(self, keys: Tensor, shade: Tensor, following: Tensor) -> None:
        """Go on with a copy of the table that somebody else led, shaped as `table` gives it; `longest` stays."""
        self.used = keys.shape[1]
        self._room(0)
        self._keys[:, : self.used], self._shade[:, :, : self.used] = keys, shade
        self._shade[:, :, self.used :] = self._hidden
        self._next = following.clone()

    def keep(self, sources: Tensor) -> None:
        """Only these sources [left] remain."""
        self._keys, self._shade = self._keys[sources], self._shade[sources]
        if self._next is not None:
            self._next = self._next[sources]
            self.longest = int(self._next.max())
        if self._pads is not None:
            self._pads = self._pads[sources]
