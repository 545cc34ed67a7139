"""Searches with every deterministic processor and with stop strings against the slow oracle, on random settings."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from seqgraft.generation import fields
from seqgraft.torch import processors
from seqgraft.torch.search import Record
from seqgraft.torch.search_beams import search_beams
from seqgraft.torch.search_rows import search_rows
from seqgraft.torch.stop_strings import StopStringCriteria
from seqgraft.torch.stopping import Stopping

from . import oracle
from .test_search_oracle import TableDecoder, expected, random_options


class Spelling:
    """A tokenizer of which only the tokens' texts are known."""

    def __init__(self, texts):
        self.texts = texts

    def __len__(self):
        return len(self.texts)

    def get_vocab(self):
        return {f"{index}": index for index in range(len(self.texts))}

    def __call__(self, text, add_special_tokens):
        return {"input_ids": []}

    def convert_ids_to_tokens(self, ids):
        return []

    def convert_tokens_to_string(self, tokens):
        return "".join(self.texts[int(token)] for token in tokens)


def random_settings(seed):
    vocab, o = random_options(seed)
    r = random.Random(seed)
    o.sources = [r.choices(range(3, vocab), k=6) for _ in range(3)]
    if r.random() < 0.4:
        o.encoder_repetition_penalty = r.choice([0.6, 1.8])
    if r.random() < 0.3:
        o.encoder_no_repeat_ngram_size = r.randint(1, 3)
    if r.random() < 0.3 and o.eos:
        o.exponential_decay_length_penalty = (r.randint(0, 4), r.choice([0.8, 1.2, 1.5]))
    if r.random() < 0.3:
        o.suppress_tokens = r.sample(range(5, vocab), 2)  # what may be forced is not among them
    if r.random() < 0.3:
        o.begin_suppress_tokens = r.sample(range(5, vocab), 4)
    if r.random() < 0.2:
        o.remove_invalid_values = True
        o.exponential_decay_length_penalty = None  # it would make the forbidden end's finite score endless
    if r.random() < 0.3:
        o.renormalize_logits = True
    if r.random() < 0.3:
        o.prefix_allowed_tokens_fn = lambda source, ids: [t for t in range(vocab) if (t * 3 + source + ids[-1]) % 5]
    o.spelled = ["".join(r.choices("abc", k=r.randint(1, 3))) for _ in range(vocab)]
    if r.random() < 0.4:
        o.stop_strings = ["".join(r.choices("abc", k=r.randint(4, 5))) for _ in range(r.randint(1, 3))]
    return vocab, o


def run(table, o):
    sources = len(table)
    prompt = torch.tensor([o.prompt] * (sources * o.beams))
    names = [name for name in fields.SUPPORTED if hasattr(o, name)]
    config = SimpleNamespace(**dict.fromkeys(fields.PUBLISHED))
    vars(config).update({**fields.DEFAULTS, **{name: getattr(o, name) for name in names}, "num_beams": o.beams})
    fn = o.prefix_allowed_tokens_fn
    chain = processors.build(
        config,
        prompt_length=len(o.prompt),
        max_length=o.max_length,
        eos_token_ids=o.eos,
        device="cpu",
        source_ids=torch.tensor(o.sources[:sources]),
        prefix_allowed_tokens_fn=None if fn is None else lambda source, ids: fn(source, ids.tolist()),
    )
    texts = [StopStringCriteria(Spelling(o.spelled), o.stop_strings)] if o.stop_strings else []
    stopping = Stopping.of([*texts], o.max_length)
    shared = {
        "processors": chain,
        "stopping": Stopping(o.max_length, tuple(o.eos), stopping.others),
        "record": Record(),
    }
    state = SimpleNamespace(last=torch.zeros(len(prompt), 1, dtype=torch.long), turn=0)
    decoder = TableDecoder(table, o.beams)
    if o.beams == 1:
        return search_rows(decoder, state, prompt, pad_token_id=o.pad, **shared)
    how = {"fill": o.pad, "length_penalty": o.length_penalty, "early_stopping": o.early_stopping}
    return search_beams(decoder, state, prompt, beams=o.beams, returned=o.returned, **how, **shared)


@pytest.mark.parametrize("batch", range(10))
def test_equal_to_the_oracle(batch):
    for seed in range(1000 + 30 * batch, 1030 + 30 * batch):
        vocab, o = random_settings(seed)
        table = oracle.table(seed, 1 + seed % 3, vocab)
        found = run(table, o)
        ids, scores, _ = expected(table, o)
        if o.beams == 1:
            assert found.ids.tolist() == ids, (seed, o)
            continue
        real = np.array(scores, dtype=np.float32) > -1e8
        np.testing.assert_allclose(
            found.scores[real], np.array(scores)[real], rtol=1e-5, atol=1e-5, err_msg=f"{seed} {o}"
        )
        assert found.ids[real].tolist() == torch.tensor(ids)[real].tolist(), (seed, o)


def test_the_settings_matter():
    """Among the random settings each one changes what is found, and stop strings end rows."""
    counts = dict.fromkeys(oracle.Options().__dict__, 0)
    for seed in range(120):
        vocab, o = random_settings(seed)
        table = oracle.table(seed, 1, vocab)
        whole = expected(table, o)[0]
        for name, off in vars(oracle.Options()).items():
            value = getattr(o, name)
            if name not in ("sources", "spelled", "prompt", "eos", "max_length") and value != off:
                setattr(o, name, off)
                counts[name] += expected(table, o)[0] != whole
                setattr(o, name, value)
    for name in (
        "encoder_repetition_penalty",
        "encoder_no_repeat_ngram_size",
        "exponential_decay_length_penalty",
        "suppress_tokens",
        "begin_suppress_tokens",
        "renormalize_logits",
        "prefix_allowed_tokens_fn",
        "stop_strings",
    ):
        assert counts[name] > 2, counts
