"""The operations on arrays that the functional core is written in; JAX and TensorFlow have one implementation each.

Arrays of either know Python's arithmetic, comparisons, `~`, `&`, `|`, basic slices and `[..., None]`; all else goes
through here. A size is a Python number where it is known when a program is compiled, else an integer array. Dtypes are
their names: `float32`, `bfloat16`, `float16`, `int32`, `bool`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

Array = Any
"""An array of the framework."""
Size = Any
"""A Python number, or an integer array of no axis."""
Key = Any
"""A state of a random generator that is handed in and never changed."""


class Ops(Protocol):
    """One framework's operations."""

    name: str

    # making and asking
    def array(self, values: Any, dtype: str | None = None) -> Array: ...
    def dtype(self, x: Array) -> str: ...
    def cast(self, x: Array, dtype: str) -> Array: ...
    def shape(self, x: Array) -> tuple[Size, ...]: ...
    def full(self, shape: Sequence[Size], value: Any, dtype: str) -> Array: ...
    def arange(self, count: Size) -> Array:
        """0 to count - 1, int32."""

    # shaping
    def reshape(self, x: Array, shape: Sequence[Size]) -> Array: ...
    def transpose(self, x: Array, axes: Sequence[int]) -> Array: ...
    def broadcast(self, x: Array, shape: Sequence[Size]) -> Array: ...
    def concatenate(self, parts: Sequence[Array], axis: int) -> Array: ...
    def pad(self, x: Array, widths: Sequence[tuple[Size, Size]]) -> Array:
        """Zeros before and after each axis."""

    def repeat(self, x: Array, count: int, axis: int) -> Array:
        """Each entry `count` times in a row."""

    # choosing
    def where(self, condition: Array, yes: Any, no: Any) -> Array: ...
    def take(self, table: Array, index: Array, axis: int = 0) -> Array:
        """Entries of an axis by number; an index of several axes takes that axis's place."""

    def gather(self, x: Array, index: Array) -> Array:
        """x [..., n] at index [..., m] along the last axis; the axes before are broadcast."""

    def write(self, into: Array, part: Array, at: Size, axis: int) -> Array:
        """`into` with `part` from `at` on along an axis."""

    def top_k(self, x: Array, count: int) -> tuple[Array, Array]:
        """The largest of the last axis, in order, and their places; of equal ones the first."""

    def argmax(self, x: Array) -> Array:
        """Place of the largest of the last axis, the first of equal ones, int32."""

    def scatter_add(self, into: Array, index: Array, values: Array) -> Array:
        """into [rows, n] plus values [rows, m] at index [rows, m] of each row."""

    def sort(self, x: Array) -> Array:
        """The last axis, ascending."""

    # arithmetic
    def matmul(self, a: Array, b: Array) -> Array:
        """Products summed in float32, in the operands' dtype."""

    def sum(self, x: Array, axis: int | None = None, keepdims: bool = False) -> Array: ...
    def mean(self, x: Array, axis: int, keepdims: bool = False) -> Array: ...
    def max(self, x: Array, axis: int, keepdims: bool = False) -> Array: ...
    def cumsum(self, x: Array, axis: int) -> Array: ...
    def all(self, x: Array, axis: int | None = None) -> Array: ...
    def any(self, x: Array, axis: int | None = None) -> Array: ...
    def softmax(self, x: Array) -> Array: ...
    def log_softmax(self, x: Array) -> Array: ...
    def exp(self, x: Array) -> Array: ...
    def log(self, x: Array) -> Array: ...
    def sqrt(self, x: Array) -> Array: ...
    def rsqrt(self, x: Array) -> Array: ...
    def sin(self, x: Array) -> Array: ...
    def cos(self, x: Array) -> Array: ...
    def tanh(self, x: Array) -> Array: ...
    def sigmoid(self, x: Array) -> Array: ...
    def erf(self, x: Array) -> Array: ...
    def abs(self, x: Array) -> Array: ...
    def ceil(self, x: Array) -> Array: ...
    def sign(self, x: Array) -> Array: ...
    def power(self, base: Any, exponent: Any) -> Array: ...
    def minimum(self, a: Any, b: Any) -> Array: ...
    def maximum(self, a: Any, b: Any) -> Array: ...

    # chance
    def split(self, key: Key) -> tuple[Key, Key]:
        """Two states that have nothing to do with each other."""

    def uniform(self, key: Key, shape: Sequence[Size]) -> Array:
        """float32 of [0, 1)."""

    # control
    def loop(self, go_on: Callable[..., Array], body: Callable[..., Any], state: Any) -> Any:
        """`state = body(state)` while `go_on(state)`; shapes and dtypes of a state (tuples, dictionaries) stay."""

    def keep(self, x: Array) -> Array:
        """`x`, as an array that the compiler lays out once and does not recompute."""

    def constant(self, x: Array) -> Array:
        """`x`, through which no gradient goes."""
