"""A slow, obvious greedy and beam search: plain loops, one source at a time, numpy numbers.

The published rules (transformers 5.23, `behaviour.md` "Beam search") written as one would explain them; the searches
of every framework are held against it. A table of logits takes the place of a model: what follows depends on the
source and on the last two tokens.
"""

from dataclasses import dataclass, field

import numpy as np

from .oracle_scores import ends, log_softmax, processed


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
    encoder_repetition_penalty: float = 1.0
    encoder_no_repeat_ngram_size: int = 0
    prefix_allowed_tokens_fn: object = None
    remove_invalid_values: bool = False
    exponential_decay_length_penalty: tuple = None
    suppress_tokens: list = None
    begin_suppress_tokens: list = None
    renormalize_logits: bool = False
    stop_strings: list = None
    spelled: list = None
    sources: list = None
    forced_bos_token_id: int = None
    forced_eos_token_id: int = None


def table(seed, sources, vocab):
    """Logits [sources, token before last, last token, vocab]."""
    return np.random.default_rng(seed).normal(0, 2.0, (sources, vocab, vocab, vocab)).astype(np.float32)


def logits_after(table, source, ids):
    return table[source, ids[-2] if len(ids) > 1 else 0, ids[-1]]


def greedy(table, source, o):
    ids = list(o.prompt)
    while len(ids) < o.max_length:
        scores = processed(ids, logits_after(table, source, ids), o, source)
        ids.append(int(np.argmax(scores)))
        if ends(ids, o):
            break
    return ids


def beam(table, source, o):
    """The `returned` best (score, ids, beams chosen from) of one source."""
    running = [(np.float32(0.0 if k == 0 else -1e9), list(o.prompt), []) for k in range(o.beams)]
    finished = []
    while True:
        options = []
        for k, (score, ids, chosen) in enumerate(running):
            after = processed(ids, log_softmax(logits_after(table, source, ids)), o, source)
            options += [(np.float32(s + score), [*ids, token], [*chosen, k]) for token, s in enumerate(after)]
        options.sort(key=lambda option: -option[0])
        options = options[: max(2, 1 + len(o.eos)) * o.beams]
        generated = len(options[0][1]) - len(o.prompt)
        at_limit = len(options[0][1]) >= o.max_length
        running = []
        for rank, (score, ids, chosen) in enumerate(options):
            if at_limit or ends(ids, o):
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
