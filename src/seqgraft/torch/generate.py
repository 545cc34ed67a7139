"""`generate`: from a user's call to a search and back.

The model behind it is a decoder with a state (`decoding`), and for a pair also an encoder (`encode`). What a call
brings is sorted in `generate_source`, which search runs is decided in `search_choice`, and what comes back is made in
`generate_outputs`.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from seqgraft.generation.caching import quantized_cache
from seqgraft.generation.config import GenerationConfig
from seqgraft.generation.modes import idle
from seqgraft.generation.outputs import BaseModelOutput
from seqgraft.generation.resolve import SpecialIds, position_limit, set_lengths, settings_of, special_ids
from seqgraft.generation.stopping import EosTokenCriteria, MaxTimeCriteria
from seqgraft.generation.streamers import BaseStreamer
from seqgraft.torch import processors as logits_processors
from seqgraft.torch import search_choice
from seqgraft.torch.assistance import Call, drafting_of
from seqgraft.torch.custom import own_arguments, run_custom
from seqgraft.torch.decoding import CausalDecoding
from seqgraft.torch.encoding import encoded
from seqgraft.torch.generate_outputs import one_after_the_other, output
from seqgraft.torch.generate_source import Source, Work, encoded_source, sorted_arguments
from seqgraft.torch.graphs import Plan, plan_of
from seqgraft.torch.guidance import (
    GuidanceLogitsProcessor,
    Guided,
    GuidedState,
    unconditional_prompt,
    unconditional_source,
)
from seqgraft.torch.processors import LogitsProcessorList
from seqgraft.torch.search import Decoder, FoundBeams, FoundRows, PromptOnce, Record, State
from seqgraft.torch.search_prompt import Prompt, first_token, lone_prompt, pair_prompt, repeated
from seqgraft.torch.source_ids import source_ids
from seqgraft.torch.stop_strings import stop_strings
from seqgraft.torch.stopping import Stopping
from seqgraft.torch.transitions import transition_scores


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
        """A decoder and its state before the prompt [sources, time]."""

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: list[Any] | None = None,
        stopping_criteria: list[Any] | None = None,
        *,
        prefix_allowed_tokens_fn: Callable[[int, Tensor], Any] | None = None,
        streamer: BaseStreamer | None = None,
        tokenizer: Any = None,
        assistant_model: Any = None,
        assistant_tokenizer: Any = None,
        custom_generate: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Generate ids [batch * num_return_sequences, time], the prompt first; or an output with
        `return_dict_in_generate`.

        `kwargs` are settings (fields of `GenerationConfig`), which go over `generation_config`, which goes over the
        model's own; and inputs: `input_ids`, `attention_mask`, `inputs_embeds`, `token_type_ids`, `position_ids`,
        `global_attention_mask` of the source, what the encoder's family alone takes (`EncoderModel.forward`),
        `encoder_outputs` instead of it, `decoder_input_ids` and `decoder_attention_mask` of a prompt; with
        `guidance_scale` also `negative_prompt_ids` and `negative_prompt_attention_mask`: another source, or prompt of a
        decoder alone, to lead away from.
        `prefix_allowed_tokens_fn(source, ids [time])` returns the tokens that may follow; `tokenizer` is the
        target's, or the pair's, and needed by `stop_strings`.

        `assistant_model` (a smaller pair or causal model) or `prompt_lookup_num_tokens` drafts tokens that one pass
        checks: greedy results stay the same, sampled ones keep their distribution. One with another vocabulary needs
        `tokenizer` and `assistant_tokenizer`, its own; so does lookup in a source of another one (the encoder's).

        `custom_generate` is a search of your own (`seqgraft.torch.custom`); what it returns is returned.
        """
        own = own_arguments(custom_generate, kwargs)
        further: tuple[str, ...] = getattr(getattr(getattr(self, "encoder", None), "spec", None), "inputs", ())
        given, call = sorted_arguments(kwargs, self.generation_config, generation_config, further)
        if inputs is not None:
            if given.get("input_ids") is not None:
                raise ValueError("Pass `inputs` or `input_ids` to generate(), not both.")
            given["input_ids"] = inputs
        config = settings_of(call, generation_config, self.generation_config)
        arguments = {"streamer": streamer, "assistant_model": assistant_model, **given}
        mode = search_choice.chosen(config, arguments)
        for remark in idle(call, config, arguments):
            warnings.warn(remark, stacklevel=3)
        pair = bool(getattr(self.config, "is_encoder_decoder", False))
        halves = (self.config, getattr(self.config, "decoder", None)) if pair else (self.config,)
        ids = special_ids(config, call, [half for half in halves if half is not None])
        source = None
        if pair:
            start = first_token(ids)  # before the encoder runs: a missing one is an error
            encoder_config = getattr(self.config, "encoder", None)
            source = encoded_source(
                self._encode, given, config, ids, encoder_config=encoder_config, device=self.device, further=further
            )
            prompt = pair_prompt(given, start, source.sources, self.device)
        else:
            prompt = lone_prompt(given, ids, self.device)
        if ids.pad_is_end and len(prompt.ids) > 1:
            warnings.warn(f"No `pad_token_id` is set: finished rows are filled with {ids.pad}.", stacklevel=3)

        prompt_name = "decoder_input_ids" if pair else "input_ids"
        max_length = set_lengths(config, prompt.ids.shape[1], position_limit(halves), prompt_name)
        words = source_ids(self.config, given, config, tokenizer)
        work = Work(source, prompt, words, prefix_allowed_tokens_fn)
        if config.guidance_scale not in (None, 1.0):
            work = replace(work, other=self._unconditional(given, work, ids))
        ends = [EosTokenCriteria(ids.eos)] if ids.eos else []
        timers = [MaxTimeCriteria(config.max_time)] if config.max_time is not None else []
        texts = [stop_strings(config.stop_strings, tokenizer)] if config.stop_strings is not None else []
        stopping = Stopping.of(logits_processors.merged([*timers, *texts, *ends], stopping_criteria or ()), max_length)
        details = bool(config.return_dict_in_generate)
        cached: dict[str, Any] = {} if (how := quantized_cache(config)) is None else {"quantized_cache": how}
        drafters = {
            "assistant_model": assistant_model,
            "tokenizer": tokenizer,
            "assistant_tokenizer": assistant_tokenizer,
        }

        def prepared(work: Work) -> tuple[Prompt, LogitsProcessorList]:
            rows = repeated(work.prompt, mode.rows_per_source)
            return rows, logits_processors.build(
                config,
                prompt_length=rows.ids.shape[1],
                max_length=max_length,
                eos_token_ids=ids.eos,
                device=self.device,
                prompt_mask=rows.mask,
                source_ids=work.source_ids,
                custom=logits_processor,
                prefix_allowed_tokens_fn=work.allowed,
                vocab_size=getattr(halves[-1] or halves[0], "vocab_size", None),
            )

        if custom_generate is not None:
            own |= {"streamer": streamer} if streamer is not None else {}
            rows, processors = prepared(work)
            return run_custom(custom_generate, self, rows, source, config, ids, processors, stopping, own)

        def search(work: Work) -> tuple[FoundRows | FoundBeams, Record]:
            rows, processors = prepared(work)
            record = Record(
                want_scores=details and config.output_scores,
                want_logits=details and config.output_logits,
                want_attentions=details and config.output_attentions,
                want_states=details and config.output_hidden_states,
                want_cache=details,
            )
            plan = plan_of(config, max_length, self.device) if mode.name != "assisted" else None
            decoder, state = self._started(
                work.source,
                work.prompt,
                plan,
                output_attentions=record.want_attentions,
                output_hidden_states=record.want_states or mode.needs_states,
                **cached,
            )
            if work.other is not None:
                guided = Guided(decoder, work.other[1].ids)
                decoder, state = guided, GuidedState(state, self._started(*work.other, plan, **cached)[1])
                processors.insert(0, GuidanceLogitsProcessor(config.guidance_scale, guided))
            if details:  # what is kept of every step is to the bit what the rows by themselves give
                state = decoder.spread(state, mode.rows_per_source)
            elif mode.rows_per_source > 1:
                decoder = PromptOnce(decoder, mode.rows_per_source, mixing=mode.mixes)
            drafting = None
            if mode.name == "assisted":
                times = mode.rows_per_source
                drafting = drafting_of(Call(self, config, given, drafters, source, rows, times, processors, stopping))
            shared = (config, ids, processors, stopping, record, streamer, rows.mask, drafting)
            # What nobody sees needs no notes for gradients. (`inference_mode(False)` would turn gradients on.)
            with torch.no_grad() if details else torch.inference_mode():
                return mode.search(search_choice.Request(decoder, state, rows.ids, *shared)), record

        found: FoundRows | FoundBeams
        if config.low_memory and mode.ranks and len(prompt.ids) > 1:
            parts = [search(work.of(place)) for place in range(len(prompt.ids))]
            found, record = one_after_the_other(parts, mode.rows_per_source, ids.pad or 0)
        else:
            found, record = search(work)
        return output(found, record, source) if details else found.ids.clone()

    def _encode(self, **inputs: Any) -> BaseModelOutput:
        """The encoder's states, without what padding costs."""
        return encoded(self.encode, getattr(self, "encoder", None), **inputs)

    def _started(self, source: Source | None, prompt: Prompt, plan: Plan | None, **asked: Any) -> tuple[Decoder, State]:
        """The decoder and its state before the prompt [sources, time], whose steps run by the plan."""
        outputs, mask = (source.outputs, source.mask) if source is not None else (None, None)
        decoder, state = self.decoding(outputs, mask, decoder_attention_mask=prompt.mask, **asked)
        return decoder, decoder.planned(state, plan) if isinstance(decoder, CausalDecoding) else state

    def _unconditional(self, given: dict[str, Any], work: Work, ids: SpecialIds) -> tuple[Source | None, Prompt]:
        """What the unconditional branch of guidance reads, and where it starts."""
        negative = given.get("negative_prompt_ids"), given.get("negative_prompt_attention_mask")
        if work.source is None:
            return None, unconditional_prompt(work.prompt, *negative)
        pad = getattr(getattr(self.config, "encoder", None), "pad_token_id", None)
        pad = ids.pad if pad is None else pad
        return unconditional_source(self._encode, work.source, *negative, pad), work.prompt

    def compute_transition_scores(
        self,
        sequences: Tensor,
        scores: Sequence[Tensor],
        beam_indices: Tensor | None = None,
        normalize_logits: bool = False,
    ) -> Tensor:
        """The score of every generated token, [rows, steps], out of an output's fields.

        With beams they sum to `sequences_scores` times (generated length) ** length_penalty. `normalize_logits` turns
        logits into log-probabilities. After a beam's end they are 0.
        """
        return transition_scores(sequences, scores, beam_indices, normalize_logits)
