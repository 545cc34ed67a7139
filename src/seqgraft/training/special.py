"""The special ids of a pair: found in its tokenizers where nobody has set them."""

from typing import Any

from seqgraft.errors import ConfigurationError
from seqgraft.text.pairing import PairTokenizer
from seqgraft.text.tokenizer import Tokenizer
from seqgraft.torch.model import EncoderDecoderModel

_SOURCES = {
    "decoder_start_token_id": ("bos_token", "cls_token"),
    "eos_token_id": ("eos_token", "sep_token"),
    "pad_token_id": ("pad_token", "eos_token"),
}
"""The tokens of the target tokenizer whose ids a special id is taken from, the first that it has."""


def sides(tokenizer: Tokenizer | PairTokenizer) -> tuple[Tokenizer, Tokenizer]:
    """(what reads the sources, what writes the targets)"""
    if isinstance(tokenizer, PairTokenizer):
        return tokenizer.source, tokenizer.target
    return tokenizer, tokenizer


def settle_special_ids(model: EncoderDecoderModel, tokenizer: Tokenizer | PairTokenizer) -> str | None:
    """Set `decoder_start_token_id`, `eos_token_id` and `pad_token_id` of `model.config` where it knows none.

    What is set, on the pair or on its decoder, is kept. The start is the target tokenizer's bos or cls token, the end
    its eos or sep token, padding its pad token or, where it has none (GPT-2), its end. Returns one line that says
    what was set and from what, or None. Raises ConfigurationError when a tokenizer has none of those tokens.
    """
    target = sides(tokenizer)[1]
    told = []
    for name, tokens in _SOURCES.items():
        if model.config.special(name) is not None:
            continue
        held = [
            (token, getattr(target, token + "_id")) for token in tokens if getattr(target, token + "_id") is not None
        ]
        if not held:
            named = " or ".join(f"`{token}`" for token in tokens)
            raise ConfigurationError(
                f"`model.config.{name}` must be set, or the target tokenizer must have a {named}, but neither is so."
            )
        token, index = held[0]
        setattr(model.config, name, index)
        told.append(f"{name} = {index} ({token})")
    return f"Special ids taken from the tokenizer: {', '.join(told)}." if told else None


def end_ids(model: EncoderDecoderModel) -> list[int]:
    """The ids that `generate` stops on."""
    value: Any = model.config.special("eos_token_id")
    return [] if value is None else [int(v) for v in value] if isinstance(value, list | tuple) else [int(value)]
