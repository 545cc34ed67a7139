"""Reversible rules between a checkpoint's tensor names and the canonical ones.

Values are never changed: a rule renames, cuts one tensor into several along its rows (`stacked`), or turns a matrix
that is stored (in, out). Read backwards the same rules write the checkpoint, so a round trip is bit-exact.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

Shape = tuple[int, ...]

GRAFT = "graft."
"""Before the canonical names of tensors for which a family has no published name."""

_LEGACY_LEAVES = {"gamma": "weight", "beta": "bias"}


@dataclass(frozen=True)
class Rule:
    """Their module (or, when `exact`, their tensor) is ours, or is several of ours stacked along the first axis."""

    theirs: str
    ours: tuple[str, ...]
    turned: bool = False
    """The matrix is stored (in, out); canonical linear weights are (out, in)."""
    exact: bool = False
    """The names are those of tensors, not of modules with a weight and a bias."""
    outside: bool = False
    """The module stands beside the body (a language-model head), so the body's prefix is not put before it."""
    blocks: int = 1
    """Into how many equal blocks of rows each of ours is cut; theirs has all first blocks, then all second ones, ..."""
    experts: int = 0
    """When not 0, theirs has one axis more, in front, and ours are named once for each entry of it, with `{e}`."""
    heads: int = 0
    """When not 0, the last axis of a matrix is two in theirs: so many heads, and a head's numbers."""

    def targets(self, layer: str, leaf: str) -> tuple[str, ...]:
        """Canonical tensor names for one layer and leaf, expert after expert."""
        return tuple(
            _fill(ours.replace("{e}", str(e)), layer, leaf) for e in range(self.experts or 1) for ours in self.ours
        )

    def source(self, layer: str, leaf: str) -> str:
        """The checkpoint's tensor name for one layer and leaf, without the body's prefix."""
        return _fill(self.theirs, layer, leaf)

    def match(self, name: str) -> tuple[str, str] | None:
        """(layer, leaf) when `name` is one of this rule's tensors."""
        found = _pattern(self.theirs, self.exact).fullmatch(name)
        if found is None:
            return None
        parts = found.groupdict()
        return parts.get("layer") or "", parts.get("leaf") or ""


def rename(theirs: str, ours: str, *, outside: bool = False) -> Rule:
    """A module of another name; `{i}` stands for the layer's number."""
    return Rule(theirs, (ours,), outside=outside)


def tensor(theirs: str, ours: str, *, outside: bool = False) -> Rule:
    """A single tensor of another name, leaf and all."""
    return Rule(theirs, (ours,), exact=True, outside=outside)


def stacked(theirs: str, *ours: str, turned: bool = False, blocks: int = 1) -> Rule:
    """Several of our modules in one of theirs, one after the other along the output axis, or block by block of them.

    A head's query, key and value that stand together are as many blocks as there are heads (GPT-NeoX).
    """
    return Rule(theirs, ours, turned=turned, blocks=blocks)


def experts(theirs: str, *ours: str, count: int, turned: bool = False, blocks: int = 1) -> Rule:
    """One tensor of all experts: ours, with `{e}` for the expert's number, are stacked as in `stacked`."""
    return Rule(theirs, ours, turned=turned, exact=True, blocks=blocks, experts=count)


def by_heads(theirs: str, ours: str, heads: int, *, turned: bool = False) -> Rule:
    """A single tensor [in, heads, head width] when it is turned, else [out, heads, head width] (XLNet)."""
    return Rule(theirs, (ours,), turned=turned, exact=True, heads=heads)


def turned(theirs: str, ours: str) -> Rule:
    """A module whose matrix is stored (in, out)."""
    return Rule(theirs, (ours,), turned=True)


@dataclass(frozen=True)
class Names:
    """How one half's checkpoint names its tensors."""

    rules: tuple[Rule, ...]
    prefix: str = ""
    """Before the body's names in the file of the class with a head; the file of the bare body leaves it out."""
    dropped: tuple[str, ...] = ()
    """Regular expressions of names that hold no parameter of this half (buffers, the other half, other heads)."""
    carried: tuple[str, ...] = ()
    """Regular expressions of names that no computation here uses, kept and written back as they are (a pooler)."""
    ties: tuple[tuple[str, str], ...] = ()
    """(copy, owner): tensors, by their full names in the headed file, that the model shares; copies are not written.
    A copy that is carried need not be equal, since nothing computes with it; without one of its own it is written."""

    def carries(self, name: str) -> bool:
        """Whether a tensor of this name, without the body's prefix, is kept as it is."""
        return any(re.search(pattern, name) for pattern in self.carried)

    def placed(self, name: str, headed: bool) -> str:
        """Where a carried tensor, known by its full name, stands in the file of the headed class or the bare body's."""
        return name if headed else _bare(name, self)


