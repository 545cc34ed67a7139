"""What `test_devices.py` runs in a process of its own, with four devices of the host."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import seqgraft

from ..functional.devices import IDS, LABELS, configuration

DEVICES = 4


def made() -> seqgraft.FlaxEncoderDecoderModel:
    return seqgraft.FlaxEncoderDecoderModel(configuration(initializer_range=0.3), seed=3)


def near(ours: object, theirs: object) -> None:
    for path, one in jax.tree_util.tree_leaves_with_path(theirs):
        found = dict(jax.tree_util.tree_leaves_with_path(ours))[path]
        assert np.allclose(np.asarray(found), np.asarray(one), atol=1e-6, rtol=1e-4), path


def loss_of(model: seqgraft.FlaxEncoderDecoderModel, params: object, ids: object, labels: object) -> object:
    return model(ids, labels=labels, params=params).loss


def pmapped() -> None:
    """A step of training whose gradients are averaged over devices, and a generation on each, as in the examples."""
    model = made()
    whole = jax.value_and_grad(lambda params: loss_of(model, params, IDS, LABELS))(model.params)

    def step(params: object, ids: object, labels: object) -> object:
        found = jax.value_and_grad(lambda params: loss_of(model, params, ids, labels))(params)
        return jax.lax.pmean(found, "batch")

    def parts(x: np.ndarray) -> np.ndarray:
        return x.reshape(DEVICES, -1, x.shape[1])

    copies = jax.device_put_replicated(model.params, jax.devices()) if hasattr(jax, "device_put_replicated") else None
    if copies is None:
        copies = jax.tree.map(lambda x: jnp.broadcast_to(x, (DEVICES, *x.shape)), model.params)
    found = jax.pmap(step, axis_name="batch")(copies, parts(IDS), parts(LABELS))
    near(jax.tree.map(lambda x: x[0], found), whole)
    for beams in (1, 3):
        settings = {"max_new_tokens": 7, "num_beams": beams}
        each = jax.pmap(lambda params, ids, told=settings: model.generate(ids, params=params, **told).sequences)
        tokens = np.asarray(each(copies, parts(IDS))).reshape(len(IDS), -1)
        assert np.array_equal(tokens, np.asarray(model.generate(IDS, **settings).sequences))


def sharded() -> None:
    """Rows over one axis of a mesh and the matrices' columns over the other."""
    model = made()
    mesh = Mesh(np.array(jax.devices()).reshape(2, 2), ("data", "model"))

    def place(path: tuple, x: jax.Array) -> jax.Array:
        kernel = getattr(path[-1], "key", "") == "kernel" and x.shape[-1] % 2 == 0
        return jax.device_put(x, NamedSharding(mesh, P(None, "model") if kernel else P()))

    params = jax.tree_util.tree_map_with_path(place, model.params)
    rows = NamedSharding(mesh, P("data"))
    ids, labels = jax.device_put(IDS, rows), jax.device_put(LABELS, rows)
    step = jax.jit(lambda *given: jax.value_and_grad(lambda p: loss_of(model, p, *given[1:]))(given[0]))
    found = step(params, ids, labels)
    near(found, jax.value_and_grad(lambda p: loss_of(model, p, IDS, LABELS))(model.params))
    query = found[1]["decoder"]["bert"]["encoder"]["layer"]["0"]["attention"]["self"]["query"]["kernel"]
    assert query.sharding.spec == P(None, "model")  # gradients lie where their parameters lie
    for beams in (1, 3):
        settings = {"max_new_tokens": 7, "num_beams": beams}
        out = model.generate(ids, params=params, **settings).sequences
        assert np.array_equal(np.asarray(out), np.asarray(model.generate(IDS, **settings).sequences))


if __name__ == "__main__":
    assert len(jax.devices()) == DEVICES
    {"pmapped": pmapped, "sharded": sharded}[sys.argv[1]]()
