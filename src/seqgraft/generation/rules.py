"""What generation settings may be, one by one and together."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from seqgraft.errors import GenerationError
from seqgraft.generation.caching import cache_faults
from seqgraft.generation.compiling import compile_faults
from seqgraft.generation.constraints import constraint_faults
from seqgraft.generation.fields import ARGUMENTS, BEAMS_ONLY, EXTRA_OUTPUTS, SAMPLING_ONLY
from seqgraft.generation.modes import clashes
from seqgraft.generation.watermarking import WatermarkingConfig

_AT_LEAST = {
    "max_length": 1,
    "max_new_tokens": 1,
    "min_length": 0,
    "min_new_tokens": 0,
    "num_beams": 1,
    "num_beam_groups": 1,
    "num_return_sequences": 1,
    "top_k": 0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "num_assistant_tokens": 1,
    "prompt_lookup_num_tokens": 1,
    "max_matching_ngram_size": 1,
}
_POSITIVE = ("temperature", "repetition_penalty", "encoder_repetition_penalty", "max_time")
# Setting -> (lowest, highest, whether the lowest itself is allowed, whether the highest is).
_BETWEEN = {
    "top_p": (0, 1, True, True),
    "min_p": (0, 1, True, True),
    "top_h": (0, 1, False, True),
    "typical_p": (0, 1, False, True),
    "epsilon_cutoff": (0, 1, True, False),
    "eta_cutoff": (0, 1, True, False),
    "penalty_alpha": (0, 1, True, True),
    "assistant_confidence_threshold": (0, 1, True, True),
}
_SCHEDULES = ("constant", "heuristic", "heuristic_transient")


def faults(config: Any, *, lengths: bool = True) -> list[str]:
    """A sentence for every setting that is impossible, and for every two that contradict each other.

    Without `lengths`, a least length above the most is let pass: a call may well cut short what a file asks for.
    """
    return [*_single(config), *_paired(config), *(length_faults(vars(config)) if lengths else ())]


def length_faults(settings: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for a least length above the most."""
    for least, most in (("min_length", "max_length"), ("min_new_tokens", "max_new_tokens")):
        low, high = settings.get(least), settings.get(most)
        if isinstance(low, int) and isinstance(high, int) and low > high:
            yield f"`{least}` must be at most `{most}` ({high}), but is {low}."


def remarks(config: Any, given: Collection[str] | None) -> Iterator[str]:
    """A sentence for every setting that will have no effect.

    As in the field, one that was not `given` just now is passed over when the switch that idles it was.
    """
    if not config.do_sample:
        idle = {name: off for name, off in SAMPLING_ONLY.items() if name != "top_k" or not config.penalty_alpha}
        yield from _idle(config, idle, "do_sample", "True", given)
    if config.num_beams in (None, 1):
        yield from _idle(config, BEAMS_ONLY, "num_beams", "more than 1", given)
        if not config.penalty_alpha:
            yield from _idle(config, {"low_memory": False}, "num_beams", "more than 1", given)
    if config.use_cache is False:
        yield from _idle(config, {"cache_implementation": None}, "use_cache", "True", given)
    if config.cache_implementation != "quantized":
        yield from _idle(config, {"cache_config": None}, "cache_implementation", "'quantized'", given)
    if not config.return_dict_in_generate:
        for name in EXTRA_OUTPUTS:
            if getattr(config, name) is True and (given is None or name in given):
                yield f"`{name}` has no effect unless `return_dict_in_generate` is True."
    if isinstance(config.pad_token_id, int) and config.pad_token_id < 0:
        yield f"`pad_token_id` must not be negative, but is {config.pad_token_id}: padded rows will fail."


