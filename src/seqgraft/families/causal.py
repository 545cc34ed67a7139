"""What makes a family of a body that was published as a causal model: two halves of one body and one set of names.

As decoders they take cross-attention by a graft, unless their design has it. As encoders they are seen both ways.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from seqgraft.errors import ConfigurationError
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.families.family import Family, Half
from seqgraft.families.naming import Names, Rule, rename
from seqgraft.spec import Graft, Head, Stack, graft


def tied_as_said(config: PretrainedConfig) -> Head:
    """A table without a bias, tied where the configuration says so."""
    return Head(config.tie_word_embeddings)


def heads_divide(config: Any) -> None:
    """ConfigurationError unless the states' width is a whole number of heads."""
    if not config.num_attention_heads or config.hidden_size % config.num_attention_heads:
        heads, width = (type(config).attribute_map.get(name, name) for name in ("num_attention_heads", "hidden_size"))
        raise ConfigurationError(
            f"`{heads}` must divide `{width}` ({config.hidden_size}), but is {config.num_attention_heads}."
        )


def only(config: Any, **values: Any) -> None:
    """ConfigurationError for a field of another value than the one that is supported."""
    for name, value in values.items():
        if getattr(config, name) != value:
            raise ConfigurationError(
                f"`{name}` must be {value!r}, since nothing else is supported, but is {getattr(config, name)!r}."
            )


def causal_family(
    config: type[PretrainedConfig],
    encoder: Callable[[Any], Stack],
    rules: Callable[[Any], tuple[Rule, ...]],
    *,
    prefix: str,
    table: str,
    output: str = "lm_head",
    more: tuple[Rule, ...] = (),
    also: tuple[str, ...] = (),
    head: Callable[[Any], Head] = tied_as_said,
    dropped: tuple[str, ...] = (),
    grafted: bool = True,
) -> Family:
    """The family of a body under `prefix`, whose tokens' table is `table`, and of a head under `output`.

    Args:
        more: rules of what the head holds beside its output table.
        also: older names of `output`, read and never written.
        dropped: regular expressions of buffers.
        grafted: whether cross-attention is no part of the published design; otherwise `encoder` has it when asked.
    """
    outside = tuple(rename(name, "head.output", outside=True) for name in (output, *also))
    of_head = tuple(rf"^{rule.theirs}\." for rule in (*outside, *more))

    def decoder(config: Any) -> Stack:
        if config.is_causal is False:
            raise ConfigurationError("`is_causal` must be True for a decoder, but is False.")
        stack = replace(encoder(config), head=head(config))
        if not (grafted and config.add_cross_attention):
            return stack
        return graft(stack, config.cross_attention_hidden_size or config.hidden_size, Graft.read(config.graft))

    def encoder_names(config: Any) -> Names:
        return Names(rules(config), prefix=prefix, dropped=(*dropped, *of_head))

    def decoder_names(config: Any) -> Names:
        copies = (output, *also) if head(config).tied else ()
        ties = tuple((f"{name}.weight", f"{prefix}{table}.weight") for name in copies)
        return Names((*rules(config), *outside, *more), prefix=prefix, dropped=dropped, ties=ties)

    return Family(config, Half(encoder, encoder_names), Half(decoder, decoder_names), grafted=grafted, sees_back=True)
