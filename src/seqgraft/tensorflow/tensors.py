"""The door through which `text` makes TensorFlow's tensors without importing TensorFlow."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def from_rows(rows: Sequence[Any]) -> Any:
    """Equal rows of integers, `batch` lists of `length` -> int32 tensor [batch, length]."""
    return tf.constant(rows, tf.int32)
