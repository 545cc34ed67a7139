"""The mathematics of one Transformer stack, in no framework's words."""

from seqgraft.spec.graft import Graft, graft
from seqgraft.spec.stack import Attention, FeedForward, Head, Layer, Norm, Positions, Rotary, Stack, Transform
from seqgraft.spec.table import parameters

__all__ = [
    "Attention",
    "FeedForward",
    "Graft",
    "Head",
    "Layer",
    "Norm",
    "Positions",
    "Rotary",
    "Stack",
    "Transform",
    "graft",
    "parameters",
]
