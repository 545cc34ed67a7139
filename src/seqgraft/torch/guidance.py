"""Classifier-free guidance: what the source makes likelier, made likelier still.

Sanchez et al. 2023, "Stay on topic with Classifier-Free Guidance" (https://arxiv.org/abs/2306.17806), equation 7, on
log-probabilities: scale * (conditional - unconditional) + unconditional. The unconditional branch of a pair reads a
source of `negative_prompt_ids`, or nothing: one state of zeros, as the encoder-decoder of MusicGen has it (Copet et
al. 2023, https://arxiv.org/abs/2306.05284). That of a decoder alone starts from `negative_prompt_ids`, or, as in the
field, from the prompt's last token.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.generation.outputs import BaseModelOutput
from seqgraft.torch.generate_source import Source
from seqgraft.torch.processors import LogitsProcessor
from seqgraft.torch.search import Decoder, State, Step
from seqgraft.torch.search_prompt import Prompt, inferred_mask, moved


@dataclass
class GuidedState:
    """Both branches of one generation."""

    conditional: State
    unconditional: State

    @property
    def cache(self) -> Any:
        """The conditional branch's, as an output has it."""
        return getattr(self.conditional, "cache", None)


class Guided:
    """A decoder that runs its unconditional branch along; `log_probs [rows, vocab]` are that branch's newest."""

    def __init__(self, decoder: Decoder, prompt: Tensor) -> None:
        """prompt [sources, time]: where the unconditional branch starts."""
        self.decoder, self.prompt = decoder, prompt
        self.log_probs: Tensor | None = None

    def step(self, ids: Tensor, state: GuidedState) -> tuple[Step, GuidedState]:
        """Append ids [rows, new] to both branches, in the first step the prompts; the conditional one's result."""
        step, conditional = self.decoder.step(ids, state.conditional)
        other, unconditional = self.decoder.step(self.prompt if self.log_probs is None else ids, state.unconditional)
        self.log_probs = other.logits.float().log_softmax(dim=-1)
        return step, GuidedState(conditional, unconditional)

    def reorder(self, state: GuidedState, rows: Tensor) -> GuidedState:
        """As the decoder's."""
        return self._both(self.decoder.reorder, state, rows)

    def spread(self, state: GuidedState, times: int, *, mixing: bool = True) -> GuidedState:
        """As the decoder's; before the first step, the prompts are spread too."""
        if self.log_probs is None:
            self.prompt = self.prompt.repeat_interleave(times, dim=0)
        return self._both(self.decoder.spread, state, times, mixing=mixing)

    def keep(self, state: GuidedState, rows: Tensor) -> GuidedState:
        """As the decoder's."""
        return self._both(self.decoder.keep, state, rows)

    def forget(self, state: GuidedState, counts: Tensor) -> GuidedState:
        """As the decoder's."""
        return self._both(self.decoder.forget, state, counts)

    def score(self, ids: Tensor, state: GuidedState) -> tuple[Tensor, GuidedState]:
        """Drafts are not scored with guidance: `guidance_scale` excludes assisted generation."""
        raise GenerationError("`guidance_scale` needs `assistant_model` and `prompt_lookup_num_tokens` to be None.")

    @staticmethod
    def _both(change: Callable[..., State], state: GuidedState, *arguments: Any, **named: Any) -> GuidedState:
        return GuidedState(*(change(s, *arguments, **named) for s in (state.conditional, state.unconditional)))


class GuidanceLogitsProcessor(LogitsProcessor):
    """scale * (log_softmax(scores) - unconditional) + unconditional; the first of the processors, as in the field."""

    def __init__(self, guidance_scale: float, guided: Guided) -> None:
        self.guidance_scale, self.guided = guidance_scale, guided

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        other = self.guided.log_probs
        if other is None or len(scores) % len(other):
            have = 0 if other is None else len(other)
            raise GenerationError(f"Guidance needs a multiple of {have} rows of scores, but got {len(scores)}.")
        other = other.repeat_interleave(len(scores) // len(other), dim=0)  # after a prompt: one row a source
        return self.guidance_scale * (scores.log_softmax(dim=-1) - other) + other


def unconditional_source(
    encode: Callable[..., BaseModelOutput], source: Source, ids: Tensor | None, mask: Tensor | None, pad: int | None
) -> Source:
    """What the unconditional branch of a pair reads: ids [sources or 1, time], or nothing at all."""
    states = source.outputs.last_hidden_state
    if ids is None:
        return Source(BaseModelOutput(torch.zeros_like(states[:, :1])), None, source.sources)
    ids = _for_all(ids, source.sources).to(states.device)
    mask = inferred_mask(ids, pad, ()) if mask is None else _for_all(mask, source.sources).to(states.device)
    return Source(encode(input_ids=ids, attention_mask=mask), mask, source.sources)


def unconditional_prompt(prompt: Prompt, ids: Tensor | None, mask: Tensor | None) -> Prompt:
    """Where the unconditional branch of a decoder alone starts: ids [sources or 1, time], or the last token."""
    if ids is None:
        return Prompt(prompt.ids[:, -1:], None)
    device = prompt.ids.device
    mask = moved(mask, device)
    return Prompt(_for_all(ids.to(device), len(prompt.ids)), None if mask is None else _for_all(mask, len(prompt.ids)))


def _for_all(value: Tensor, sources: int) -> Tensor:
    if len(value) not in (1, sources):
        raise GenerationError(f"`negative_prompt_ids` must have 1 row or {sources}, but has {len(value)}.")
    return value.expand(sources, -1)
