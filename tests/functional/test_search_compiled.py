"""The same searches as compiled programs: JAX, and TensorFlow in a graph and by XLA, against the slow oracle."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from seqgraft.functional.found import Found
from seqgraft.functional.settings import Settings

from ..generation import oracle
from .toys import check, run, settings_of, table_of

Compiled = Callable[..., Found]
VOCABULARY = 26
EVERYTHING = {
    "min_length": 6,
    "no_repeat_ngram_size": 2,
    "repetition_penalty": 1.3,
    "bad_words_ids": [[9], [4, 8], [11, 3, 6], [7, 5]],
    "suppress_tokens": [12],
    "begin_suppress_tokens": [13, 14, 15],
    "forced_eos_token_id": 2,
}
CASES = {
    "greedy": oracle.Options(eos=[2], max_length=12),
    "without an end": oracle.Options(max_length=7),
    "one token": oracle.Options(eos=[2], prompt=[1, 4], max_length=3, **EVERYTHING),
    "rules": oracle.Options(eos=[2, 5], prompt=[1, 4, 8], max_length=14, **EVERYTHING),
    "beams": oracle.Options(beams=3, returned=2, eos=[2], max_length=10),
    "beams with rules": oracle.Options(
        beams=3,
        returned=3,
        eos=[2, 5],
        max_length=12,
        early_stopping="never",
        length_penalty=0.6,
        forced_bos_token_id=4,
        **EVERYTHING,
    ),
}


def jax_compiled(settings: Settings) -> Compiled:
    jax = pytest.importorskip("jax")
    from seqgraft.flax.ops import JaxOps

    program = jax.jit(lambda table, prompt, key: run(JaxOps(), table, settings, prompt, key))
    return lambda table, prompt, key=0: program(table, np.array(prompt, np.int32), jax.random.key(key))


def tensorflow_compiled(settings: Settings, *, xla: bool) -> Compiled:
    """The graph is of any number of sources."""
    tf = pytest.importorskip("tensorflow")
    from seqgraft.tensorflow.ops import TensorFlowOps

    shapes = [
        tf.TensorSpec([None, *[VOCABULARY] * 3], tf.float32),
        tf.TensorSpec([None, settings.prompt], tf.int32),
        tf.TensorSpec([2], tf.int32),
    ]
    program = tf.function(
        lambda table, prompt, key: run(TensorFlowOps(), table, settings, prompt, key),
        input_signature=None if xla else shapes,
        jit_compile=xla,
        autograph=False,
    )
    return lambda table, prompt, key=0: program(
        tf.constant(table), tf.constant(prompt, tf.int32), tf.constant([key, 1])
    )


COMPILERS: dict[str, Callable[[Settings], Compiled]] = {
    "jax": jax_compiled,
    "tensorflow": lambda settings: tensorflow_compiled(settings, xla=False),
    "xla": lambda settings: tensorflow_compiled(settings, xla=True),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("framework", COMPILERS)
def test_search(framework: str, name: str) -> None:
    o = CASES[name]
    program = COMPILERS[framework](settings_of(o))
    for seed in range(6):
        table = table_of(seed, VOCABULARY)
        check(program(table, [o.prompt] * 3), table, o)
    if framework == "tensorflow":  # another number of sources, the same program
        check(program(table[:2], [o.prompt] * 2), table[:2], o)


@pytest.mark.parametrize("cut", [{"top_k": 5, "top_p": 0.9, "temperature": 0.8}, {"top_p": 0.8, "min_p": 0.1}])
@pytest.mark.parametrize("framework", COMPILERS)
def test_sampling(framework: str, cut: dict[str, Any]) -> None:
    """First tokens follow what the settings leave of the softmax; a key gives the same again, and rows differ."""
    from .test_search_sampling import kept

    o, many = oracle.Options(eos=[2], max_length=5, returned=400), 5
    table = np.repeat(table_of(1, VOCABULARY)[:1], many, 0)
    program = COMPILERS[framework](settings_of(o, sample=True, **cut))
    found = np.asarray(program(table, [[1]] * many, 3).sequences)
    assert np.array_equal(found, program(table, [[1]] * many, 3).sequences)
    assert not np.array_equal(found, program(table, [[1]] * many, 4).sequences)
    chances = kept(cut, 1, table[:1, 0, 1])[0]
    draws = many * o.returned
    times = np.bincount(found[:, 1], minlength=VOCABULARY)
    spread = np.sqrt(draws * chances * (1 - chances))
    assert (abs(times - draws * chances) <= 5 * spread + 1e-3).all()
    assert (found[:, 2:][found[:, 1] == 2] == 0).all()


@pytest.mark.parametrize("framework", COMPILERS)
def test_beams_that_are_drawn(framework: str) -> None:
    """A hypothesis is worth what the model says of it, and draws of two keys differ."""
    o = oracle.Options(beams=3, returned=3, max_length=5)
    table = table_of(3, VOCABULARY)
    program = COMPILERS[framework](settings_of(o, sample=True))
    found = program(table, [[1]] * 3, 3)
    ids, scores = np.asarray(found.sequences), np.asarray(found.scores)
    assert not np.array_equal(ids, program(table, [[1]] * 3, 9).sequences)
    for row, score in zip(range(9), scores, strict=True):
        told = 0.0
        for time in range(1, 5):
            said = oracle.logits_after(table, row // 3, ids[row, :time].tolist())
            told += oracle.log_softmax(said)[ids[row, time]]
        np.testing.assert_allclose(score, told / 4, rtol=1e-4)
    assert (np.diff(scores.reshape(3, 3), axis=1) <= 0).all()
    assert len({tuple(row) for row in ids.tolist()}) == 9
