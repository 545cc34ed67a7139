"""From a call's settings to one frozen description of a search, of which a compiler makes a program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seqgraft.errors import GenerationError
from seqgraft.generation import GenerationConfig
from seqgraft.generation.fields import ARGUMENTS, DEFAULTS, SAMPLING_ONLY, SUPPORTED
from seqgraft.generation.resolve import SpecialIds, set_lengths, settings_of, special_ids

OFFERED = frozenset(
    (
        "max_length",
        "max_new_tokens",
        "min_length",
        "min_new_tokens",
        "early_stopping",
        "do_sample",
        "num_beams",
        "use_cache",
        "temperature",
        "top_k",
        "top_p",
        "min_p",
        "repetition_penalty",
        "length_penalty",
        "no_repeat_ngram_size",
        "bad_words_ids",
        "suppress_tokens",
        "begin_suppress_tokens",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "num_return_sequences",
        "return_dict_in_generate",
        "pad_token_id",
        "bos_token_id",
        "eos_token_id",
        "decoder_start_token_id",
    )
)
_OF_DRAFTS = (
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "assistant_confidence_threshold",
    "max_matching_ngram_size",
)
"""What only drafting reads: published files hold them, and say nothing as long as nobody drafts."""
_CACHES = (None, "dynamic", "static")
"""One cache does what they say: it is made for the longest text, and its tokens are the same."""


@dataclass(frozen=True)
class Settings:
    """What a search does; equal settings are one program."""

    prompt: int
    """Tokens of a row before the search."""
    total: int
    """Tokens of a row at most, the prompt's among them."""
    min_length: int = 0
    """Tokens before which no row ends, the prompt's among them."""
    beams: int = 1
    returned: int = 1
    """Results of each source."""
    sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    """0 keeps all."""
    top_p: float = 1.0
    min_p: float | None = None
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    """0 lets everything repeat."""
    bad_words: tuple[tuple[int, ...], ...] = ()
    suppressed: tuple[int, ...] = ()
    suppressed_first: tuple[int, ...] = ()
    forced_first: int | None = None
    """The token after a prompt of one."""
    forced_last: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    pad: int = 0
    with_scores: bool = False
    """Whether the caller hands out the scores of what beams found."""

    @property
    def each(self) -> int:
        """Rows that a source has while the search goes on."""
        return self.beams if self.beams > 1 else self.returned

    @property
    def least(self) -> int:
        """Tokens that sampling never cuts: with beams one more than can end a row."""
        return 1 + (max(1, len(self.ends)) if self.beams > 1 else 0)


def asked(
    call: Mapping[str, Any], given: GenerationConfig | None, own: GenerationConfig, halves: Sequence[Any]
) -> tuple[GenerationConfig, SpecialIds]:
    """A call's settings over the given configuration's over the model's `own`, and the special ids.

    `halves` are the model's configurations, the first that has an id gives it. Raises TypeError for what is no setting,
    GenerationError (a ValueError) for what is impossible, contradicts itself, or is not offered here.
    """
    arguments = [name for name in ARGUMENTS if call.get(name) is not None]
    if arguments:
        raise GenerationError(f"{_listed(arguments)} must be None in a compiled search, but {_are(arguments)} given.")
    call = {name: value for name, value in call.items() if name not in ARGUMENTS}
    unknown = [name for name in call if not own.has(name) and not (given is not None and given.has(name))]
    if unknown:
        raise TypeError(f"generate() got unexpected arguments: {', '.join(unknown)}.")
    config = settings_of(call, given, own)
    found = list(refusals(config, call))
    if found:
        raise GenerationError(" ".join(found))
    return config, special_ids(config, call, halves)


def refusals(config: GenerationConfig, call: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for every setting that asks for what a compiled search does not do."""
    for name in SUPPORTED:
        value, off = getattr(config, name), DEFAULTS.get(name)
        if name in OFFERED or value is None or value == off:
            continue
        if name in _OF_DRAFTS and name not in call:
            continue
        if name in SAMPLING_ONLY and not config.do_sample and name not in call:
            continue
        if name == "cache_implementation" and value in _CACHES:
            continue
        if name == "output_scores" and config.num_beams > 1:
            continue
        if name == "guidance_scale" and value == 1:
            continue
        more = ", or `num_beams` more than 1 (it gives the sequences' scores)" if name == "output_scores" else ""
        yield f"`{name}` must be {off!r} in a compiled search{more}, but is {value!r}."


def settings(
    config: GenerationConfig,
    ids: SpecialIds,
    prompt: int,
    position_limit: int | None = None,
    prompt_name: str = "decoder_input_ids",
) -> Settings:
    """The search that a filled configuration asks for after `prompt` tokens; sets its `max_length`, `min_length`."""
    total = set_lengths(config, prompt, position_limit, prompt_name)
    beams = int(config.num_beams)
    sampled: dict[str, Any] = (
        {
            "sample": True,
            "temperature": float(config.temperature),
            "top_k": int(config.top_k or 0),
            "top_p": float(config.top_p),
            "min_p": None if config.min_p is None else float(config.min_p),
        }
        if config.do_sample
        else {}
    )
    ranked: dict[str, Any] = (
        {"length_penalty": float(config.length_penalty), "early_stopping": config.early_stopping} if beams > 1 else {}
    )
    return Settings(
        prompt,
        total,
        min_length=int(config.min_length or 0) if ids.eos else 0,
        beams=beams,
        returned=int(config.num_return_sequences),
        repetition_penalty=float(config.repetition_penalty),
        no_repeat_ngram=int(config.no_repeat_ngram_size),
        bad_words=tuple(
            tuple(word) for word in config.bad_words_ids or () if not (len(word) == 1 and word[0] in ids.eos)
        ),
        suppressed=_ids(config.suppress_tokens),
        suppressed_first=_ids(config.begin_suppress_tokens),
        forced_first=config.forced_bos_token_id,
        forced_last=_ids(config.forced_eos_token_id),
        ends=tuple(dict.fromkeys(ids.eos)),
        pad=0 if ids.pad is None else ids.pad,
        with_scores=bool(config.return_dict_in_generate and config.output_scores),
        **sampled,
        **ranked,
    )


def _ids(value: Any) -> tuple[int, ...]:
    """One id, several or none."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return () if value is None else (value,) if isinstance(value, int) else tuple(value)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
