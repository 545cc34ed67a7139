"""The score of every generated token, out of the scores of every step."""

from collections.abc import Sequence

import torch
from torch import Tensor

from seqgraft.errors import GenerationError


def transition_scores(
    sequences: Tensor, scores: Sequence[Tensor], beam_indices: Tensor | None = None, normalize_logits: bool = False
) -> Tensor:
    """sequences [rows, time], scores [batch rows, vocab] of every step -> [rows, steps].

    `beam_indices [rows, steps]`: the batch row that each token was chosen from, -1 after the end, where the score is 0;
    without them every row goes on from itself. `normalize_logits` makes each step's scores log-probabilities first.
    """
    if not scores:
        raise GenerationError(
            "`scores` must have one tensor a step, but is empty: generate with `output_scores=True` and "
            "`return_dict_in_generate=True`."
        )
    steps = torch.stack(tuple(scores))  # [steps, batch rows, vocab]
    if normalize_logits:
        steps = steps.log_softmax(dim=-1)
    if beam_indices is None:
        beam_indices = torch.arange(steps.shape[1], device=sequences.device)[:, None].expand(-1, len(steps))
    longest = int((beam_indices >= 0).sum(dim=-1).max())
    rows = beam_indices[:, :longest].long()
    tokens = sequences[:, sequences.shape[1] - longest :]
    chosen = steps[torch.arange(longest, device=rows.device), rows.clamp(min=0), tokens]
    return chosen.masked_fill(rows < 0, 0.0)
