"""What to generate, not how: settings, stopping criteria, streamers and outputs, in no framework's words."""

from seqgraft.generation.config import GenerationConfig
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
    "EosTokenCriteria",
    "GenerationConfig",
    "MaxLengthCriteria",
    "MaxTimeCriteria",
    "StoppingCriteria",
    "StoppingCriteriaList",
    "TextIteratorStreamer",
    "TextStreamer",
    "WatermarkingConfig",
]
