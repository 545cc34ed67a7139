"""Slow, obvious group beam, constrained beam and contrastive search, and guidance: plain loops, one source at a time.

The rules of transformers 4.55, the last version that had the first three, written as one would explain them; frozen
here because tests run without that version. Tables take the place of models, as in `oracle`.
"""

import math
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Options:
    beams: int = 2
    groups: int = 1
    diversity_penalty: float = 0.0
    words: list = field(default_factory=list)
    top_k: int = 2
    penalty_alpha: float = 0.6
    returned: int = 1
    max_length: int = 10
    prompt: list = field(default_factory=lambda: [1])
    eos: list = field(default_factory=list)
    pad: int = 0
    length_penalty: float = 1.0
    early_stopping: object = False
    repetition_penalty: float = 1.0


def logits_after(table, source, ids):
    return table[source, ids[-2] if len(ids) > 1 else 0, ids[-1]]


def log_softmax(logits):
    shifted = np.asarray(logits, dtype=np.float64) - np.max(logits)
    return (shifted - np.log(np.exp(shifted).sum())).astype(np.float32)


def penalized(ids, scores, o, current=()):
    """Diversity, then repetition: the field's order."""
    scores = [np.float32(s) - np.float32(o.diversity_penalty * list(current).count(t)) for t, s in enumerate(scores)]
    for token in set(ids) if o.repetition_penalty != 1.0 else ():
        penalty = np.float32(o.repetition_penalty)
        scores[token] = scores[token] * penalty if scores[token] < 0 else scores[token] / penalty
    return scores


def guided(table, other, scale):
    """What guidance makes of every entry of two tables of logits, in log-probabilities."""
    made = np.empty_like(table)
    for place in np.ndindex(table.shape[:-1]):
        with_source, without = log_softmax(table[place]), log_softmax(other[place])
        made[place] = [scale * (a - b) + b for a, b in zip(with_source, without, strict=True)]
    return made


class Pool:
    """Hypotheses (score, ids, beams chosen from); those that an end token closed get the first end id."""

    def __init__(self, size, o):
        self.size, self.o, self.held, self.done = size, o, [], False

    def add(self, total, ids, chosen, closed):
        generated = len(ids) - len(self.o.prompt) + closed
        score = float(total) / generated**self.o.length_penalty
        self.held.append((score, ids + ([self.o.eos[0]] if closed else []), chosen))
        if len(self.held) > self.size:
            lowest = min(range(len(self.held)), key=lambda i: self.held[i][0])
            if self.held[-1][0] == self.held[lowest][0]:
                lowest = len(self.held) - 1  # no better than what is there
            del self.held[lowest]

    def settle(self, best, generated):
        if len(self.held) < self.size:
            return
        reachable = generated
        if self.o.early_stopping == "never" and self.o.length_penalty > 0:
            reachable = self.o.max_length - len(self.o.prompt)
        worst = min(score for score, _, _ in self.held)
        if self.o.early_stopping is True or worst >= float(best) / reachable**self.o.length_penalty:
            self.done = True


def best_of(pools, o):
    """The best, of equal ones the newest."""
    everything = [hypothesis for pool in pools for hypothesis in pool.held]
    everything.reverse()
    return sorted(everything, key=lambda hypothesis: -hypothesis[0])[: o.returned]


def sift(running, options, pool, o, complete=lambda ids: True):
    """The best options: those that end go to the pool, the others run on."""
    options.sort(key=lambda option: -option[0])
    going = []
    for rank, (total, ids, chosen) in enumerate(options[: max(2, 1 + len(o.eos)) * len(running)]):
        if ids[-1] not in o.eos:
            going.append((total, ids, chosen))
        elif rank < len(running) and complete(ids[:-1]):
            pool.add(total, ids[:-1], chosen, True)
        if len(going) == len(running):
            break
    return going, options[0][0]


def continued(running, table, source, o, current=()):
    """Every option [(total, ids, beams chosen from)] of rows (total, ids, chosen, place among the beams)."""
    options = []
    for total, ids, chosen, place in running:
        after = penalized(ids, log_softmax(logits_after(table, source, ids)), o, current)
        options += [(np.float32(s + total), [*ids, t], [*chosen, place]) for t, s in enumerate(after)]
    return options


def group_beam(table, source, o):
    size = o.beams // o.groups
    groups = [[(np.float32(0 if k == 0 else -1e9), list(o.prompt), []) for k in range(size)] for _ in range(o.groups)]
    pools = [Pool(size, o) for _ in range(o.groups)]
    length = len(o.prompt)
    while length < o.max_length and not all(pool.done for pool in pools):
        current = []
        for g, pool in enumerate(pools):
            if pool.done:
                current += [o.pad] * size
                continue
            running = [(*row, g * size + k) for k, row in enumerate(groups[g])]
            groups[g], best = sift(running, continued(running, table, source, o, current), pool, o)
            pool.settle(best, length + 1 - len(o.prompt))
            current += [ids[-1] for _, ids, _ in groups[g]]
        length += 1
    for group, pool in zip(groups, pools, strict=True):
        for row in [] if pool.done else group:
            pool.add(*row, False)
    return best_of(pools, o)


