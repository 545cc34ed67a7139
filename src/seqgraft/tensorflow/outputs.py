"""What a pair and its `generate` return in TensorFlow. All are mappings, so a `tf.function` may return them."""

from dataclasses import dataclass
from typing import Any

from seqgraft.generation.outputs import BaseModelOutput, ModelOutput, Seq2SeqLMOutput


@dataclass
class TFBaseModelOutput(BaseModelOutput):
    """What an encoder returns."""


@dataclass
class TFSeq2SeqLMOutput(Seq2SeqLMOutput):
    """What a pair returns: `loss` [1] with labels; `past_key_values`: (key, value, memory's key, memory's value) of
    each layer, [batch, heads, time, head_width], the memory's two only where the layer looks at one."""


@dataclass
class TFGreedySearchEncoderDecoderOutput(ModelOutput):
    """What greedy search found: sequences [batch, time], filled with the padding id."""

    sequences: Any = None


@dataclass
class TFSampleEncoderDecoderOutput(ModelOutput):
    """What was drawn: sequences [batch * num_return_sequences, time], filled with the padding id."""

    sequences: Any = None


@dataclass
class TFBeamSearchEncoderDecoderOutput(ModelOutput):
    """What beams found: sequences [batch * num_return_sequences, time] and their scores."""

    sequences: Any = None
    sequences_scores: Any = None


@dataclass
class TFBeamSampleEncoderDecoderOutput(ModelOutput):
    """What beams found among drawn tokens, as of beams."""

    sequences: Any = None
    sequences_scores: Any = None
