"""A few tokens, the passes that the preflight makes with them, and how far two results may be apart."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seqgraft.generation.outputs import BaseModelOutput
from seqgraft.spec import Experts, Stack

if TYPE_CHECKING:
    from seqgraft.torch.model import EncoderDecoderModel

_SOURCE, _TARGET, _PADDING = 7, 6, 3
"""Tokens of the longest source and target, and of padding beside them."""
_APART = {torch.float64: 1e-9, torch.float32: 5e-5, torch.float16: 8e-3, torch.bfloat16: 6e-2}
"""How far two results that should be equal may be apart, as a share of the largest logit."""
_MOVED = {torch.float64: 1e-12, torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 4e-3}
"""How far another source must move the logits, likewise."""
_SHUT = 0.1
"""A gate below this hardly lets the encoder through, so it is opened for the checks that look through it."""


@dataclass(frozen=True)
class Probe:
    """A model, and two rows of source and target ids without padding or any other special token inside."""

    model: EncoderDecoderModel
    source: Tensor
    target: Tensor

    @classmethod
    def of(cls, model: EncoderDecoderModel) -> Probe:
        """Ids spread over both vocabularies; the target begins with the start id."""
        config = model.config
        names = ("pad_token_id", "eos_token_id", "decoder_start_token_id", "bos_token_id")
        own = [getattr(config.encoder, name, None) for name in names]
        dropped = getattr(getattr(model.encoder, "spec", None), "token_dropout", None)
        source = _ids(_rows(model.encoder), [*own, dropped and dropped.token], most(model.encoder, _SOURCE), 0)
        target = _ids(_rows(model.decoder), [config.special(n) for n in names], most(model.decoder, _TARGET), 1)
        start, rows = config.special("decoder_start_token_id"), _rows(model.decoder)
        if isinstance(start, int) and 0 <= start < rows:
            target[:, 0] = start
        return cls(model, source.to(model.device), target.to(model.device))

    @property
    def apart(self) -> float:
        """The tolerance of this model's dtype; wider where a rounding may send a token to another expert."""
        halves = (self.model.encoder, self.model.decoder)
        specs = [spec for half in halves if (spec := getattr(half, "spec", None)) is not None]
        routed = any(isinstance(layer.feed_forward, Experts) for spec in specs for layer in spec.layers)
        return _APART.get(self.dtype, 6e-2) * (4 if routed and self.dtype.itemsize == 2 else 1)

    @property
    def moved(self) -> float:
        """The least movement that counts in this model's dtype."""
        return _MOVED.get(self.dtype, 4e-3)

    @property
    def dtype(self) -> torch.dtype:
        """Of the decoder, whose logits are compared."""
        return next(self.model.decoder.parameters()).dtype

    @property
    def shown(self) -> Tensor:
        """The mask of the source: 1; and 2 for the first token where some may see everything, so that all is read."""
        mask = torch.ones_like(self.source)
        if (spec := getattr(self.model.encoder, "spec", None)) is not None and spec.sees_everywhere:
            mask[:, 0] = 2
        return mask

    @torch.no_grad()
    def logits(self, source: Tensor | None = None, target: Tensor | None = None, **inputs: Any) -> Tensor:
        """[rows, time, vocabulary] of one full pass, in float32 or wider; masks say that everything is seen."""
        source = self.source if source is None else source
        target = self.target if target is None else target
        inputs.setdefault("attention_mask", torch.ones_like(source))
        inputs.setdefault("decoder_attention_mask", torch.ones_like(target))
        out = self.model(input_ids=source, decoder_input_ids=target, use_cache=False, return_dict=True, **inputs)
        return wide(out.logits)

    @torch.no_grad()
    def memory(self) -> BaseModelOutput:
        """The encoder's states of the source."""
        return self.model.encode(self.source, torch.ones_like(self.source))


def wide(logits: Tensor) -> Tensor:
    """In float32, or float64 if they are."""
    return logits if logits.dtype is torch.float64 else logits.float()


def difference(one: Tensor, other: Tensor) -> float:
    """The largest difference as a share of the largest number; infinite where one is not a number."""
    if not bool(one.isfinite().all()) or not bool(other.isfinite().all()):
        return float("inf")
    largest = float(torch.maximum(one.abs().max(), other.abs().max()))
    return float((one - other).abs().max()) / largest if largest else 0.0


def gates(model: nn.Module) -> dict[str, nn.Parameter]:
    """The learned scalars that let the encoder through."""
    ends = ("cross_attention.gate", "inserted.gate")
    return {name: parameter for name, parameter in model.named_parameters() if name.endswith(ends)}


@contextlib.contextmanager
def opened(model: nn.Module) -> Iterator[int]:
    """Inside, gates that are shut are open; afterwards they are what they were, bit for bit. Gives their number."""
    shut = {name: gate for name, gate in gates(model).items() if float(gate.detach().abs().max()) < _SHUT}
    before = {name: gate.detach().clone() for name, gate in shut.items()}
    try:
        with torch.no_grad():
            for gate in shut.values():
                gate.fill_(1.0)
        yield len(shut)
    finally:
        with torch.no_grad():
            for name, gate in shut.items():
                gate.copy_(before[name])


def of_gates(count: int) -> str:
    """The words for gates that were opened."""
    return f"; {count} shut gate{'s were' if count > 1 else ' was'} opened for it and shut again" if count else ""


def most(half: nn.Module, wanted: int) -> int:
    """As many tokens as are wanted, unless padding beside them would no longer fit into the table of positions."""
    spec: Stack | None = getattr(half, "spec", None)
    bounds = [] if spec is None else [spec.positions.longest if spec.positions else None]
    bound = min([bound for bound in bounds if bound is not None], default=wanted + _PADDING)
    return max(min(wanted, bound - _PADDING), 2)


def _rows(half: Any) -> int:
    table = half.get_input_embeddings()
    return int(table.weight.shape[0]) if table is not None else 16


def _ids(rows: int, special: list[Any], time: int, phase: int) -> Tensor:
    """Two rows [2, time] of ordinary ids, spread over a table, different at every place if it is large enough."""
    avoid = {one for value in special for one in (value if isinstance(value, (list, tuple)) else [value])}
    spread = sorted({i * rows // 97 for i in range(97)} | set(range(min(rows, 40))))
    usable = [index for index in spread if index not in avoid] or list(range(rows))
    step = max(len(usable) // (2 * time), 1)
    picked = [usable[(phase + place * step) % len(usable)] for place in range(2 * time)]
    return torch.tensor(picked).view(2, time)
