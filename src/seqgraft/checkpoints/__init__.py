"""A name or folder -> the headers of its weight files -> what is wrong with them, in one error. No framework here."""

from seqgraft.checkpoints.check import problems, require
from seqgraft.checkpoints.files import WeightFiles, open_weights
from seqgraft.checkpoints.headers import FLOATS, Header
from seqgraft.checkpoints.layout import STALE_WEIGHTS, Layout, parse_size, shards, stale_weights

__all__ = [
    "FLOATS",
    "STALE_WEIGHTS",
    "Header",
    "Layout",
    "WeightFiles",
    "open_weights",
    "parse_size",
    "problems",
    "require",
    "shards",
    "stale_weights",
]
