"""Greedy search and sampling: every row by itself."""

import torch
from torch import Tensor

from seqgraft.generation.streamers import BaseStreamer
from seqgraft.torch.processors import LogitsProcessorList
from seqgraft.torch.search import Decoder, FoundRows, Record, State
from seqgraft.torch.stopping import Stopping


def search_rows(
    decoder: Decoder,
    state: State,
    prompt: Tensor,
    *,
    processors: LogitsProcessorList,
    stopping: Stopping,
    record: Record,
    sample: bool = False,
    pad_token_id: int | None = None,
    streamer: BaseStreamer | None = None,
) -> FoundRows:
    """Continue prompt [rows, time] until every row has ended.

    `sample` draws each token from the softmax of the processed scores, else it is the best one. A row that ended is
    filled with `pad_token_id` (without one it runs on). The host asks the device once a step whether rows are left.
    """
    rows, length = prompt.shape
    ids = prompt.new_full((rows, max(stopping.max_length, length + 1)), pad_token_id or 0)
    ids[:, :length] = prompt
    new, running = prompt, torch.ones(rows, dtype=torch.bool, device=prompt.device)
    while True:
        step, state = decoder.step(new, state)
        logits = step.logits.float()
        raw = logits.clone() if record.want_logits else logits  # a custom processor may write into what it gets
        scores = processors(ids[:, :length], logits)
        record.take(step, raw, scores)
        if sample:
            tokens = torch.multinomial(scores.softmax(dim=-1), num_samples=1).squeeze(1)
        else:
            tokens = scores.argmax(dim=-1)
        if stopping.may_stop_early and pad_token_id is not None:
            tokens = torch.where(running, tokens, pad_token_id)
        ids[:, length] = tokens
        length += 1
        if stopping.may_stop_early:
            running = running & ~stopping.ended(tokens)
            if stopping.others:
                running = running & ~stopping.asked(ids[:, :length], record.scores_so_far)
        last = length >= stopping.max_length
        if streamer is not None:  # one copy to the host brings the tokens and whether rows are left
            told = torch.cat((tokens, running.any()[None].to(tokens.dtype))).cpu()
            streamer.put(told[:-1])
            last = last or not told[-1]
        elif stopping.may_stop_early and not last:
            last = not running.any()
        if last:
            break
        new = tokens[:, None]
    if streamer is not None:
        streamer.end()
    return FoundRows(ids[:, :length].clone(), state)
