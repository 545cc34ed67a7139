"""What `test_devices.py` runs in a process of its own, with two devices of the host."""

import sys

import keras
import numpy as np
import tensorflow as tf

import seqgraft

from ..functional.devices import IDS, LABELS, configuration


def made() -> seqgraft.TFEncoderDecoderModel:
    config = configuration(initializer_range=0.1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    return seqgraft.TFEncoderDecoderModel(config)


def trained(model: seqgraft.TFEncoderDecoderModel, **compiling: object) -> tuple[list[float], list[np.ndarray]]:
    """The loss of each of three passes over one batch, and the weights after them."""
    model.compile(keras.optimizers.SGD(0.5), **compiling)
    told = model.fit({"input_ids": IDS, "labels": LABELS}, epochs=3, batch_size=8, shuffle=False, verbose=0)
    return told.history["loss"], [np.asarray(value) for value in model.trainable_variables]


def mirrored() -> None:
    """`fit` with a copy of the model on each device: the same steps as one device makes of the whole batch."""
    alone = made()
    alone(input_ids=IDS, labels=LABELS)
    start = [np.asarray(value) for value in alone.trainable_variables]
    losses, weights = trained(alone)
    devices = tf.config.list_logical_devices("CPU")
    assert len(devices) == 2
    strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    with strategy.scope():
        shared = made()
        shared(input_ids=IDS, labels=LABELS)
        for variable, value in zip(shared.trainable_variables, start, strict=True):
            variable.assign(value)
        found, after = trained(shared)
    assert losses[0] > losses[-1] + 0.01
    assert np.allclose(found, losses, rtol=1e-4)
    for ours, theirs in zip(after, weights, strict=True):
        assert np.allclose(ours, theirs, atol=1e-5)


if __name__ == "__main__":
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    {"mirrored": mirrored}[sys.argv[1]]()
