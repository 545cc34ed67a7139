"""Pairs on JAX: the functional core over `jax.numpy`, as a Linen module and a model with a params tree."""
