"""`generate`: from a user's call to a search and back.

The model behind it is a decoder with a state (`decoding`), and for a pair also an encoder (`encode`); which of the
two searches runs, and how far, is decided here.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.generation.config import GenerationConfig
from seqgraft.generation.outputs import (
    BaseModelOutput,
    GenerateBeamDecoderOnlyOutput,
    GenerateBeamEncoderDecoderOutput,
    GenerateDecoderOnlyOutput,
    GenerateEncoderDecoderOutput,
    ModelOutput,
)
from seqgraft.generation.resolve import SpecialIds, set_lengths, settings_of, special_ids
from seqgraft.generation.stopping import EosTokenCriteria, MaxTimeCriteria
from seqgraft.generation.streamers import BaseStreamer
from seqgraft.torch import processors as logits_processors
from seqgraft.torch.search import Decoder, FoundBeams, FoundRows, Record, State, as_tuple
from seqgraft.torch.search_beams import search_beams
from seqgraft.torch.search_prompt import INPUTS, first_token, inferred_mask, lone_prompt, moved, pair_prompt, repeated
from seqgraft.torch.search_rows import search_rows
from seqgraft.torch.stopping import Stopping

# Arguments that the field has and that are not supported yet: None is what a caller that wraps `generate` passes.
_LATER = (
    "prefix_allowed_tokens_fn",
    "synced_gpus",
    "assistant_model",
    "assistant_tokenizer",
    "tokenizer",
    "negative_prompt_ids",
    "negative_prompt_attention_mask",
    "custom_generate",
    "past_key_values",
)


@dataclass(frozen=True)
class Source:
    """What the encoder gave: `mask [sources, source_time]`, None where every position counts."""

    outputs: BaseModelOutput
    mask: Tensor | None
    sources: int


class GenerationMixin:
    """Gives `generate` to a model that has `config`, `generation_config`, `device`, `decoding` and maybe `encode`."""

    if TYPE_CHECKING:
        config: Any
        generation_config: GenerationConfig

        @property
        def device(self) -> torch.device: ...

        encode: Callable[..., BaseModelOutput]
        """ids [sources, source_time] -> states [sources, source_time, width]."""
        decoding: Callable[..., tuple[Decoder, State]]
        """A decoder of sources * rows_per_source rows and its state before the prompt."""

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: list[Any] | None = None,
        stopping_criteria: list[Any] | None = None,
        *,
        streamer: BaseStreamer | None = None,
        **kwargs: Any,
    ) -> Any:
        """Generate ids [batch * num_return_sequences, time], the prompt first; or an output with
        `return_dict_in_generate`.

        `kwargs` are settings (fields of `GenerationConfig`), which go over `generation_config`, which goes over the
        model's own; and inputs: `input_ids`, `attention_mask`, `inputs_embeds`, `token_type_ids`, `position_ids` of
        the source, `encoder_outputs` instead of it, `decoder_input_ids` and `decoder_attention_mask` of a prompt.
        """
        given, call = self._sorted_arguments(kwargs, generation_config)
        if inputs is not None:
            if given.get("input_ids") is not None:
                raise ValueError("Pass `inputs` or `input_ids` to generate(), not both.")
            given["input_ids"] = inputs
        config = settings_of(call, generation_config, self.generation_config)
        if streamer is not None and config.num_beams > 1:
            raise GenerationError(f"`streamer` needs `num_beams` to be 1, but it is {config.num_beams}.")
        pair = bool(getattr(self.config, "is_encoder_decoder", False))
        halves = (self.config, getattr(self.config, "decoder", None)) if pair else (self.config,)
        ids = special_ids(config, call, [half for half in halves if half is not None])
        source = None
        if pair:
            start = first_token(ids)  # before the encoder runs: a missing one is an error
            source = self._source(given, config, ids)
            prompt = pair_prompt(given, start, source.sources, self.device)
        else:
            prompt = lone_prompt(given, ids, self.device)
        if ids.pad_is_end and len(prompt.ids) > 1:
            warnings.warn(f"No `pad_token_id` is set: finished rows are filled with {ids.pad}.", stacklevel=3)

        prompt_name = "decoder_input_ids" if pair else "input_ids"
        max_length = set_lengths(config, prompt.ids.shape[1], _position_limit(halves), prompt_name)
        rows_per_source = max(config.num_beams, config.num_return_sequences)
        rows = repeated(prompt, rows_per_source)
        ends = [EosTokenCriteria(ids.eos)] if ids.eos else []
        timers = [MaxTimeCriteria(config.max_time)] if config.max_time is not None else []
        stopping = Stopping.of(logits_processors.merged([*timers, *ends], stopping_criteria or ()), max_length)
        processors = logits_processors.build(
            config,
            prompt_length=rows.ids.shape[1],
            max_length=max_length,
            eos_token_ids=ids.eos,
            device=self.device,
            prompt_mask=rows.mask,
            source_ids=_shared_vocabulary(self.config, given) if config.encoder_no_repeat_ngram_size else None,
            custom=logits_processor,
        )
        details = bool(config.return_dict_in_generate)
        record = Record(
            want_scores=details and config.output_scores,
            want_logits=details and config.output_logits,
            want_attentions=details and config.output_attentions,
            want_states=details and config.output_hidden_states,
        )
        decoder, state = self.decoding(
            source.outputs if source else None,
            source.mask if source else None,
            rows_per_source,
            output_attentions=record.want_attentions,
            output_hidden_states=record.want_states,
            decoder_attention_mask=rows.mask,
        )
        if config.num_beams == 1:
            if streamer is not None:
                streamer.put(rows.ids.cpu())
            found_rows = search_rows(
                decoder,
                state,
                rows.ids,
                processors=processors,
                stopping=stopping,
                record=record,
                sample=config.do_sample,
                pad_token_id=ids.pad,
                streamer=streamer,
            )
            return _rows_output(found_rows, record, source) if details else found_rows.ids
        found = search_beams(
            decoder,
            state,
            rows.ids,
            beams=config.num_beams,
            returned=config.num_return_sequences,
            processors=processors,
            stopping=stopping,
            record=record,
            sample=config.do_sample,
            fill=ids.pad if ids.pad is not None else 0,
            length_penalty=config.length_penalty,
            early_stopping=config.early_stopping,
        )
        return _beams_output(found, record, source) if details else found.ids

    def _sorted_arguments(
        self, kwargs: dict[str, Any], generation_config: GenerationConfig | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The model's inputs and the settings of a call; TypeError for what is neither."""
        inputs, call, unknown = {}, {}, []
        for name, value in kwargs.items():
            if name in INPUTS:
                inputs[name] = value
            elif self.generation_config.has(name) or (generation_config is not None and generation_config.has(name)):
                call[name] = value
            elif name not in _LATER:
                unknown.append(name)
            elif value is not None:
                raise GenerationError(f"`{name}` is not supported yet, but is {value!r}.")
        if unknown:
            raise TypeError(f"generate() got unexpected arguments: {', '.join(unknown)}.")
        return inputs, call

    def _source(self, given: dict[str, Any], config: GenerationConfig, ids: SpecialIds) -> Source:
        input_ids, embeds = given.get("input_ids"), given.get("inputs_embeds")
        outputs, mask = given.get("encoder_outputs"), given.get("attention_mask")
        if outputs is not None:
            if not hasattr(outputs, "last_hidden_state"):  # a tuple or a dictionary of the same
                outputs = BaseModelOutput(*outputs) if isinstance(outputs, tuple) else BaseModelOutput(**outputs)
        elif (input_ids is None) == (embeds is None):
            have = "both `input_ids` and `inputs_embeds`" if embeds is not None else "no source"
            raise GenerationError(
                f"generate() needs one of `input_ids`, `inputs_embeds`, `encoder_outputs`, but has {have}."
            )
        if mask is None and input_ids is not None:
            encoder = getattr(self.config, "encoder", None)
            pad, ends = getattr(encoder, "pad_token_id", None), getattr(encoder, "eos_token_id", None)
            mask = inferred_mask(input_ids, *((ids.pad, ids.eos) if pad is None else (pad, ends)))
        if outputs is None:
            outputs = self.encode(
                input_ids=moved(input_ids, self.device),
                attention_mask=moved(mask, self.device),
                inputs_embeds=moved(embeds, self.device),
                token_type_ids=moved(given.get("token_type_ids"), self.device),
                position_ids=moved(given.get("position_ids"), self.device),
                output_attentions=bool(config.return_dict_in_generate and config.output_attentions),
                output_hidden_states=bool(config.return_dict_in_generate and config.output_hidden_states),
            )
        states = outputs.last_hidden_state
        if mask is not None and tuple(mask.shape) != tuple(states.shape[:2]):
            raise GenerationError(f"`attention_mask` must be {list(states.shape[:2])}, but is {list(mask.shape)}.")
        return Source(outputs, moved(mask, self.device), len(states))


def _shared_vocabulary(config: Any, given: dict[str, Any]) -> Tensor | None:
    """The source's ids, when they mean to the decoder what they mean to the encoder."""
    sizes = [getattr(getattr(config, side, None), "vocab_size", None) for side in ("encoder", "decoder")]
    if sizes[0] != sizes[1]:
        raise GenerationError(
            "`encoder_no_repeat_ngram_size` needs one vocabulary for both halves, but they have "
            f"{sizes[0]} and {sizes[1]} tokens."
        )
    found: Tensor | None = given.get("input_ids")
    return found


def _position_limit(halves: tuple[Any, ...]) -> int | None:
    limits = (getattr(half, "max_position_embeddings", None) for half in reversed(halves))
    return next((limit for limit in limits if limit is not None), None)


def _rows_output(found: FoundRows, record: Record, source: Source | None) -> ModelOutput:
    common = _common(found.state, record)
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
