"""The original Flax and TensorFlow classes as oracles: what they compute and write for tiny models, stored.

`make oracle` makes an environment of their last versions (`constraints.txt`) and fills `expected/` anew. The tests of
the frameworks read `expected/` alone. Each file there says the command, the versions and the digest of the inputs that
made it, and `test_stored.py` fails when the inputs were changed since.
"""
