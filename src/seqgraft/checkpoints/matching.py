"""A configuration and the headers of its weight files -> where each tensor of a half is, and which must be made."""

import dataclasses
import logging
import math
import os
from collections.abc import Mapping
from typing import Literal

from seqgraft.checkpoints.check import problems
from seqgraft.checkpoints.files import WeightFiles
from seqgraft.errors import CheckpointError
from seqgraft.families import PretrainedConfig, family, graft_table
from seqgraft.families.naming import Names, Plan, plan_reading
from seqgraft.spec import Stack, parameters

logger = logging.getLogger("seqgraft")

Side = Literal["encoder", "decoder"]


@dataclasses.dataclass(frozen=True)
class Match:
    """One half, where its tensors are in the files, and which of them may be missing."""

    spec: Stack
    names: Names
    plan: Plan
    fresh: tuple[str, ...] = ()
    """Canonical names of what may be missing, and is then made: a graft, a head."""

    @property
    def made(self) -> list[str]:
        """The canonical names of what the files lack."""
        return [name for name in self.plan.missing if name not in self.plan.pieces]

    def problems(self, files: WeightFiles) -> list[str]:
        """Everything that keeps the files from filling the half."""
        return problems(self.plan, fresh=self.fresh, files=files)

    def check_copies(self, files: WeightFiles) -> None:
        """Copies in the file must be equal to what they are tied to: a difference would be lost in silence."""
        for copy, owner in self.plan.copies:
            if not files.same(copy, owner):
                raise CheckpointError(
                    f"'{copy}' and '{owner}' must be equal, since the configuration ties them (tie_word_embeddings), "
                    "but they differ. Pass tie_word_embeddings=False to load both."
                )


def match_half(
    config: PretrainedConfig,
    side: Side,
    files: WeightFiles,
    start: str = "",
    graft: Mapping[str, tuple[int, ...]] | None = None,
) -> Match:
    """Match one half's table of tensors against the files' names that begin with `start`.

    What may be missing: the `graft` (of a decoder, what it has because it sees an encoder, unless given), and the head
    of a checkpoint that has no tensor of any head.
    """
    declared = family(config.model_type).half(side)
    spec, names = declared.spec(config), declared.names(config)
    if graft is None:
        graft = graft_table(family(config.model_type), config) if side == "decoder" else {}
    table = parameters(spec)
    plan = plan_reading(names, files.shapes, table, start)
    fresh = [name for name in plan.missing if name in graft]
    head = [name for name in table if name.startswith("head.")]
    if not any(name in plan.pieces for name in head) and not any(_of_head(s[0]) for s in plan.misshapen):
        fresh += head
    return Match(spec, names, plan, tuple(fresh))


def _of_head(source: str) -> bool:
    return "cls." in source or "lm_head" in source


def settle_ties(config: PretrainedConfig, files: WeightFiles, start: str = "") -> None:
    """Let the file say whether the output table is tied, in the families whose configuration does not."""
    output = family(config.model_type).output_table
    if output is None:
        return
    names = family(config.model_type).half("decoder").names(config)
    tables = [start + name for tie in names.ties for name in reversed(tie) if name != output]
    tables = [name for name in tables if name in files.headers]
    if start + output not in files.headers:
        config._output_tied = config.tie_word_embeddings or bool(tables)
    elif tables and not files.same(start + output, tables[0]):
        config._output_tied = False


def tell_fresh(what: str, source: str | os.PathLike[str], match: Match) -> None:
    """Say in one line which weights are new and wait for training."""
    made = [name for name in match.plan.missing if name in match.fresh]
    if made:
        table = parameters(match.spec)
        parts = sorted({_part(name) for name in made})
        logger.warning(
            "%s of %s: %s %s new (%s parameters) and must be trained.",
            what,
            os.fspath(source),
            " and ".join(parts),
            "is" if len(parts) == 1 else "are",
            f"{sum(math.prod(table[name]) for name in made):,}",
        )


def _part(name: str) -> str:
    return "the language-model head" if name.startswith("head.") else "the cross-attention"
