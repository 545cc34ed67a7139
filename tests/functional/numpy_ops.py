"""The core's operations in plain numpy: the slow namespace that the frameworks' ones are held against."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_erf = np.vectorize(math.erf, otypes=[np.float64])


class NumpyOps:
    """See `seqgraft.functional.ops.Ops`."""

    name = "numpy"

    def array(self, values: Any, dtype: str | None = None) -> Any:
        made = np.asarray(values)
        if dtype is None and made.dtype == np.float64:
            dtype = "float32"
        return made.astype(dtype) if dtype else made

    def dtype(self, x: Any) -> str:
        return str(x.dtype)

    def cast(self, x: Any, dtype: str) -> Any:
        return np.asarray(x).astype(dtype)

    def shape(self, x: Any) -> tuple[int, ...]:
        return tuple(x.shape)

    def full(self, shape: Sequence[int], value: Any, dtype: str) -> Any:
        return np.full(tuple(shape), value, dtype)

    def arange(self, count: int) -> Any:
        return np.arange(count, dtype=np.int32)

    def reshape(self, x: Any, shape: Sequence[int]) -> Any:
        return np.reshape(x, tuple(shape))

    def transpose(self, x: Any, axes: Sequence[int]) -> Any:
        return np.transpose(x, axes)

    def broadcast(self, x: Any, shape: Sequence[int]) -> Any:
        return np.broadcast_to(x, tuple(shape))

    def concatenate(self, parts: Sequence[Any], axis: int) -> Any:
        return np.concatenate(list(parts), axis)

    def pad(self, x: Any, widths: Sequence[tuple[int, int]]) -> Any:
        return np.pad(x, [tuple(map(int, pair)) for pair in widths])

    def repeat(self, x: Any, count: int, axis: int) -> Any:
        return np.repeat(x, count, axis)

    def where(self, condition: Any, yes: Any, no: Any) -> Any:
        return np.where(condition, yes, no)

    def take(self, table: Any, index: Any, axis: int = 0) -> Any:
        return np.take(table, index, axis)

    def gather(self, x: Any, index: Any) -> Any:
        lead = np.broadcast_shapes(x.shape[:-1], index.shape[:-1])
        return np.take_along_axis(
            np.broadcast_to(x, (*lead, x.shape[-1])), np.broadcast_to(index, (*lead, index.shape[-1])), -1
        )

    def write(self, into: Any, part: Any, at: int, axis: int) -> Any:
        out = into.copy()
        places = [slice(None)] * into.ndim
        places[axis] = slice(int(at), int(at) + part.shape[axis])
        out[tuple(places)] = part
        return out

    def top_k(self, x: Any, count: int) -> tuple[Any, Any]:
        index = np.argsort(-x, -1, kind="stable")[..., :count].astype(np.int32)
        return np.take_along_axis(x, index, -1), index

    def argmax(self, x: Any) -> Any:
        return np.argmax(x, -1).astype(np.int32)

    def scatter_add(self, into: Any, index: Any, values: Any) -> Any:
        out = into.copy()
        np.add.at(out, (np.arange(len(out))[:, None], index), values)
        return out

    def sort(self, x: Any) -> Any:
        return np.sort(x, -1)

    def matmul(self, a: Any, b: Any) -> Any:
        return np.matmul(a, b)

    def sum(self, x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        return np.sum(x, axis, keepdims=keepdims)

    def mean(self, x: Any, axis: int, keepdims: bool = False) -> Any:
        return np.mean(x, axis, keepdims=keepdims)

    def max(self, x: Any, axis: int, keepdims: bool = False) -> Any:
        return np.max(x, axis, keepdims=keepdims)

    def cumsum(self, x: Any, axis: int) -> Any:
        return np.cumsum(x, axis, dtype=x.dtype)

    def all(self, x: Any, axis: int | None = None) -> Any:
        return np.all(x, axis)

    def any(self, x: Any, axis: int | None = None) -> Any:
        return np.any(x, axis)

    def softmax(self, x: Any) -> Any:
        made = np.exp(x - x.max(-1, keepdims=True))
        return made / made.sum(-1, keepdims=True)

    def log_softmax(self, x: Any) -> Any:
        x = x - x.max(-1, keepdims=True)
        return x - np.log(np.exp(x).sum(-1, keepdims=True))

    def exp(self, x: Any) -> Any:
        return np.exp(x)

    def log(self, x: Any) -> Any:
        return np.log(x)

    def sqrt(self, x: Any) -> Any:
        return np.sqrt(x)

    def rsqrt(self, x: Any) -> Any:
        return (1 / np.sqrt(x)).astype(x.dtype)

    def sin(self, x: Any) -> Any:
        return np.sin(x)

    def cos(self, x: Any) -> Any:
        return np.cos(x)

    def tanh(self, x: Any) -> Any:
        return np.tanh(x)

    def sigmoid(self, x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    def erf(self, x: Any) -> Any:
        return _erf(x).astype(x.dtype)

    def abs(self, x: Any) -> Any:
        return np.abs(x)

    def ceil(self, x: Any) -> Any:
        return np.ceil(x)

    def sign(self, x: Any) -> Any:
        return np.sign(x)

    def power(self, base: Any, exponent: Any) -> Any:
        return np.power(base, exponent)

    def minimum(self, a: Any, b: Any) -> Any:
        return np.minimum(a, b)

    def maximum(self, a: Any, b: Any) -> Any:
        return np.maximum(a, b)

    def split(self, key: Any) -> tuple[Any, Any]:
        first, second = np.random.SeedSequence(key).generate_state(2)
        return int(first), int(second)

    def uniform(self, key: Any, shape: Sequence[int]) -> Any:
        return np.random.default_rng(key).random(tuple(shape), dtype=np.float32)

    def loop(self, go_on: Callable[..., Any], body: Callable[..., Any], state: Any) -> Any:
        while bool(go_on(state)):
            state = body(state)
        return state

    def keep(self, x: Any) -> Any:
        return x

    def constant(self, x: Any) -> Any:
        return x
