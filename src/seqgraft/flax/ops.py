"""The core's operations on JAX arrays."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


class JaxOps:
    """See `seqgraft.functional.ops.Ops`."""

    name = "jax"

    def array(self, values: Any, dtype: str | None = None) -> Any:
        if dtype is None and isinstance(values, int) and not isinstance(values, bool):
            dtype = "int32"
        return jnp.asarray(values, dtype)

    def dtype(self, x: Any) -> str:
        return str(x.dtype)

    def cast(self, x: Any, dtype: str) -> Any:
        return jnp.asarray(x).astype(dtype)

    def shape(self, x: Any) -> tuple[Any, ...]:
        return tuple(x.shape)

    def full(self, shape: Sequence[Any], value: Any, dtype: str) -> Any:
        return jnp.full(tuple(shape), value, dtype)

    def arange(self, count: Any) -> Any:
        return jnp.arange(count, dtype=jnp.int32)

    def reshape(self, x: Any, shape: Sequence[Any]) -> Any:
        return jnp.reshape(x, tuple(shape))

    def transpose(self, x: Any, axes: Sequence[int]) -> Any:
        return jnp.transpose(x, tuple(axes))

    def broadcast(self, x: Any, shape: Sequence[Any]) -> Any:
        return jnp.broadcast_to(x, tuple(shape))

    def concatenate(self, parts: Sequence[Any], axis: int) -> Any:
        return jnp.concatenate(list(parts), axis)

    def pad(self, x: Any, widths: Sequence[tuple[Any, Any]]) -> Any:
        if all(isinstance(size, int) for pair in widths for size in pair):
            return jnp.pad(x, tuple(widths))
        shape = [size + before + after for size, (before, after) in zip(x.shape, widths, strict=True)]
        return lax.dynamic_update_slice(jnp.zeros(shape, x.dtype), x, [before for before, _ in widths])

    def repeat(self, x: Any, count: int, axis: int) -> Any:
        return jnp.repeat(x, count, axis)

    def where(self, condition: Any, yes: Any, no: Any) -> Any:
        return jnp.where(condition, yes, no)

    def take(self, table: Any, index: Any, axis: int = 0) -> Any:
        return jnp.take(table, index, axis, mode="clip")

    def gather(self, x: Any, index: Any) -> Any:
        lead = jnp.broadcast_shapes(x.shape[:-1], index.shape[:-1])
        x = jnp.broadcast_to(x, (*lead, x.shape[-1]))
        return jnp.take_along_axis(x, jnp.broadcast_to(index, (*lead, index.shape[-1])), -1, mode="clip")

    def write(self, into: Any, part: Any, at: Any, axis: int) -> Any:
        return lax.dynamic_update_slice_in_dim(into, part.astype(into.dtype), at, axis)

    def top_k(self, x: Any, count: int) -> tuple[Any, Any]:
        values, index = lax.top_k(x, count)
        return values, index

    def argmax(self, x: Any) -> Any:
        return jnp.argmax(x, -1).astype(jnp.int32)

    def scatter_add(self, into: Any, index: Any, values: Any) -> Any:
        return into.at[jnp.arange(into.shape[0])[:, None], index].add(values)

    def sort(self, x: Any) -> Any:
        return jnp.sort(x, -1)

    def matmul(self, a: Any, b: Any) -> Any:
        return jnp.matmul(a, b, preferred_element_type=jnp.float32).astype(a.dtype)

    def sum(self, x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        return jnp.sum(x, axis, keepdims=keepdims)

    def mean(self, x: Any, axis: int, keepdims: bool = False) -> Any:
        return jnp.mean(x, axis, keepdims=keepdims)

    def max(self, x: Any, axis: int, keepdims: bool = False) -> Any:
        return jnp.max(x, axis, keepdims=keepdims)

    def cumsum(self, x: Any, axis: int) -> Any:
        return jnp.cumsum(x, axis, dtype=x.dtype)

    def all(self, x: Any, axis: int | None = None) -> Any:
        return jnp.all(x, axis)

    def any(self, x: Any, axis: int | None = None) -> Any:
        return jnp.any(x, axis)

    def softmax(self, x: Any) -> Any:
        return jax.nn.softmax(x, -1)

    def log_softmax(self, x: Any) -> Any:
        return jax.nn.log_softmax(x, -1)

    def exp(self, x: Any) -> Any:
        return jnp.exp(x)

    def log(self, x: Any) -> Any:
        return jnp.log(x)

    def sqrt(self, x: Any) -> Any:
        return jnp.sqrt(x)

    def rsqrt(self, x: Any) -> Any:
        return lax.rsqrt(x)

    def sin(self, x: Any) -> Any:
        return jnp.sin(x)

    def cos(self, x: Any) -> Any:
        return jnp.cos(x)

    def tanh(self, x: Any) -> Any:
        return jnp.tanh(x)

    def sigmoid(self, x: Any) -> Any:
        return jax.nn.sigmoid(x)

    def erf(self, x: Any) -> Any:
        return lax.erf(x)

    def abs(self, x: Any) -> Any:
        return jnp.abs(x)

    def ceil(self, x: Any) -> Any:
        return jnp.ceil(x)

    def sign(self, x: Any) -> Any:
        return jnp.sign(x)

    def power(self, base: Any, exponent: Any) -> Any:
        return jnp.power(base, exponent)

    def minimum(self, a: Any, b: Any) -> Any:
        return jnp.minimum(a, b)

    def maximum(self, a: Any, b: Any) -> Any:
        return jnp.maximum(a, b)

    def split(self, key: Any) -> tuple[Any, Any]:
        first, second = jax.random.split(key)
        return first, second

    def uniform(self, key: Any, shape: Sequence[Any]) -> Any:
        return jax.random.uniform(key, tuple(shape), jnp.float32)

    def loop(self, go_on: Callable[..., Any], body: Callable[..., Any], state: Any) -> Any:
        return lax.while_loop(go_on, body, state)

    def keep(self, x: Any) -> Any:
        return lax.optimization_barrier(x)  # type: ignore[no-untyped-call]

    def constant(self, x: Any) -> Any:
        return lax.stop_gradient(x)
