"""How long a row gets, and the tokens that it must begin and end with."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.torch.processors.base import BANNED, LogitsProcessor, as_ids, ids_below, only


class MinLengthLogitsProcessor(LogitsProcessor):
    """Forbids the end tokens until a row, its prompt counted, has `min_length` tokens."""

    def __init__(self, min_length: int, eos_token_id: int | Sequence[int], device: Any = None) -> None:
        self.min_length = min_length
        self.eos_token_id = torch.tensor([i for i in as_ids(eos_token_id) if i >= 0], dtype=torch.long, device=device)
        self._highest = max(as_ids(eos_token_id), default=0)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if input_ids.shape[-1] >= self.min_length:
            return scores
        ends = self.eos_token_id
        if self._highest >= scores.shape[-1]:  # an end token that the output layer does not have
            ends = ends[ends < scores.shape[-1]]
        return scores.index_fill(1, ends, BANNED)


class MinNewTokensLengthLogitsProcessor(MinLengthLogitsProcessor):
    """Forbids the end tokens until `min_new_tokens` tokens follow the prompt."""

    def __init__(
        self, prompt_length_to_skip: int, min_new_tokens: int, eos_token_id: int | Sequence[int], device: Any = None
    ) -> None:
        super().__init__(prompt_length_to_skip + min_new_tokens, eos_token_id, device)
        self.prompt_length_to_skip = prompt_length_to_skip
        self.min_new_tokens = min_new_tokens


class ForcedBOSTokenLogitsProcessor(LogitsProcessor):
    """Forces the token after a prompt of one token."""

    def __init__(self, bos_token_id: int) -> None:
        self.bos_token_id = bos_token_id

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return only(scores, [self.bos_token_id]) if input_ids.shape[-1] == 1 else scores


class ForcedEOSTokenLogitsProcessor(LogitsProcessor):
    """Forces the last token of a row that reaches `max_length`."""

    def __init__(self, max_length: int, eos_token_id: int | Sequence[int], device: Any = None) -> None:
        self.max_length = max_length
        self.eos_token_id = as_ids(eos_token_id)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return only(scores, self.eos_token_id) if input_ids.shape[-1] == self.max_length - 1 else scores


class ExponentialDecayLengthPenalty(LogitsProcessor):
    """Makes the end likelier with every token after `start`: `(start, factor)`, counted from the prompt's end.

    The score of an end token grows by its magnitude times `factor ** (tokens after the start) - 1`.
    """

    def __init__(
        self,
        exponential_decay_length_penalty: Sequence[Any],
        eos_token_id: int | Sequence[int] | Tensor,
        input_ids_seq_length: int,
    ) -> None:
        start, factor = exponential_decay_length_penalty
        self.regulation_start = int(start) + input_ids_seq_length
        self.regulation_factor = float(factor)
        self.eos_token_id = as_ids(eos_token_id)
        if not self.eos_token_id or any(not isinstance(i, int) or i < 0 for i in self.eos_token_id):
            raise GenerationError(f"`eos_token_id` must be ids of at least 0, but is {eos_token_id!r}.")

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        late = input_ids.shape[-1] - self.regulation_start
        if late <= 0:
            return scores
        ends = ids_below(self.eos_token_id, scores.shape[-1], scores.device)
        chosen = scores[:, ends]
        grown = chosen.abs() * (self.regulation_factor**late - 1)
        return scores.index_copy(1, ends, chosen + grown.masked_fill(~chosen.isfinite(), 0.0))