@dataclass(frozen=True)
class Piece:
    """Where one canonical tensor is found: rows `start:stop` of a source tensor after turning, all of it if None."""

    source: str
    turned: bool = False
    rows: tuple[int, int] | None = None
    blocks: int = 1
    """The source is this many equal blocks, and `rows` are those of each."""
    expert: int | None = None
    """Entry of the source's first axis; the rest holds for what is left."""
    heads: bool = False
    """Whether the source's last two axes are one of the matrix."""


@dataclass(frozen=True)
class Plan:
    """What reading a checkpoint's headers came to. Names of `source` tensors are the file's own."""

    pieces: dict[str, Piece]
    carried: dict[str, str]
    """full name in the headed file -> source tensor"""
    copies: tuple[tuple[str, str], ...]
    """(copy, owner) source tensors that are both in the file and must be equal, since the model ties them"""
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[tuple[str, Shape, Shape], ...]
    """(source tensor, shape it must have, shape it has)"""


@dataclass(frozen=True)
class Written:
    """One tensor of a file to write: these canonical tensors stacked on the first axis, then turned.

    `blocks`, `experts` and `heads` are the rule's: the parts of each expert come in a row.
    """

    name: str
    parts: tuple[str, ...]
    turned: bool = False
    repeated: bool = False
    """Whether another tensor of the file holds the same values."""
    blocks: int = 1
    experts: int = 0
    heads: int = 0


def plan_reading(names: Names, found: Mapping[str, Shape], table: Mapping[str, Shape], start: str = "") -> Plan:
    """Match the tensors whose names begin with `start` against the canonical `table`.

    The file may be the headed class's or the bare body's, and may use the old leaf names gamma and beta.
    """
    seen: dict[str, str] = {}
    unexpected: list[str] = []
    for name in found:
        if name.startswith(start):
            modern = _modern(name[len(start) :])
            if seen.setdefault(modern, name) != name:
                unexpected.append(name)
    bare = not names.prefix or not any(n.startswith(names.prefix) for n in seen)
    stands_for, duplicates = _elect(names, seen, bare)
    pieces: dict[str, Piece] = {}
    carried: dict[str, str] = {}
    copies: list[tuple[str, str]] = []
    misshapen: list[tuple[str, Shape, Shape]] = []
    for name, source in seen.items():
        if name in duplicates:
            copies.append((source, seen[duplicates[name]]))
            continue
        name = stands_for.get(name, name)
        short = _bare(name, names)
        if name.startswith(GRAFT):
            claimed = _claim_graft(name, source, found[source], table, pieces, misshapen)
        else:
            claimed = _claim(names.rules, short, source, found[source], table, pieces, misshapen)
        if claimed:
            continue
        if names.carries(short):
            carried[names.prefix + name if bare else name] = source
        elif not any(re.search(pattern, short) for pattern in names.dropped):
            unexpected.append(source)
    wrong = {source for source, _, _ in misshapen}
    missing = tuple(n for n in table if n not in pieces and not _stands_in(n, wrong, names, start))
    return Plan(pieces, carried, tuple(copies), missing, tuple(unexpected), tuple(misshapen))


def plan_writing(names: Names, canonical: Mapping[str, Shape], *, headed: bool) -> list[Written]:
    """The file's tensors for the canonical ones, in their order; what no rule names goes under `graft.`."""
    written: dict[str, Written] = {}
    done: set[str] = set()
    prefix = names.prefix if headed else ""
    tied = {copy for copy, _ in names.ties}
    for rule in names.rules:
        for layer, leaf in _places(rule, canonical):
            parts = rule.targets(layer, leaf)
            if any(part not in canonical or part in done for part in parts):
                continue  # the first rule that names a tensor writes it: the others only read
            name = ("" if rule.outside else prefix) + rule.source(layer, leaf)
            turn = rule.turned and len(canonical[parts[0]]) == 2
            done.update(parts)
            if name not in tied:
                written[parts[0]] = Written(
                    name, parts, turn, blocks=rule.blocks, experts=rule.experts, heads=rule.heads
                )
    for part in canonical:
        if part not in done:
            written[part] = Written(GRAFT + part, (part,))
    owners = {one.name: one.parts for one in written.values()}
    idle = [
        Written(copy, owners[owner], repeated=True)
        for copy, owner in names.ties
        if names.carries(copy) and owner in owners
    ]
    return [written[part] for part in canonical if part in written] + idle


