"""Contrastive search: the likely token whose state is least like those of the text so far.

Su et al. 2022, "A Contrastive Framework for Neural Text Generation" (https://arxiv.org/abs/2202.06417), equation 5:
of the `top_k` likeliest tokens v, the one with the highest
(1 - alpha) p(v | text) - alpha max over the text's states s of cos(state of v, s).
"""

import torch
from torch import Tensor

from seqgraft.generation.streamers import BaseStreamer
from seqgraft.torch.processors import LogitsProcessorList
from seqgraft.torch.search import Decoder, FoundRows, Record, State, Step
from seqgraft.torch.stopping import Stopping


def search_contrastive(
    decoder: Decoder,
    state: State,
    prompt: Tensor,
    *,
    penalty_alpha: float,
    top_k: int,
    processors: LogitsProcessorList,
    stopping: Stopping,
    record: Record,
    prompt_mask: Tensor | None = None,
    pad_token_id: int | None = None,
    low_memory: bool = False,
    streamer: BaseStreamer | None = None,
) -> FoundRows:
    """Continue prompt [rows, time] until every row has ended; the decoder's steps must give `hidden_states`.

    The candidates of a row are `top_k` rows of one step; with `low_memory` they are steps of their own, one after the
    other, and the chosen one runs once more. `prompt_mask [rows, time]`: what is 0 is no text.
    """
    rows, length = prompt.shape
    ids = prompt.new_full((rows, max(stopping.max_length, length + 1)), pad_token_id or 0)
    ids[:, :length] = prompt
    running = torch.ones(rows, dtype=torch.bool, device=prompt.device)
    step, state = decoder.step(prompt, state)
    logits, context = step.logits.float(), _directions(step)
    shown = prompt_mask.bool() if prompt_mask is not None else torch.ones_like(prompt, dtype=torch.bool)
    count = min(top_k, logits.shape[1])
    if not low_memory:
        state = decoder.spread(state, count)
    processors.start()
    while True:
        scores = processors(ids[:, :length], logits)
        record.take(step, logits.clone() if record.want_logits else logits, scores)
        likely, tokens = scores.softmax(dim=-1).topk(count)
        if low_memory:
            ahead, state = _one_by_one(decoder, state, tokens)
        else:
            ahead, state = decoder.step(tokens.view(-1, 1), state)
        states = _directions(ahead)[:, -1].view(rows, count, -1)
        alike = (context @ states.transpose(1, 2)).masked_fill(~shown[..., None], torch.finfo(context.dtype).min)
        chosen = ((1.0 - penalty_alpha) * likely - penalty_alpha * alike.amax(dim=1)).argmax(dim=1)  # [rows]
        newest = tokens.gather(1, chosen[:, None])
        if low_memory:
            _, state = decoder.step(newest, state)
        picked = torch.arange(rows, device=prompt.device) * count + chosen
        if not low_memory:
            state = decoder.reorder(state, picked.repeat_interleave(count))
        step, logits = _picked(ahead, picked), ahead.logits[picked].float()
        context = torch.cat((context, states[torch.arange(rows, device=prompt.device), chosen][:, None]), dim=1)
        shown = torch.nn.functional.pad(shown, (0, 1), value=True)
        written = newest.squeeze(1)
        if stopping.may_stop_early and pad_token_id is not None:
            written = torch.where(running, written, pad_token_id)
        ids[:, length] = written
        length += 1
        if stopping.may_stop_early:
            running = running & ~stopping.ended(written)
            if stopping.others:
                running = running & ~stopping.asked(ids[:, :length], record.scores_so_far)
        if streamer is not None:
            streamer.put(written.cpu())
        if length >= stopping.max_length or (stopping.may_stop_early and not running.any()):
            break
    if streamer is not None:
        streamer.end()
    return FoundRows(ids[:, :length].clone(), state)


def _directions(step: Step) -> Tensor:
    """The last layer's states [rows, new, width] at length 1."""
    if not step.hidden_states:
        raise ValueError("Contrastive search needs a decoder that gives `hidden_states`, but this one gives none.")
    last: Tensor = step.hidden_states[-1]
    return torch.nn.functional.normalize(last, dim=2, eps=0.0)


def _one_by_one(decoder: Decoder, state: State, tokens: Tensor) -> tuple[Step, State]:
    """A step for each column of tokens [rows, count], each taken back; as one step of rows * count rows."""
    steps = []
    for column in tokens.unbind(1):
        step, state = decoder.step(column[:, None], state)
        state = decoder.forget(state, torch.ones_like(column))
        steps.append(step)

    def together(values: list[tuple[Tensor, ...] | None]) -> tuple[Tensor, ...] | None:
        layers = [layers for layers in values if layers is not None]
        return tuple(torch.stack(parts, 1).flatten(0, 1) for parts in zip(*layers, strict=True)) if layers else None

    return Step(
        torch.stack([step.logits for step in steps], 1).flatten(0, 1),
        together([step.hidden_states for step in steps]),
        together([step.attentions for step in steps]),
        together([step.cross_attentions for step in steps]),
    ), state


def _picked(step: Step, rows: Tensor) -> Step:
    """The step of some rows."""

    def of(values: tuple[Tensor, ...] | None) -> tuple[Tensor, ...] | None:
        return None if values is None else tuple(value[rows] for value in values)

    return Step(step.logits[rows], of(step.hidden_states), of(step.attentions), of(step.cross_attentions))
