"""Checkpoint files -> the parameters of a stack that was built without memory."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from seqgraft.checkpoints import WeightFiles
from seqgraft.checkpoints.matching import Match
from seqgraft.families.naming import Piece
from seqgraft.spec import parameters
from seqgraft.torch.initial import initialise
from seqgraft.torch.pretrained import place
from seqgraft.torch.stack import Stack
from seqgraft.torch.weights import DTYPES, TorchReader


@dataclass
class Filling:
    """One stack, where its tensors are in the files, and which of them it makes itself."""

    stack: Stack
    match: Match
    carried: dict[str, Tensor] = field(default_factory=dict)

    def fill(self, reader: TorchReader, dtype: torch.dtype, device: torch.device) -> None:
        """Give every parameter its memory: a map of the file, what was read, or fresh weights."""
        for name, piece in self.match.plan.pieces.items():
            place(self.stack, name, reader.tensor(piece).to(device=device, dtype=dtype))
        table, made = parameters(self.stack.spec), self.match.made
        for name in made:
            place(self.stack, name, torch.empty(table[name], dtype=dtype, device=device))
        initialise(self.stack, made)
        for name, source in self.match.plan.carried.items():
            self.carried[name] = reader.tensor(Piece(source)).to(device=device, dtype=dtype)
        self.stack.tie()
        self.match.check_copies(reader.files)


def dtype_of(files: WeightFiles) -> torch.dtype:
    """The floating type of a checkpoint: that of most of its tensors."""
    count: dict[str, int] = {}
    for header in files.headers.values():
        if DTYPES[header.dtype].is_floating_point:
            count[header.dtype] = count.get(header.dtype, 0) + header.size
    return DTYPES[max(count, key=lambda name: count[name])] if count else torch.float32
