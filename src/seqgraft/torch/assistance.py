"""From a call's settings and arguments to what drafts its tokens: prompt lookup, or an assistant model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.generation.config import GenerationConfig
from seqgraft.generation.outputs import BaseModelOutput
from seqgraft.generation.resolve import special_ids
from seqgraft.torch.candidates import Assistant, Drafting, PromptLookup
from seqgraft.torch.generate_source import Source
from seqgraft.torch.processors import LogitsProcessorList
from seqgraft.torch.search_prompt import Prompt, moved
from seqgraft.torch.stopping import Stopping
from seqgraft.torch.translation import Translated, Translator, padded, spelled

# What the field has where neither the call nor a model's settings say it.
_PUBLISHED = {
    "max_matching_ngram_size": 2,
    "num_assistant_tokens": 20,
    "num_assistant_tokens_schedule": "constant",
    "assistant_confidence_threshold": 0.4,
}

_WORDS = 8
"""Words of an assistant for one of the model's, at most, where no table of positions bounds its texts."""


@dataclass(frozen=True)
class Call:
    """A call to `generate`, as far as drafts need it.

    `given` are the model's inputs, `arguments` those of `generate` that are no settings; `rows` the prompt of every
    row, source-major.
    """

    model: Any
    config: GenerationConfig
    given: Mapping[str, Any]
    arguments: Mapping[str, Any]
    source: Source | None
    rows: Prompt
    rows_per_source: int
    processors: LogitsProcessorList
    stopping: Stopping


def drafting_of(call: Call) -> Drafting:
    """What drafts tokens for the call, and how.

    Raises GenerationError when the settings, the vocabularies or the models do not go together.
    """
    model, lookup = call.arguments.get("assistant_model"), call.config.prompt_lookup_num_tokens
    times, together = call.rows_per_source, _together(call.model)
    if model is None:
        size = _setting(call.config, None, "max_matching_ngram_size")
        return Drafting(PromptLookup(lookup, size, _source_words(call)), _longest(call.model), times, together)
    if lookup is not None:
        raise GenerationError(
            f"`assistant_model` and `prompt_lookup_num_tokens` ({lookup}) both draft tokens: give one of them."
        )
    if not hasattr(model, "decoding") or not hasattr(model, "generation_config"):
        raise GenerationError(
            f"`assistant_model` must be an encoder-decoder or a causal model, but is a {type(model).__name__}."
        )
    if model.device != call.model.device:
        raise GenerationError(
            f"`assistant_model` must be on the model's device ({call.model.device}), but is on {model.device}."
        )
    translator = _translator(call)
    own, other = (_vocabulary(getattr(one.config, "decoder", None) or one.config) for one in (call.model, model))
    if own != other and translator is None:
        raise GenerationError(
            "`assistant_model` must write the model's vocabulary, or `tokenizer` (the model's) and "
            f"`assistant_tokenizer` must be given, but they have {own} and {other} tokens."
        )
    if translator is not None:
        return Drafting(_translated(call, model, translator), _longest(call.model), times, together)
    limits = [limit for limit in (_longest(call.model), _longest(model)) if limit is not None]
    assistant = _assistant(call, model, call.processors, call.stopping, call.rows.mask)
    return Drafting(assistant, min(limits, default=None), times, together or _together(model))


def _assistant(
    call: Call, model: Any, processors: LogitsProcessorList, stopping: Stopping, mask: Tensor | None, drawn: bool = True
) -> Assistant:
    outputs, source_mask = _assistant_source(call, model)
    decoder, state = model.decoding(outputs, source_mask, decoder_attention_mask=mask)
    own: GenerationConfig = model.generation_config
    schedule = _setting(call.config, own, "num_assistant_tokens_schedule")

    def remember(tokens: int) -> None:
        own.num_assistant_tokens = tokens

    return Assistant(
        decoder,
        state,
        tokens=_setting(call.config, own, "num_assistant_tokens"),
        threshold=_setting(call.config, own, "assistant_confidence_threshold"),
        processors=processors,
        stopping=stopping,
        adapt=schedule != "constant",
        sample=drawn and bool(call.config.do_sample),
        remember=remember if schedule == "heuristic" else None,
    )


def _translated(call: Call, model: Any, translator: Translator) -> Translated:
    halves = [one for one in (model.config, getattr(model.config, "decoder", None)) if one is not None]
    ids = special_ids(model.generation_config, {}, halves)
    if not isinstance(ids.start, int):
        raise GenerationError(
            "`assistant_model` must have a `decoder_start_token_id` or `bos_token_id` to start from, but has "
            f"{ids.start!r}."
        )
    capacity = _longest(model) or _WORDS * call.stopping.max_length
    inner = _assistant(call, model, LogitsProcessorList(), Stopping(capacity, ids.eos), None, drawn=False)
    end = next(iter(call.stopping.eos_token_ids), None)
    return Translated(inner, translator, start=ids.start, ends=ids.eos, end=end, capacity=capacity)