def _single(config: Any) -> Iterator[str]:
    for name, least in _AT_LEAST.items():
        value = getattr(config, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            yield f"`{name}` must be an integer of at least {least}, but is {value!r}."
    if config.early_stopping not in (None, True, False, "never"):
        yield f"`early_stopping` must be True, False or 'never', but is {config.early_stopping!r}."
    if config.num_assistant_tokens_schedule not in (None, *_SCHEDULES):
        yield (
            f"`num_assistant_tokens_schedule` must be one of {', '.join(map(repr, _SCHEDULES))}, but is "
            f"{config.num_assistant_tokens_schedule!r}."
        )
    for name in _POSITIVE:
        value = getattr(config, name)
        if value is not None and not (isinstance(value, (int, float)) and value > 0):
            hint = " (for greedy search set `do_sample=False`)" if name == "temperature" and value == 0 else ""
            yield f"`{name}` must be more than 0, but is {value!r}{hint}."
    for name, (low, high, with_low, with_high) in _BETWEEN.items():
        value = getattr(config, name)
        edge = (value == low and with_low) or (value == high and with_high)
        if value is None or (_number(value) and (low < value < high or edge)):
            continue
        span = f"{'at least' if with_low else 'more than'} {low} and {'at most' if with_high else 'less than'} {high}"
        yield f"`{name}` must be {f'between {low} and {high}' if with_low and with_high else span}, but is {value!r}."
    if config.diversity_penalty is not None and not (
        _number(config.diversity_penalty) and config.diversity_penalty >= 0
    ):
        yield f"`diversity_penalty` must be a number of at least 0, but is {config.diversity_penalty!r}."
    yield from constraint_faults(config)
    yield from cache_faults(config)
    yield from compile_faults(config)
    if config.guidance_scale is not None and not _number(config.guidance_scale):
        yield f"`guidance_scale` must be a number, but is {config.guidance_scale!r}."
    if config.length_penalty is not None and not isinstance(config.length_penalty, (int, float)):
        yield f"`length_penalty` must be a number, but is {config.length_penalty!r}."
    if config.bad_words_ids is not None and not _words(config.bad_words_ids):
        yield f"`bad_words_ids` must be a list of lists of token ids, but is {config.bad_words_ids!r}."
    for name in ("suppress_tokens", "begin_suppress_tokens"):
        value = getattr(config, name)
        if value is not None and not _tokens(value):
            yield f"`{name}` must be a list of token ids, but is {value!r}."
    texts = config.stop_strings
    if texts is not None and not _texts(texts):
        yield f"`stop_strings` must be a text or a list of texts that are not empty, but is {texts!r}."
    decay = config.exponential_decay_length_penalty
    if decay is not None and not _decay(decay):
        yield (
            "`exponential_decay_length_penalty` must be (a number of tokens of at least 0, a factor above 0), but is "
            f"{decay!r}."
        )
    if config.watermarking_config is not None:
        try:
            WatermarkingConfig.of(config.watermarking_config).validate()
        except GenerationError as error:
            yield str(error)
    for name in ARGUMENTS:
        if name in vars(config):
            yield f"`{name}` is an argument of `generate`, not a setting: pass it there."


def _paired(config: Any) -> Iterator[str]:
    returned, beams = config.num_return_sequences or 1, config.num_beams or 1
    if isinstance(returned, int) and isinstance(beams, int) and returned > 1:
        if beams == 1 and not config.do_sample:
            search = "greedy search (`do_sample` is not True and `num_beams` is 1)"
            if config.penalty_alpha:
                search = f"contrastive search (`penalty_alpha` is {config.penalty_alpha!r})"
            yield f"`num_return_sequences` must be 1 in {search}, but is {returned}."
        elif 1 < beams < returned:
            yield f"`num_return_sequences` must be at most `num_beams` ({beams}), but is {returned}."
    yield from clashes(config)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _tokens(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(i, int) and i >= 0 for i in value)


def _words(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(_tokens(w) and len(w) > 0 for w in value)


def _texts(value: Any) -> bool:
    texts = [value] if isinstance(value, str) else value
    return (
        isinstance(texts, (list, tuple))
        and len(texts) > 0
        and all(isinstance(text, str) and len(text) > 0 for text in texts)
    )


def _decay(value: Any) -> bool:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return False
    start, factor = value
    return isinstance(start, int) and start >= 0 and _number(factor) and factor > 0


def _idle(config: Any, names: dict[str, Any], switch: str, wanted: str, given: Collection[str] | None) -> Iterator[str]:
    for name, neutral in names.items():
        value = getattr(config, name)
        if value is None or value == neutral:
            continue
        if given is not None and name not in given:  # a file's default, idled on purpose or not by this caller
            continue
        yield f"`{name}` is {value!r}, but has no effect unless `{switch}` is {wanted}."
