"""What models and `generate` return: dataclasses that are also dictionaries, with the field's names and order.

Tensors may be of any framework, so the values are not typed. In the shapes, `rows` is batch * beams or
batch * num_return_sequences, source-major.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any


class ModelOutput(OrderedDict[str, Any]):
    """A dataclass whose fields that are not None are also the items of a dictionary, in the declared order.

    `output.logits`, `output["logits"]` and `output[0]` are the same value; iterating gives keys, as a dictionary does.
    Fields may be set at any time; a field set to None leaves the dictionary. Items are never deleted otherwise.
    """

    def __post_init__(self) -> None:
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]
        first = getattr(self, names[0])
        alone = all(getattr(self, name) is None for name in names[1:])
        if alone and isinstance(first, (Mapping, Iterator)):  # type(output)(pairs), as torch's gather rebuilds outputs
            object.__setattr__(self, names[0], None)
            self._discard(names[0])
            for name, value in first.items() if isinstance(first, Mapping) else first:
                self[name] = value

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are not None, in order."""
        return tuple(self.values())

    def __getitem__(self, key: str | int | slice) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        names = self._names()
        if key not in names:
            raise KeyError(f"{type(self).__name__} has the fields {', '.join(names)}, but not '{key}'.")
        setattr(self, key, value)

    def __setattr__(self, name: str, value: Any) -> None:
        names = self._names()
        if name in names:
            if value is None:
                self._discard(name)
            else:
                late = name not in self
                super().__setitem__(name, value)
                if late:
                    for follower in names[names.index(name) + 1 :]:
                        if follower in self:
                            self.move_to_end(follower)
        super().__setattr__(name, value)

    def __delitem__(self, key: str) -> None:
        raise self._refusal("deletion of items")

    def setdefault(self, *arguments: Any, **named: Any) -> Any:
        raise self._refusal("setdefault")

    def pop(self, *arguments: Any, **named: Any) -> Any:
        raise self._refusal("pop")

    def update(self, *arguments: Any, **named: Any) -> None:
        raise self._refusal("update")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, name) for name in self._names())

    def _refusal(self, what: str) -> TypeError:
        return TypeError(f"A {type(self).__name__} has fixed fields: it allows no {what}; set the field instead.")

    def _discard(self, name: str) -> None:
        if name in self:
            super().__delitem__(name)

    @classmethod
    def _names(cls) -> list[str]:
        return list(cls.__dataclass_fields__)  # type: ignore[attr-defined]


@dataclass
class BaseModelOutput(ModelOutput):
    """What an encoder returns.

    `last_hidden_state [batch, time, width]`; `hidden_states`: one of that shape per layer and one for the embeddings;
    `attentions`: per layer [batch, heads, time, time].
    """

    last_hidden_state: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass
class BaseModelOutputWithPooling(ModelOutput):
    """`BaseModelOutput` with `pooler_output [batch, width]`."""

    last_hidden_state: Any = None
    pooler_output: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass
class BaseModelOutputWithPastAndCrossAttentions(ModelOutput):
    """What a decoder without its head returns; `cross_attentions`: per layer [batch, heads, time, source_time]."""

    last_hidden_state: Any = None
    past_key_values: Any = None
    hidden_states: Any = None
    attentions: Any = None
    cross_attentions: Any = None


@dataclass
class BaseModelOutputWithPoolingAndCrossAttentions(ModelOutput):
    """What a stack that may be an encoder or a decoder returns."""

    last_hidden_state: Any = None
    pooler_output: Any = None
    hidden_states: Any = None
    past_key_values: Any = None
    attentions: Any = None
    cross_attentions: Any = None


@dataclass
class CausalLMOutputWithCrossAttentions(ModelOutput):
    """What a decoder with its head returns; `logits [batch, time, vocab]`."""

    loss: Any = None
    logits: Any = None
    past_key_values: Any = None
    hidden_states: Any = None
    attentions: Any = None
    cross_attentions: Any = None


@dataclass
class CausalLMOutputWithStreams(CausalLMOutputWithCrossAttentions):
    """What a decoder returns whose further streams look ahead (ProphetNet): theirs beside the first one's.

    `logits_ngram [batch, streams - 1, time, vocab]`."""

    logits_ngram: Any = None


@dataclass
class Seq2SeqLMOutput(ModelOutput):
    """What a pair returns; `encoder_last_hidden_state [batch, source_time, encoder_width]` is not projected."""

    loss: Any = None
    logits: Any = None
    past_key_values: Any = None
    decoder_hidden_states: Any = None
    decoder_attentions: Any = None
    cross_attentions: Any = None
    encoder_last_hidden_state: Any = None
    encoder_hidden_states: Any = None
    encoder_attentions: Any = None


@dataclass
class GenerateDecoderOnlyOutput(ModelOutput):
    """Greedy search and sampling of a decoder alone: as `GenerateEncoderDecoderOutput`, without the encoder."""

    sequences: Any
    scores: Any = None
    logits: Any = None
    attentions: Any = None
    hidden_states: Any = None
    past_key_values: Any = None


@dataclass
class GenerateEncoderDecoderOutput(ModelOutput):
    """Greedy search and sampling of a pair.

    `sequences [rows, time]` int64, the prompt first; `scores` and `logits`: per step [rows, vocab], after and before
    the processors; the decoder's attentions and states: per step a tuple over layers, the first step over the prompt.
    """

    sequences: Any
    scores: Any = None
    logits: Any = None
    encoder_attentions: Any = None
    encoder_hidden_states: Any = None
    decoder_attentions: Any = None
    cross_attentions: Any = None
    decoder_hidden_states: Any = None
    past_key_values: Any = None


@dataclass
class GenerateAssistedDecoderOnlyOutput(GenerateDecoderOnlyOutput):
    """Assisted generation of a decoder alone: as `GenerateAssistedEncoderDecoderOutput`, without the encoder."""

    speculation: Any = None


@dataclass
class GenerateAssistedEncoderDecoderOutput(GenerateEncoderDecoderOutput):
    """Assisted generation of a pair: no `past_key_values`, since rows leave them at lengths of their own.

    `speculation` counts: `passes` of the model, drafts `drafted` and `accepted`, `tokens_per_pass` of a row.
    """

    speculation: Any = None


@dataclass
class GenerateBeamDecoderOnlyOutput(ModelOutput):
    """Beam search of a decoder alone: as `GenerateBeamEncoderDecoderOutput`, without the encoder."""

    sequences: Any
    sequences_scores: Any = None
    scores: Any = None
    logits: Any = None
    beam_indices: Any = None
    attentions: Any = None
    hidden_states: Any = None
    past_key_values: Any = None


@dataclass
class GenerateBeamEncoderDecoderOutput(ModelOutput):
    """Beam search of a pair.

    `sequences [batch * num_return_sequences, time]`, `sequences_scores` one number each; `scores` and `logits`: per
    step [batch * beams, vocab]; `beam_indices [batch * num_return_sequences, steps]`: the row of `scores` that each
    token was chosen from, -1 after the end.
    """

    sequences: Any
    sequences_scores: Any = None
    scores: Any = None
    logits: Any = None
    beam_indices: Any = None
    encoder_attentions: Any = None
    encoder_hidden_states: Any = None
    decoder_attentions: Any = None
    cross_attentions: Any = None
    decoder_hidden_states: Any = None
    past_key_values: Any = None