def _elect(names: Names, seen: Mapping[str, str], bare: bool) -> tuple[dict[str, str], dict[str, str]]:
    """Of tensors that the model ties, the one to read.

    Returns (stored copy -> the absent owner that it stands for, superfluous copy -> the stored tensor it must equal).
    """
    stands_for: dict[str, str] = {}
    duplicates: dict[str, str] = {}
    elected: dict[str, str] = {}
    for copy, owner in names.ties:
        if bare:
            copy, owner = _bare(copy, names), _bare(owner, names)
        if copy not in seen:
            continue
        if owner in seen:
            if not names.carries(copy):
                duplicates[copy] = owner
        elif owner in elected:
            duplicates[copy] = elected[owner]
        else:
            elected[owner] = copy
            stands_for[copy] = owner
    return stands_for, duplicates


def _claim(
    rules: tuple[Rule, ...],
    name: str,
    source: str,
    shape: Shape,
    table: Mapping[str, Shape],
    pieces: dict[str, Piece],
    misshapen: list[tuple[str, Shape, Shape]],
) -> bool:
    """Give `source` to the canonical tensors that a rule says it is; False when nothing wants it."""
    for rule in rules:
        place = rule.match(name)
        if place is None:
            continue
        parts = rule.targets(*place)
        if any(part not in table for part in parts):
            continue
        turn = rule.turned and len(table[parts[0]]) == 2
        each = parts[: len(rule.ours)]
        rows = [table[part][0] // rule.blocks for part in each]
        must = (sum(rows) * rule.blocks, *table[parts[0]][1:])
        must = must[::-1] if turn else must
        must = (rule.experts, *must) if rule.experts else must
        must = (*must[:-1], rule.heads, must[-1] // rule.heads) if rule.heads else must
        if must != tuple(shape):
            misshapen.append((source, must, tuple(shape)))
            return True
        if any(part in pieces for part in parts):
            return False
        for e in range(rule.experts or 1):
            at = 0
            for part, count in zip(parts[e * len(each) :], rows, strict=False):
                span = (at, at + count) if len(each) > 1 else None
                pieces[part] = Piece(source, turn, span, rule.blocks, e if rule.experts else None, bool(rule.heads))
                at += count
        return True
    return False


def _claim_graft(
    name: str,
    source: str,
    shape: Shape,
    table: Mapping[str, Shape],
    pieces: dict[str, Piece],
    misshapen: list[tuple[str, Shape, Shape]],
) -> bool:
    part = name[len(GRAFT) :]
    if part not in table:
        return False
    if table[part] != tuple(shape):
        misshapen.append((source, table[part], tuple(shape)))
    else:
        pieces[part] = Piece(source)
    return True


def _stands_in(canonical: str, wrong: set[str], names: Names, start: str) -> bool:
    """Whether a missing canonical tensor is there under another shape, and so is listed once already."""
    for source in wrong:
        short = _bare(_modern(source[len(start) :]), names)
        if short == GRAFT + canonical:
            return True
        for rule in names.rules:
            place = rule.match(short)
            if place is not None and canonical in rule.targets(*place):
                return True
    return False


def _places(rule: Rule, canonical: Mapping[str, Shape]) -> Iterator[tuple[str, str]]:
    """The (layer, leaf) pairs for which the first of the rule's canonical tensors exists."""
    pattern = _pattern(rule.ours[0].replace("{e}", "0"), rule.exact)
    for name in canonical:
        found = pattern.fullmatch(name)
        if found is not None:
            parts = found.groupdict()
            yield parts.get("layer") or "", parts.get("leaf") or ""


def _bare(name: str, names: Names) -> str:
    return name[len(names.prefix) :] if names.prefix and name.startswith(names.prefix) else name


def _modern(name: str) -> str:
    head, _, leaf = name.rpartition(".")
    return f"{head}.{_LEGACY_LEAVES[leaf]}" if head and leaf in _LEGACY_LEAVES else name


def _fill(name: str, layer: str, leaf: str) -> str:
    name = name.replace("{i}", layer)
    return f"{name}.{leaf}" if leaf else name


@lru_cache(maxsize=4096)
def _pattern(name: str, exact: bool) -> re.Pattern[str]:
    body = re.escape(name).replace(r"\{i\}", r"(?P<layer>\d+)")
    return re.compile(body if exact else body + r"\.(?P<leaf>weight|bias)")
