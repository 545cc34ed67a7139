"""What to generate, not how: settings, stopping criteria, streamers and outputs, in no framework's words."""

from seqgraft.generation.caching import QuantizedCacheConfig
from seqgraft.generation.config import GenerationConfig
from seqgraft.generation.constraints import (
    Constraint,
    ConstraintListState,
    DisjunctiveConstraint,
    PhrasalConstraint,
)
from seqgraft.generation.stopping import (
    EosTokenCriteria,
    MaxLengthCriteria,
    MaxTimeCriteria,
    StoppingCriteria,
    StoppingCriteriaList,
)
from seqgraft.generation.streamers import BaseStreamer, TextIteratorStreamer, TextStreamer
from seqgraft.generation.watermarking import WatermarkingConfig

__all__ = [
    "BaseStreamer",
    "Constraint",
    "ConstraintListState",
    "DisjunctiveConstraint",
    "EosTokenCriteria",
    "GenerationConfig",
    "MaxLengthCriteria",
    "MaxTimeCriteria",
    "PhrasalConstraint",
    "QuantizedCacheConfig",
    "StoppingCriteria",
    "StoppingCriteriaList",
    "TextIteratorStreamer",
    "TextStreamer",
    "WatermarkingConfig",
]