def _assistant_source(call: Call, model: Any) -> tuple[BaseModelOutput | None, Tensor | None]:
    """What the assistant's encoder makes of the source, a row for each row; nothing where it has none."""
    if not getattr(model.config, "is_encoder_decoder", False):
        return None, None
    if call.source is None:
        raise GenerationError("`assistant_model` must be a decoder alone, as the model that generates has no source.")
    outputs, mask = call.source.outputs, call.source.mask
    if getattr(model, "encoder", None) is not getattr(call.model, "encoder", call):
        ids = call.given.get("input_ids")
        if ids is None:
            raise GenerationError("`assistant_model` needs the `input_ids` of the source, but there are none.")
        ids = ids if mask is None else ids[:, : mask.shape[1]]  # what only padding follows was cut off
        if _translator(call) is not None:
            ids, mask = _read_again(call, ids)
        else:
            own, other = (_vocabulary(getattr(one.config, "encoder", None)) for one in (call.model, model))
            if own != other:
                raise GenerationError(
                    "`assistant_model` must read the model's source, or `tokenizer` (the model's) and "
                    f"`assistant_tokenizer` must be given, but the encoders have {own} and {other} tokens."
                )
        mask = moved(mask, model.device)
        outputs = model.encode(input_ids=moved(ids, model.device), attention_mask=mask)
    times = call.rows_per_source
    if times > 1:  # the rows of a source become of different length
        outputs = BaseModelOutput(outputs.last_hidden_state.repeat_interleave(times, dim=0))
        mask = None if mask is None else mask.repeat_interleave(times, dim=0)
    return outputs, mask


def _read_again(call: Call, ids: Tensor) -> tuple[Tensor, Tensor]:
    """The source [sources, time] in the words of the assistant's encoder, and the mask of that."""
    own, other = (call.arguments[name] for name in ("tokenizer", "assistant_tokenizer"))
    own, other = getattr(own, "source", own), getattr(other, "source", other)
    rows = [other(spelled(own, row))["input_ids"] for row in ids.tolist()]
    return padded(rows, other.pad_token_id or 0), padded([[1] * len(row) for row in rows], 0)


def _source_words(call: Call) -> Tensor | None:
    """The source of every row in the words of the text, [rows, time], -1 where there is none; None without encoder."""
    if call.source is None:
        return None
    ids: Tensor | None = call.given.get("input_ids")
    if ids is None:
        raise GenerationError("`prompt_lookup_num_tokens` needs the `input_ids` of the source, but there are none.")
    ids, mask = ids.to(call.rows.ids.device), call.source.mask
    if mask is not None:
        ids = ids[:, : mask.shape[1]].masked_fill(mask.to(ids.device) == 0, -1)
    own, other = call.arguments.get("tokenizer"), call.arguments.get("assistant_tokenizer")
    other = getattr(own, "source", None) if other is None else getattr(other, "source", other)
    sizes = [_vocabulary(getattr(call.model.config, half, None)) for half in ("encoder", "decoder")]
    if own is not None and other is not None:
        translator = Translator(other, getattr(own, "target", own))
        rows = [translator.there([i for i in row if i >= 0]) for row in ids.tolist()]
        ids = padded(rows, -1).to(ids.device)
    elif sizes[0] != sizes[1]:
        raise GenerationError(
            "`prompt_lookup_num_tokens` needs one vocabulary for both halves, or `tokenizer` (the decoder's) and "
            f"`assistant_tokenizer` (the encoder's), but they have {sizes[0]} and {sizes[1]} tokens."
        )
    return ids.repeat_interleave(call.rows_per_source, dim=0)


def _translator(call: Call) -> Translator | None:
    """From the assistant's words to the model's, where both tokenizers are given."""
    own, other = call.arguments.get("tokenizer"), call.arguments.get("assistant_tokenizer")
    if own is None or other is None:
        return None
    return Translator(getattr(other, "target", other), getattr(own, "target", own))


def _setting(config: GenerationConfig, further: GenerationConfig | None, name: str) -> Any:
    """What the call or the model says, or else the assistant's `further` settings, or else the field."""
    values = (getattr(one, name, None) for one in (config, further))
    return next((value for value in values if value is not None), _PUBLISHED[name])


def _vocabulary(config: Any) -> int | None:
    size: int | None = getattr(config, "vocab_size", None)
    return size


def _together(model: Any) -> bool:
    """Whether rows of the model's decoder must be of one length."""
    spec = getattr(getattr(model, "decoder", model), "spec", None)
    return getattr(spec, "streams", None) is not None or getattr(spec, "distances", None) is not None


def _longest(model: Any) -> int | None:
    """The longest text that the model's table of positions serves, None where there is no table."""
    spec = getattr(getattr(model, "decoder", model), "spec", None)
    longest: int | None = getattr(getattr(spec, "positions", None), "longest", None)
    return longest
