"""Checkpoint files -> the parameters of a stack that was built without memory."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from seqgraft.checkpoints import WeightFiles
from seqgraft.checkpoints.check import problems
from seqgraft.errors import CheckpointError
from seqgraft.families import PretrainedConfig, family
from seqgraft.families.naming import Names, Piece, Plan, plan_reading
from seqgraft.spec import parameters
from seqgraft.torch.initial import initialise
from seqgraft.torch.pretrained import place
from seqgraft.torch.stack import Stack
from seqgraft.torch.weights import DTYPES, TorchReader

logger = logging.getLogger("seqgraft")


@dataclass
class Filling:
    """One stack, where its tensors are in the files, and which of them it makes itself."""

    stack: Stack
    plan: Plan
    fresh: list[str]
    carried: dict[str, Tensor] = field(default_factory=dict)

    def problems(self, files: WeightFiles) -> list[str]:
        """Everything that keeps the files from filling the stack."""
        return problems(self.plan, fresh=self.fresh, files=files)

    def fill(self, reader: TorchReader, dtype: torch.dtype, device: torch.device) -> None:
        """Give every parameter its memory: a map of the file, what was read, or fresh weights."""
        for name, piece in self.plan.pieces.items():
            place(self.stack, name, reader.tensor(piece).to(device=device, dtype=dtype))
        table = parameters(self.stack.spec)
        made = [name for name in self.plan.missing if name not in self.plan.pieces]
        for name in made:
            place(self.stack, name, torch.empty(table[name], dtype=dtype, device=device))
        initialise(self.stack, made)
        for name, source in self.plan.carried.items():
            self.carried[name] = reader.tensor(Piece(source)).to(device=device, dtype=dtype)
        self.stack.tie()
        self._check_ties(reader)

    def _check_ties(self, reader: TorchReader) -> None:
        """Copies in the file must be equal to what they are tied to: a difference would be lost in silence."""
        for copy, owner in self.plan.copies:
            if not reader.equal(copy, owner):
                raise _untied(copy, owner)


def _untied(copy: str, owner: str) -> CheckpointError:
    return CheckpointError(
        f"'{copy}' and '{owner}' must be equal, since the configuration ties them (tie_word_embeddings), but they "
        "differ. Pass tie_word_embeddings=False to load both."
    )


def plan_filling(
    stack: Stack, names: Names, files: WeightFiles, start: str, graft: Mapping[str, tuple[int, ...]]
) -> Filling:
    """Match a stack against the files.

    What may be missing, and is then made: the graft, and the head of a checkpoint that has no tensor of any head.
    """
    table = parameters(stack.spec)
    plan = plan_reading(names, files.shapes, table, start)
    fresh = [name for name in plan.missing if name in graft]
    head = [name for name in table if name.startswith("head.")]
    if not any(name in plan.pieces for name in head) and not any(_of_head(s[0]) for s in plan.misshapen):
        fresh += head
    return Filling(stack, plan, fresh)


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


def dtype_of(files: WeightFiles) -> torch.dtype:
    """The floating type of a checkpoint: that of most of its tensors."""
    count: dict[str, int] = {}
    for header in files.headers.values():
        if DTYPES[header.dtype].is_floating_point:
            count[header.dtype] = count.get(header.dtype, 0) + header.size
    return DTYPES[max(count, key=lambda name: count[name])] if count else torch.float32


def tell_fresh(what: str, source: str | os.PathLike[str], filling: Filling) -> None:
    """Say in one line which weights are new and wait for training."""
    made = [name for name in filling.plan.missing if name in filling.fresh]
    if made:
        table = parameters(filling.stack.spec)
        count = sum(torch.Size(table[name]).numel() for name in made)
        parts = sorted({_part(name) for name in made})
        logger.warning(
            "%s of %s: %s %s new (%s parameters) and must be trained.",
            what,
            os.fspath(source),
            " and ".join(parts),
            "is" if len(parts) == 1 else "are",
            f"{count:,}",
        )


def _part(name: str) -> str:
    return "the language-model head" if name.startswith("head.") else "the cross-attention"
