"""A slow, obvious greedy and beam search: plain loops, one source at a time, numpy numbers.

The published rules (transformers 5.23, `behaviour.md` "Beam search") written as one would explain them; the searches
of every framework are held against it. A table of logits takes the place of a model: what follows depends on the
source and on the last two tokens.
"""

import math
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Options:
    beams: int = 1
    returned: int = 1
    max_length: int = 10
    prompt: list = field(default_factory=lambda: [1])
    eos: list = field(default_factory=list)
    pad: int = 0
    length_penalty: float = 1.0
    early_stopping: object = False
    min_length: int = 0
    min_new_tokens: int = 0
    no_repeat_ngram_size: int = 0
    repetition_penalty: float = 1.0
    bad_words_ids: list = None
    sequence_bias: dict = None
    forced_bos_token_id: int = None
    forced_eos_token_id: int = None


def table(seed, sources, vocab):
    """Logits [sources, token before last, last token, vocab]."""
    return np.random.default_rng(seed).normal(0, 2.0, (sources, vocab, vocab, vocab)).astype(np.float32)


def logits_after(table, source, ids):
    return table[source, ids[-2] if len(ids) > 1 else 0, ids[-1]]


def processed(ids, scores, o):
    """The processors in their documented order, a token at a time."""
    scores, vocab = [np.float32(s) for s in scores], len(scores)
    for biases in [o.sequence_bias] if o.sequence_bias else []:
        for sequence, bias in biases.items():
            if list(sequence[:-1]) == (ids[-len(sequence) + 1 :] if len(sequence) > 1 else []):
                scores[sequence[-1]] += np.float32(bias)
    if o.repetition_penalty != 1.0:
        for token in set(ids):
            penalty = np.float32(o.repetition_penalty)
            scores[token] = scores[token] * penalty if scores[token] < 0 else scores[token] / penalty
    n = o.no_repeat_ngram_size
    if n:
        grams = [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]
        for token in range(vocab):
            suffix = ids[-n + 1 :] if n > 1 else []
            if (*suffix, token) in grams:
                scores[token] = -math.inf
    for word in o.bad_words_ids or []:
        if len(word) == 1 and word[0] in o.eos:
            continue
        if word[:-1] == (ids[-len(word) + 1 :] if len(word) > 1 else []):
            scores[word[-1]] = -math.inf
    if len(ids) < o.min_length or len(ids) - len(o.prompt) < o.min_new_tokens:
        for token in o.eos:
            scores[token] = -math.inf
    forced = None
    if o.forced_bos_token_id is not None and len(ids) == 1:
        forced = o.forced_bos_token_id
    if o.forced_eos_token_id is not None and len(ids) == o.max_length - 1:
        forced = o.forced_eos_token_id
    if forced is not None:
        scores = [0.0 if token == forced else -math.inf for token in range(vocab)]
    return scores


def log_softmax(logits):
    shifted = np.asarray(logits, dtype=np.float64) - np.max(logits)
    return (shifted - np.log(np.exp(shifted).sum())).astype(np.float32)


def greedy(table, source, o):
    ids = list(o.prompt)
    while len(ids) < o.max_length:
        scores = processed(ids, logits_after(table, source, ids), o)
        ids.append(int(np.argmax(scores)))
        if ids[-1] in o.eos:
            break
    return ids


def beam(table, source, o):
    """The `returned` best (score, ids, beams chosen from) of one source."""
    running = [(np.float32(0.0 if k == 0 else -1e9), list(o.prompt), []) for k in range(o.beams)]
    finished = []
    while True:
        options = []
        for k, (score, ids, chosen) in enumerate(running):
            after = processed(ids, log_softmax(logits_after(table, source, ids)), o)
            options += [(np.float32(s + score), [*ids, token], [*chosen, k]) for token, s in enumerate(after)]
        options.sort(key=lambda option: -option[0])
        options = options[: max(2, 1 + len(o.eos)) * o.beams]
        generated = len(options[0][1]) - len(o.prompt)
        at_limit = len(options[0][1]) >= o.max_length
        running = []
        for rank, (score, ids, chosen) in enumerate(options):
            if at_limit or ids[-1] in o.eos:
                if rank < o.beams:
                    finished.append((score / generated**o.length_penalty, ids, chosen))
            else:
                running.append((score, ids, chosen))
        finished.sort(key=lambda hypothesis: -hypothesis[0])
        finished = finished[: o.beams]
        if at_limit:
            break
        running = running[: o.beams]
        full = len(finished) == o.beams
        if o.early_stopping is True and full:
            break
        reachable = generated
        if o.early_stopping == "never" and o.length_penalty > 0:
            reachable = o.max_length - len(o.prompt)
        if full and running[0][0] / reachable**o.length_penalty <= finished[-1][0]:
            break
    return finished[: o.returned]
