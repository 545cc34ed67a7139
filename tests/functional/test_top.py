"""The highest of long rows: numpy's own order, equal numbers by their place."""

import numpy as np
import pytest

from seqgraft.functional.top import highest

from .numpy_ops import NumpyOps


def every():
    made = [pytest.param(NumpyOps, id="numpy")]
    for name, module, kind in (
        ("jax", "seqgraft.flax.ops", "JaxOps"),
        ("tensorflow", "seqgraft.tensorflow.ops", "TensorFlowOps"),
    ):

        def of(name=name, module=module, kind=kind):
            pytest.importorskip(name)
            return getattr(pytest.importorskip(module), kind)()

        made.append(pytest.param(of, id=name))
    return made


@pytest.mark.parametrize("ops", every())
@pytest.mark.parametrize("length", [100, 4096, 5000, 30522])
@pytest.mark.parametrize("count", [1, 4, 12])
def test_the_highest(ops, length, count):
    ops, random = ops(), np.random.default_rng(length + count)
    # Few different numbers, so that many are equal; some rows hold nothing but the lowest.
    x = np.stack([random.integers(0, 40, length), random.normal(size=length), np.full(length, -np.inf)])
    x[2, length - 3] = 1.0
    x = x.astype(np.float32)
    values, places = highest(ops, ops.array(x), count)
    order = np.argsort(-x, axis=1, kind="stable")[:, :count]
    assert np.array_equal(np.asarray(values), np.take_along_axis(x, order, 1))
    finite = np.isfinite(np.asarray(values))
    assert np.array_equal(np.asarray(places)[finite], order[finite])
    assert (np.asarray(places) < length).all()
