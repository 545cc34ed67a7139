"""Greedy search and sampling: every row by itself."""

import torch
from torch import Tensor

from seqgraft.generation.streamers import BaseStreamer
from seqgraft.torch.processors import LogitsProcessorList
from seqgraft.torch.search import Chooser, Decoder, FoundRows, Record, State, drawn, worth_leaving
from seqgraft.torch.stopping import Stopping
from seqgraft.torch.waiting import looking_is_free


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
    filled with `pad_token_id` (without one it runs on), and leaves the batch when nothing is kept of every step and
    nobody else looks at the rows. The host asks the device once a step how many rows are left.
    """
    rows, length = prompt.shape
    ids = prompt.new_full((rows, max(stopping.max_length, length + 1)), pad_token_id or 0)
    ids[:, :length] = prompt
    running = torch.ones(rows, dtype=torch.bool, device=prompt.device)
    ending = stopping.may_stop_early and pad_token_id is not None
    leaving = ending and not (record.keeps or streamer or processors.fixed or stopping.fixed)
    live: Tensor | None = None  # the rows that are left of the batch, where some left
    chooser = decoder if isinstance(decoder, Chooser) and not (sample or processors or record.keeps) else None
    known: Tensor | None = None  # the next tokens, where the decoder chose them
    step, state = decoder.step(prompt, state)
    processors.start()
    while True:
        if known is None:
            logits = step.logits.float()
            raw = logits.clone() if record.want_logits else logits  # a custom processor may write into what it gets
            past = ids[:, :length] if live is None else ids[live, :length]
            scores = processors(past, logits)
            record.take(step, raw, scores)
            tokens = drawn(scores, 1, rows, live).squeeze(1) if sample else scores.argmax(dim=-1)
        else:
            tokens = known
        if ending and pad_token_id is not None:
            tokens = torch.where(running, tokens, pad_token_id)
        if live is None:
            ids[:, length] = tokens
        else:
            ids[live, length] = tokens
        length += 1
        if stopping.may_stop_early:
            running = running & ~stopping.ended(tokens)
            if stopping.others:
                past = ids[:, :length] if live is None else ids[live, :length]
                running = running & ~stopping.asked(past, record.scores_so_far)
        last, left = length >= stopping.max_length, len(tokens)
        if streamer is not None:  # one copy to the host brings the tokens and whether rows are left
            told = torch.cat((tokens, running.any()[None].to(tokens.dtype))).cpu()
            streamer.put(told[:-1])
            last = last or not told[-1]
        elif stopping.may_stop_early and not last:
            left = int(running.sum())
            last = left == 0
        if last:
            break
        if leaving and worth_leaving(left, len(tokens), on_cpu=looking_is_free(tokens)):
            kept = running.nonzero().squeeze(1)
            live = kept if live is None else live[kept]
            state, tokens, running = decoder.keep(state, kept), tokens[kept], running[kept]
            processors.keep(kept)
        if chooser is not None:
            known, state = chooser.best(tokens[:, None], state)
        else:
            step, state = decoder.step(tokens[:, None], state)
    if streamer is not None:
        streamer.end()
    return FoundRows(ids[:, :length].clone(), state)
