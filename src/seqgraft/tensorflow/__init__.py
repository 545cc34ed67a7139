"""Pairs in TensorFlow: a Keras model over the functional core."""
