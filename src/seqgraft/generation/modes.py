"""Which search the settings ask for, and which settings cannot go with it. The one place that knows the modes.

| mode | asked for by | source |
| --- | --- | --- |
| `assisted` | `assistant_model` (an argument) or `prompt_lookup_num_tokens` | Leviathan et al. 2022, arXiv:2211.17192 |
| `constrained` | `constraints` or `force_words_ids` | Hu et al. 2019, https://aclanthology.org/N19-1090 |
| `groups` | `num_beam_groups` or `diversity_penalty` | Vijayakumar et al. 2016, arXiv:1610.02424 |
| `contrastive` | `penalty_alpha` | Su et al. 2022, arXiv:2202.06417 |
| `beams` | `num_beams` | |
| `rows` | nothing: greedy search, or sampling with `do_sample` | |
"""

from collections.abc import Iterator, Mapping
from typing import Any

_NONE: Mapping[str, Any] = {}

# Mode -> the settings that ask for it, and the values that do not.
_ASKED: dict[str, dict[str, Any]] = {
    "assisted": {"prompt_lookup_num_tokens": None},
    "constrained": {"constraints": None, "force_words_ids": None},
    "groups": {"num_beam_groups": 1, "diversity_penalty": 0.0},
    "contrastive": {"penalty_alpha": 0.0},
    "beams": {"num_beams": 1},
}
_ARGUMENTS = {"assisted": ("assistant_model",)}

# What drafts, and the settings that are about it alone.
_DRAFTING = {
    "assistant_model": ("num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold"),
    "prompt_lookup_num_tokens": ("max_matching_ngram_size",),
}

# Mode -> the settings that it cannot go with, and the only value that they may have.
_ALONE: dict[str, dict[str, Any]] = {
    "assisted": {
        "num_beams": 1,
        "num_beam_groups": 1,
        "diversity_penalty": 0.0,
        "constraints": None,
        "force_words_ids": None,
        "penalty_alpha": 0.0,
        "guidance_scale": 1.0,
        "output_attentions": False,
        "output_hidden_states": False,
    },
    "constrained": {"do_sample": False, "num_beam_groups": 1, "diversity_penalty": 0.0, "penalty_alpha": 0.0},
    "groups": {"do_sample": False, "penalty_alpha": 0.0},
    "contrastive": {"do_sample": False, "num_beams": 1, "guidance_scale": 1.0},
}


def mode_of(config: Any, arguments: Mapping[str, Any] = _NONE) -> str:
    """The mode that the settings and the arguments of a call (those that are not None) ask for."""
    return next(_asking(config, arguments), ("rows", ""))[0]


def clashes(config: Any, arguments: Mapping[str, Any] = _NONE) -> Iterator[str]:
    """A sentence, with both settings, for every two that ask for searches that exclude each other."""
    mode, by = next(_asking(config, arguments), ("rows", ""))
    asked = f"`{by}`" if by in arguments else f"`{by}` ({getattr(config, by, None)!r})"
    for name, only in _ALONE.get(mode, {}).items():
        value = getattr(config, name)
        if value is not None and value != only:
            yield f"{asked} needs `{name}` to be {only!r}, but it is {value!r}."
    beams, groups = config.num_beams or 1, config.num_beam_groups or 1
    if mode in ("constrained", "groups") and beams == 1:
        yield f"{asked} needs `num_beams` to be more than 1, but it is {beams}."
    elif mode == "groups" and isinstance(beams, int) and isinstance(groups, int):
        if groups == 1:
            yield f"{asked} needs `num_beam_groups` to be more than 1, but it is {groups}."
        elif groups > 1 and beams % groups:
            yield f"`num_beam_groups` must divide `num_beams` ({beams}), but is {groups}."
        elif not config.diversity_penalty:
            yield f"{asked} needs `diversity_penalty` to be more than 0, else all groups are alike, but it is 0.0."
    if mode == "contrastive" and config.top_k is not None and config.top_k < 2:
        yield f"{asked} needs `top_k` to be at least 2, but it is {config.top_k!r}."


def argument_clashes(config: Any, arguments: Mapping[str, Any]) -> Iterator[str]:
    """A sentence, with both names, for every argument of a call that does not go with the settings."""
    if arguments.get("streamer") is not None and config.num_beams > 1:
        for name, only in {"num_return_sequences": 1, "low_memory": False}.items():
            if getattr(config, name) != only:
                yield f"`streamer` with beams needs `{name}` to be {only!r}, but it is {getattr(config, name)!r}."
    if config.guidance_scale in (None, 1.0):
        for name in ("negative_prompt_ids", "negative_prompt_attention_mask"):
            if arguments.get(name) is not None:
                yield f"`{name}` needs `guidance_scale` to be other than 1, but it is {config.guidance_scale!r}."


def idle(call: Mapping[str, Any], config: Any, arguments: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for every setting of a call that nothing reads, since what it is about was not asked for."""
    for switch, names in _DRAFTING.items():
        if arguments.get(switch) is None and getattr(config, switch, None) is None:
            for name in names:
                if call.get(name) is not None:
                    yield f"`{name}` is {call[name]!r}, but has no effect without `{switch}`."


def _asking(config: Any, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for mode, settings in _ASKED.items():
        for name in _ARGUMENTS.get(mode, ()):
            if arguments.get(name) is not None:
                yield mode, name
        for name, off in settings.items():
            value = getattr(config, name)
            if value is not None and value != off:
                yield mode, name
