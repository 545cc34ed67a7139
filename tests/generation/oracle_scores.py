"""The logits processors and stop strings as one would explain them: a row, a token, a number at a time."""

import math

import numpy as np


def processed(ids, scores, o, source=0):
    """The processors in their documented order; `source` says whose ids are `o.sources[source]`."""
    scores, vocab = [np.float32(s) for s in scores], len(scores)
    for biases in [o.sequence_bias] if o.sequence_bias else []:
        for sequence, bias in biases.items():
            if list(sequence[:-1]) == (ids[-len(sequence) + 1 :] if len(sequence) > 1 else []):
                scores[sequence[-1]] += np.float32(bias)
    if o.encoder_repetition_penalty != 1.0:
        penalize(scores, o.sources[source], 1 / o.encoder_repetition_penalty)
    if o.repetition_penalty != 1.0:
        penalize(scores, ids, o.repetition_penalty)
    if o.no_repeat_ngram_size:
        forbid_repeats(scores, ids, ids, o.no_repeat_ngram_size)
    if o.encoder_no_repeat_ngram_size:
        forbid_repeats(scores, ids, o.sources[source], o.encoder_no_repeat_ngram_size)
    for word in o.bad_words_ids or []:
        if len(word) == 1 and word[0] in o.eos:
            continue
        if word[:-1] == (ids[-len(word) + 1 :] if len(word) > 1 else []):
            scores[word[-1]] = -math.inf
    if len(ids) < o.min_length or len(ids) - len(o.prompt) < o.min_new_tokens:
        for token in o.eos:
            scores[token] = -math.inf
    if o.prefix_allowed_tokens_fn:
        allowed = o.prefix_allowed_tokens_fn(source, ids)
        scores = [score if token in allowed else -math.inf for token, score in enumerate(scores)]
    forced = None
    if o.forced_bos_token_id is not None and len(ids) == 1:
        forced = o.forced_bos_token_id
    if o.forced_eos_token_id is not None and len(ids) == o.max_length - 1:
        forced = o.forced_eos_token_id
    if forced is not None:
        scores = [0.0 if token == forced else -math.inf for token in range(vocab)]
    if o.remove_invalid_values:
        scores = [max(score, np.finfo(np.float32).min) for score in scores]
    if o.exponential_decay_length_penalty:
        start, factor = o.exponential_decay_length_penalty
        late = len(ids) - len(o.prompt) - start
        for token in o.eos if late > 0 else []:
            if math.isfinite(scores[token]):
                scores[token] = np.float32(scores[token] + abs(scores[token]) * np.float32(factor**late - 1))
    begins = len(o.prompt) + (len(o.prompt) == 1 and o.forced_bos_token_id is not None)
    suppressed = [*(o.suppress_tokens or []), *((o.begin_suppress_tokens or []) if len(ids) == begins else [])]
    for token in suppressed:
        scores[token] = -math.inf
    if o.renormalize_logits:
        scores = log_softmax(scores)
    return scores


def penalize(scores, tokens, penalty):
    for token in set(tokens):
        scores[token] = (
            scores[token] * np.float32(penalty) if scores[token] < 0 else scores[token] / np.float32(penalty)
        )


def forbid_repeats(scores, ids, text, n):
    """Forbid the tokens that would copy n tokens of `text`."""
    grams = [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]
    if len(ids) < n - 1:
        return
    for token in range(len(scores)):
        if (*(ids[-n + 1 :] if n > 1 else []), token) in grams:
            scores[token] = -math.inf


def log_softmax(logits):
    shifted = np.asarray(logits, dtype=np.float64) - np.max(logits)
    return (shifted - np.log(np.exp(shifted).sum())).astype(np.float32)


def ends(ids, o):
    """Whether the newest token ends a row: an end token, or one that completes a stop string."""
    if ids[-1] in o.eos or not o.stop_strings:
        return ids[-1] in o.eos
    text, before = "".join(o.spelled[i] for i in ids), "".join(o.spelled[i] for i in ids[:-1])
    return any(stop in text[max(0, len(before) - len(stop) + 1) :] for stop in o.stop_strings)
