"""What `fit` and `evaluate` are given, and where their loss comes from."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf


def with_labels(data: Any) -> Any:
    """A step's data with labels that stand beside the inputs among them, as the field's models take them.

    Raises ValueError for sample weights: what counts nothing has the label -100.
    """
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    if weight is not None:
        raise ValueError("`sample_weight` must be None: a pair's loss is the mean over labels that are not -100.")
    if y is None:
        return x
    beside = dict(y) if isinstance(y, Mapping) else {"labels": y}
    held = dict(x) if isinstance(x, Mapping) else {"input_ids": x}
    return {**held, **beside}


def loss_of(outputs: Any) -> Any:
    """The mean loss that a call computed itself, as `compute_loss` returns one; None without labels.

    Under a strategy it is a replica's share: the gradients of all replicas are summed (and `fit` shows the mean of the
    replicas' losses, each over its own labels).
    """
    own = getattr(outputs, "loss", None)
    return None if own is None else tf.reduce_mean(own) / tf.distribute.get_strategy().num_replicas_in_sync