def progress(ids, constraints):
    """Read ids: (how many are complete, the words and the tokens of the one in progress, what waits)."""
    waiting, words, begun, complete = list(constraints), None, [], 0
    for token in ids:
        if complete == len(constraints):
            break
        if words is None:
            for place, alternatives in enumerate(waiting):
                if any(word[0] == token for word in alternatives):
                    words, begun = waiting.pop(place), [token]
                    break
        elif token in following(words, begun):
            begun = [*begun, token]
        else:
            waiting.append(words)
            words, begun = None, []
        if words is not None and begun in words:
            complete, words, begun = complete + 1, None, []
    return complete, words, begun, waiting


def following(words, begun):
    """The tokens that come next in a word that starts so, each once."""
    n = len(begun)
    return list(dict.fromkeys(word[n] for word in words if word[:n] == begun and len(word) > n))


def bank(complete, words, begun, constraints):
    longest = max(len(word) for words in constraints for word in words)
    remaining = max(map(len, words)) - len(begun) if words else longest
    return complete * longest + longest - remaining


def advances(ids, constraints):
    """The tokens that bring a text further, with the bank that each leads to."""
    complete, words, begun, waiting = progress(ids, constraints)
    if complete == len(constraints):
        return []
    if words is None:
        tokens = [token for alternatives in waiting for token in following(alternatives, [])]
        return [(token, bank(*progress([*ids, token], constraints)[:3], constraints)) for token in tokens]
    found = []
    for token in following(words, begun):
        # The reference's copies share the list of tokens that they have seen, so the second token meets the first.
        if token in following(words, begun):
            begun = [*begun, token]
            done = begun in words
            after = (complete + 1, None, []) if done else (complete, words, begun)
        else:
            after = (complete, None, [])
        found.append((token, bank(*after, constraints)))
    return found


def constrained_beam(table, source, o):
    constraints = [[words] if isinstance(words[0], int) else words for words in o.words]

    def complete(ids):
        return progress(ids, constraints)[0] == len(constraints)

    running = [(np.float32(0 if k == 0 else -1e9), list(o.prompt), []) for k in range(o.beams)]
    pool, length = Pool(o.beams, o), len(o.prompt)
    while length < o.max_length and not pool.done:
        before = [(*row, k) for k, row in enumerate(running)]
        options = continued(before, table, source, o)
        going, best = sift(before, list(options), pool, o, complete)
        pool.settle(best, length + 1 - len(o.prompt))
        ranked = [(row, bank(*progress(row[1], constraints)[:3], constraints)) for row in going]
        vocab = table.shape[-1]
        added = False
        for _, ids, _, place in before:
            for token, reached in advances(ids, constraints):
                if [*ids, token] not in [row[1] for row, _ in ranked]:
                    ranked.append((options[place * vocab + token], reached))
                    added = True
        running = in_turns(ranked)[: o.beams] if added else going
        length += 1
    if not pool.done:
        fulfilled = [row for row in running if complete(row[1])]
        others = [row for row in running if not complete(row[1])]
        for row in fulfilled + (others if len(fulfilled) < o.returned else []):
            pool.add(*row, False)
    return best_of([pool], o)


def in_turns(ranked):
    """Bank by bank, the furthest first: the best of each, then the second best of each."""
    ranked = sorted(ranked, key=lambda pair: -(np.float32(pair[1] * 100) + pair[0][0]))
    turns, turn, last = [], 0, None
    for _, reached in ranked:
        turn = turn + 1 if reached == last else 0
        last = reached
        turns.append(turn)
    return [row for _, (row, _) in sorted(zip(turns, ranked, strict=True), key=lambda pair: pair[0])]


def cosine(a, b):
    return float(np.dot(a, b) / math.sqrt(np.dot(a, a) * np.dot(b, b)))


def contrastive(table, vectors, source, o):
    """vectors [sources, token before last, last token, width]: the state of a text's last token."""
    ids = list(o.prompt)
    states = [logits_after(vectors, source, ids[: i + 1]) for i in range(len(ids))]
    while len(ids) < o.max_length:
        likely = np.exp(log_softmax(penalized(ids, logits_after(table, source, ids), o)))
        best = None
        for token in np.argsort(-likely, kind="stable")[: o.top_k]:
            state = logits_after(vectors, source, [*ids, int(token)])
            alike = max(cosine(state, past) for past in states)
            value = (1 - o.penalty_alpha) * likely[token] - o.penalty_alpha * alike
            if best is None or value > best[0]:
                best = (value, int(token), state)
        ids.append(best[1])
        states.append(best[2])
        if ids[-1] in o.eos:
            break
    return ids
