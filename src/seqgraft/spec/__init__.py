"""The mathematics of one Transformer stack, in no framework's words."""

from seqgraft.spec.attention import Attention, Buckets, Norm, Rotary, RotaryScaling
from seqgraft.spec.graft import Graft, graft
from seqgraft.spec.stack import (
    Adapter,
    Constant,
    FeedForward,
    Head,
    Layer,
    Narrow,
    Positions,
    Stack,
    TokenDropout,
    Transform,
)
from seqgraft.spec.table import parameters

__all__ = [
    "Adapter",
    "Attention",
    "Buckets",
    "Constant",
    "FeedForward",
    "Graft",
    "Head",
    "Layer",
    "Narrow",
    "Norm",
    "Positions",
    "Rotary",
    "RotaryScaling",
    "Stack",
    "TokenDropout",
    "Transform",
    "graft",
    "parameters",
]
