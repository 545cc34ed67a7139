"""The functional core's operations in TensorFlow: eager, in a graph, and compiled by XLA.

A size is a Python number where TensorFlow knows it while tracing, else a tensor; what is written here takes both.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from seqgraft.functional.ops import Array, Key, Size


class TensorFlowOps:
    """See `seqgraft.functional.ops.Ops`. A key is an int32 tensor of two numbers."""

    name = "tensorflow"

    def array(self, values: Any, dtype: str | None = None) -> Array:
        if tf.is_tensor(values):
            return values if dtype is None else tf.cast(values, dtype)
        made = np.asarray(values)
        if dtype is None:
            dtype = {"float64": "float32", "int64": "int32"}.get(made.dtype.name)
        return tf.constant(made if dtype is None else made.astype(tf.as_dtype(dtype).as_numpy_dtype))

    def dtype(self, x: Array) -> str:
        return str(x.dtype.name)

    def cast(self, x: Array, dtype: str) -> Array:
        return tf.cast(x, dtype)

    def shape(self, x: Array) -> tuple[Size, ...]:
        known = x.shape.as_list()
        if None not in known:
            return tuple(known)
        asked = tf.shape(x)
        return tuple(asked[axis] if size is None else size for axis, size in enumerate(known))

    def full(self, shape: Sequence[Size], value: Any, dtype: str) -> Array:
        return tf.fill(list(shape), tf.cast(value, dtype))

    def arange(self, count: Size) -> Array:
        return tf.range(count, dtype=tf.int32)

    def reshape(self, x: Array, shape: Sequence[Size]) -> Array:
        return tf.reshape(x, list(shape))

    def transpose(self, x: Array, axes: Sequence[int]) -> Array:
        return tf.transpose(x, axes)

    def broadcast(self, x: Array, shape: Sequence[Size]) -> Array:
        return tf.broadcast_to(x, list(shape))

    def concatenate(self, parts: Sequence[Array], axis: int) -> Array:
        return tf.concat(list(parts), axis)

    def pad(self, x: Array, widths: Sequence[tuple[Size, Size]]) -> Array:
        return tf.pad(x, [list(pair) for pair in widths])

    def repeat(self, x: Array, count: int, axis: int) -> Array:
        return tf.repeat(x, count, axis)

    def where(self, condition: Array, yes: Any, no: Any) -> Array:
        return tf.where(condition, yes, no)

    def take(self, table: Array, index: Array, axis: int = 0) -> Array:
        return tf.gather(table, index, axis=axis)

    def gather(self, x: Array, index: Array) -> Array:
        lead, last = self._lead(x, index), len(x.shape) - 1
        x = self.broadcast(x, (*lead, self.shape(x)[-1]))
        return tf.gather(x, self.broadcast(index, (*lead, self.shape(index)[-1])), axis=-1, batch_dims=last)

    def _lead(self, a: Array, b: Array) -> tuple[Size, ...]:
        """The axes before the last, broadcast against each other."""
        return tuple(
            two if isinstance(one, int) and one == 1 else one
            for one, two in zip(self.shape(a)[:-1], self.shape(b)[:-1], strict=True)
        )

    def write(self, into: Array, part: Array, at: Size, axis: int) -> Array:
        total, length = self.shape(into)[axis], self.shape(part)[axis]
        if isinstance(at, int) and at == 0:
            rest = tuple(slice(length, None) if one == axis else slice(None) for one in range(len(into.shape)))
            return part if _same(length, total) else tf.concat((part, into[rest]), axis)
        place = tf.range(total, dtype=tf.int32) - at
        shape = [-1 if one == axis else 1 for one in range(len(into.shape))]
        if not _same(length, 1):
            part = tf.gather(part, tf.clip_by_value(place, 0, length - 1), axis=axis)
        here = tf.reshape((place >= 0) & (place < length), shape)
        return tf.where(here, part, into)

    def top_k(self, x: Array, count: int) -> tuple[Array, Array]:
        values, index = tf.math.top_k(x, count)
        return values, index

    def argmax(self, x: Array) -> Array:
        return tf.argmax(x, -1, output_type=tf.int32)

    def scatter_add(self, into: Array, index: Array, values: Array) -> Array:
        rows = tf.broadcast_to(tf.range(self.shape(index)[0], dtype=index.dtype)[:, None], list(self.shape(index)))
        return tf.tensor_scatter_nd_add(into, tf.stack((rows, index), -1), values)

    def sort(self, x: Array) -> Array:
        return tf.sort(x, -1)

    def matmul(self, a: Array, b: Array) -> Array:
        if len(b.shape) > 2 or len(a.shape) == 2:
            return tf.matmul(a, b)
        *lead, inner = self.shape(a)  # one product of matrices, not one a row
        return tf.reshape(tf.matmul(tf.reshape(a, [-1, inner]), b), [*lead, self.shape(b)[-1]])

    def sum(self, x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
        return tf.reduce_sum(x, axis, keepdims)

    def mean(self, x: Array, axis: int, keepdims: bool = False) -> Array:
        return tf.reduce_mean(x, axis, keepdims)

    def max(self, x: Array, axis: int, keepdims: bool = False) -> Array:
        return tf.reduce_max(x, axis, keepdims)

    def cumsum(self, x: Array, axis: int) -> Array:
        return tf.cumsum(x, axis)

    def all(self, x: Array, axis: int | None = None) -> Array:
        return tf.reduce_all(x, axis)

    def any(self, x: Array, axis: int | None = None) -> Array:
        return tf.reduce_any(x, axis)

    def softmax(self, x: Array) -> Array:
        return tf.nn.softmax(x)

    def log_softmax(self, x: Array) -> Array:
        return tf.nn.log_softmax(x)

    def exp(self, x: Array) -> Array:
        return tf.exp(x)

    def log(self, x: Array) -> Array:
        return tf.math.log(x)

    def sqrt(self, x: Array) -> Array:
        return tf.sqrt(x)

    def rsqrt(self, x: Array) -> Array:
        return tf.math.rsqrt(x)

    def sin(self, x: Array) -> Array:
        return tf.sin(x)

    def cos(self, x: Array) -> Array:
        return tf.cos(x)

    def tanh(self, x: Array) -> Array:
        return tf.tanh(x)

    def sigmoid(self, x: Array) -> Array:
        return tf.sigmoid(x)

    def erf(self, x: Array) -> Array:
        return tf.math.erf(x)

    def abs(self, x: Array) -> Array:
        return tf.abs(x)

    def ceil(self, x: Array) -> Array:
        return tf.math.ceil(x)

    def sign(self, x: Array) -> Array:
        return tf.sign(x)

    def power(self, base: Any, exponent: Any) -> Array:
        return tf.pow(base, exponent)

    def minimum(self, a: Any, b: Any) -> Array:
        return tf.minimum(a, b)

    def maximum(self, a: Any, b: Any) -> Array:
        return tf.maximum(a, b)

    def split(self, key: Key) -> tuple[Key, Key]:
        first, second = tf.unstack(tf.random.split(key, 2, alg="philox"), 2)
        return first, second

    def uniform(self, key: Key, shape: Sequence[Size]) -> Array:
        # From bits: XLA makes other fractions of the same bits than TensorFlow's own kernels.
        bits = tf.random.stateless_uniform(list(shape), key, None, None, tf.uint32, alg="philox")
        return tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24

    def loop(self, go_on: Callable[..., Array], body: Callable[..., Any], state: Any) -> Any:
        flat = tf.nest.flatten(state)
        held = [leaf is not None for leaf in flat]  # a while loop of TensorFlow carries tensors alone
        carried = [self.array(leaf) for leaf in flat if leaf is not None]
        shapes = [leaf.shape for leaf in carried]

        def whole(leaves: Sequence[Array]) -> Any:
            rest = iter(leaves)
            return tf.nest.pack_sequence_as(state, [next(rest) if own else None for own in held])

        def step(*leaves: Array) -> list[Array]:
            made = [leaf for leaf in tf.nest.flatten(body(whole(leaves))) if leaf is not None]
            return [tf.ensure_shape(leaf, shape) for leaf, shape in zip(made, shapes, strict=True)]

        out = tf.while_loop(lambda *leaves: go_on(whole(leaves)), step, carried, parallel_iterations=1)
        return whole(out)

    def keep(self, x: Array) -> Array:
        return tf.identity(x)

    def constant(self, x: Array) -> Array:
        return tf.stop_gradient(x)


def _same(one: Size, two: Size) -> bool:
    """Whether two sizes are known to be equal."""
    return isinstance(one, int) and isinstance(two, int) and one == two
