"""What `generate` returns with `return_dict_in_generate`: a search's find and its record as the field's outputs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional

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


def one_after_the_other(
    parts: Sequence[tuple[FoundRows | FoundBeams, Record]], rows_per_source: int, fill: int
) -> tuple[FoundBeams, Record]:
    """The finds of single sources as one; where one had fewer steps, ids are `fill`, rows -1 and the rest zeros."""
    ids, scores, rows = [], [], []
    longest = max(found.ids.shape[1] for found, _ in parts)
    for place, (found, _) in enumerate(parts):
        if not isinstance(found, FoundBeams) or found.beam_indices is None:
            raise TypeError(f"Only finds of beams can be joined, but one is a {type(found).__name__}.")
        missing = (0, longest - found.ids.shape[1])
        ids.append(functional.pad(found.ids, missing, value=fill))
        scores.append(found.scores)
        own = torch.where(found.beam_indices < 0, -1, found.beam_indices + place * rows_per_source)
        rows.append(functional.pad(own, missing, value=-1))
    whole = replace(parts[0][1])
    for name in ("scores", "logits", "attentions", "cross_attentions", "hidden_states"):
        setattr(whole, name, _joined([getattr(record, name) for _, record in parts]))
    return FoundBeams(torch.cat(ids), torch.cat(scores), torch.cat(rows), None), whole


def _joined(parts: list[list[Any]]) -> list[Any]:
    """What was kept of every step (a tensor [rows, ...], or a tuple of them) of all parts, rows after rows."""

    def join(values: list[Any]) -> Any:
        some = next(value for value in values if value is not None)
        if isinstance(some, tuple):
            layers = [value if value is not None else (None,) * len(some) for value in values]
            return tuple(join(list(layer)) for layer in zip(*layers, strict=True))
        return torch.cat([torch.zeros_like(some) if value is None else value for value in values])

    steps = max(map(len, parts))
    return [join([part[step] if step < len(part) else None for part in parts]) for step in range(steps)]


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
