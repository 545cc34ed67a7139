"""The mathematics of one Transformer stack, in no framework's words."""

from seqgraft.spec.attention import Attention, Buckets, Norm, Rotary, RotaryScaling
from seqgraft.spec.convolution import Convolution
from seqgraft.spec.disentangled import Disentangled, Distances
from seqgraft.spec.experts import Experts
from seqgraft.spec.feed_forward import FeedForward
from seqgraft.spec.graft import Graft, graft
from seqgraft.spec.layer import Adapter, Inserted, Layer
from seqgraft.spec.prefix import Prefix
from seqgraft.spec.sparse import BlockSparse
from seqgraft.spec.stack import (
    Constant,
    Head,
    Narrow,
    Positions,
    Stack,
    TokenDropout,
    Transform,
)
from seqgraft.spec.streams import Streams
from seqgraft.spec.table import parameters, waiting

__all__ = [
    "Adapter",
    "Attention",
    "BlockSparse",
    "Buckets",
    "Constant",
    "Convolution",
    "Disentangled",
    "Distances",
    "Experts",
    "FeedForward",
    "Graft",
    "Head",
    "Inserted",
    "Layer",
    "Narrow",
    "Norm",
    "Positions",
    "Prefix",
    "Rotary",
    "RotaryScaling",
    "Stack",
    "Streams",
    "TokenDropout",
    "Transform",
    "graft",
    "parameters",
    "waiting",
]
