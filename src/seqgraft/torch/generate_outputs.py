"""What `generate` returns with `return_dict_in_generate`: a search's find and its record as the field's outputs."""

from typing import Any

from seqgraft.generation.outputs import (
    GenerateAssistedDecoderOnlyOutput,
    GenerateAssistedEncoderDecoderOutput,
    GenerateBeamDecoderOnlyOutput,
    GenerateBeamEncoderDecoderOutput,
    GenerateDecoderOnlyOutput,
    GenerateEncoderDecoderOutput,
    ModelOutput,
)
from seqgraft.torch.generate_source import Source
from seqgraft.torch.search import FoundBeams, FoundRows, Record, State, as_tuple
from seqgraft.torch.speculation import FoundAssisted


def output(found: FoundRows | FoundBeams, record: Record, source: Source | None) -> ModelOutput:
    """The output of a pair, or of a decoder alone (`source` None), in the field's class for the search that ran."""
    if isinstance(found, FoundBeams):
        return _beams_output(found, record, source)
    common = _common(found.state, record)
    if isinstance(found, FoundAssisted):
        common["speculation"] = found.speculation
        if source is None:
            return GenerateAssistedDecoderOnlyOutput(found.ids, **common, **_decoder_details(record))
        return GenerateAssistedEncoderDecoderOutput(found.ids, **common, **_pair_details(record, source))
    if source is None:
        return GenerateDecoderOnlyOutput(found.ids, **common, **_decoder_details(record))
    return GenerateEncoderDecoderOutput(found.ids, **common, **_pair_details(record, source))


def _beams_output(found: FoundBeams, record: Record, source: Source | None) -> ModelOutput:
    common = _common(found.state, record)
    common["sequences_scores"] = found.scores if record.want_scores else None
    common["beam_indices"] = found.beam_indices
    if source is None:
        return GenerateBeamDecoderOnlyOutput(found.ids, **common, **_decoder_details(record))
    return GenerateBeamEncoderDecoderOutput(found.ids, **common, **_pair_details(record, source))


def _common(state: State, record: Record) -> dict[str, Any]:
    return {
        "scores": as_tuple(record.scores, record.want_scores),
        "logits": as_tuple(record.logits, record.want_logits),
        "past_key_values": getattr(state, "cache", None),
    }


def _decoder_details(record: Record) -> dict[str, Any]:
    return {
        "attentions": as_tuple(record.attentions, record.want_attentions),
        "hidden_states": as_tuple(record.hidden_states, record.want_states),
    }


def _pair_details(record: Record, source: Source) -> dict[str, Any]:
    return {
        "encoder_attentions": source.outputs.attentions if record.want_attentions else None,
        "encoder_hidden_states": source.outputs.hidden_states if record.want_states else None,
        "decoder_attentions": as_tuple(record.attentions, record.want_attentions),
        "cross_attentions": as_tuple(record.cross_attentions, record.want_attentions),
        "decoder_hidden_states": as_tuple(record.hidden_states, record.want_states),
    }
