"""The door through which `text` makes JAX arrays without importing JAX."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def from_rows(rows: Sequence[Any]) -> jax.Array:
    """Equal rows of integers, `batch` lists of `length` -> int32 array [batch, length], as the field has it."""
    return jnp.asarray(np.asarray(rows, np.int32))
