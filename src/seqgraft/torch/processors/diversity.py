"""What the groups of a diverse beam search hold against each other."""

import torch
from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.torch.processors.base import LogitsProcessor


class HammingDiversityLogitsProcessor(LogitsProcessor):
    """Lowers a token by `diversity_penalty` for every beam of an earlier group that chose it at this step."""

    def __init__(self, diversity_penalty: float, num_beams: int, num_beam_groups: int) -> None:
        if not diversity_penalty > 0:
            raise GenerationError(f"`diversity_penalty` must be more than 0, but is {diversity_penalty!r}.")
        if num_beam_groups < 2 or num_beams % num_beam_groups:
            raise GenerationError(
                f"`num_beam_groups` must be at least 2 and divide `num_beams` ({num_beams}), but is {num_beam_groups}."
            )
        self.diversity_penalty = float(diversity_penalty)
        self.num_beams, self.size = num_beams, num_beams // num_beam_groups

    def __call__(  # type: ignore[override]
        self, input_ids: Tensor, scores: Tensor, current_tokens: Tensor, beam_group_idx: int
    ) -> Tensor:
        """scores [rows, vocab] of the group's rows, or of all rows: then the other groups' are not looked at.

        `current_tokens [sources * num_beams]`: what the earlier groups chose; the later places do not count.
        """
        start, vocab = beam_group_idx * self.size, scores.shape[-1]
        if start == 0:
            return scores
        chosen = current_tokens.view(-1, self.num_beams)[:, :start].clamp(max=vocab - 1)
        times = torch.zeros(len(chosen), vocab, dtype=torch.long, device=scores.device)
        times.scatter_add_(1, chosen, torch.ones_like(chosen))
        by_source = scores.view(len(chosen), -1, vocab)
        return (by_source - self.diversity_penalty * times[:, None]).view_as(scores)
