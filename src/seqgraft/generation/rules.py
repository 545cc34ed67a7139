"""What generation settings may be, one by one and together."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from seqgraft.generation.fields import ARGUMENTS, BEAMS_ONLY, EXTRA_OUTPUTS, SAMPLING_ONLY

_AT_LEAST = {
    "max_length": 1,
    "max_new_tokens": 1,
    "min_length": 0,
    "min_new_tokens": 0,
    "num_beams": 1,
    "num_return_sequences": 1,
    "top_k": 0,
    "no_repeat_ngram_size": 0,
}


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
        yield from _idle(config, SAMPLING_ONLY, "do_sample", "True", given)
    if config.num_beams in (None, 1):
        yield from _idle(config, BEAMS_ONLY, "num_beams", "more than 1", given)
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
    for name in ("temperature", "repetition_penalty", "max_time"):
        value = getattr(config, name)
        if value is not None and not (isinstance(value, (int, float)) and value > 0):
            hint = " (for greedy search set `do_sample=False`)" if name == "temperature" and value == 0 else ""
            yield f"`{name}` must be more than 0, but is {value!r}{hint}."
    if config.top_p is not None and not (isinstance(config.top_p, (int, float)) and 0 <= config.top_p <= 1):
        yield f"`top_p` must be between 0 and 1, but is {config.top_p!r}."
    if config.length_penalty is not None and not isinstance(config.length_penalty, (int, float)):
        yield f"`length_penalty` must be a number, but is {config.length_penalty!r}."
    if config.bad_words_ids is not None and not _words(config.bad_words_ids):
        yield f"`bad_words_ids` must be a list of lists of token ids, but is {config.bad_words_ids!r}."
    for name in ARGUMENTS:
        if name in vars(config):
            yield f"`{name}` is an argument of `generate`, not a setting: pass it there."


def _paired(config: Any) -> Iterator[str]:
    returned, beams = config.num_return_sequences or 1, config.num_beams or 1
    if isinstance(returned, int) and isinstance(beams, int) and returned > 1:
        if beams == 1 and not config.do_sample:
            yield (
                f"`num_return_sequences` must be 1 in greedy search (`do_sample` is not True and `num_beams` is 1), "
                f"but is {returned}."
            )
        elif 1 < beams < returned:
            yield f"`num_return_sequences` must be at most `num_beams` ({beams}), but is {returned}."


def _words(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and all(
            isinstance(word, (list, tuple)) and len(word) > 0 and all(isinstance(i, int) and i >= 0 for i in word)
            for word in value
        )
    )


def _idle(config: Any, names: dict[str, Any], switch: str, wanted: str, given: Collection[str] | None) -> Iterator[str]:
    for name, neutral in names.items():
        value = getattr(config, name)
        if value is None or value == neutral:
            continue
        if given is not None and name not in given:  # a file's default, idled on purpose or not by this caller
            continue
        yield f"`{name}` is {value!r}, but has no effect unless `{switch}` is {wanted}."
