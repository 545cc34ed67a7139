"""The source's ids as the decoder's, for the settings that compare what is written with what was read."""

from typing import Any

import torch
from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.generation.config import GenerationConfig

_READERS = {"encoder_repetition_penalty": 1.0, "encoder_no_repeat_ngram_size": 0}
"""Settings that read the source's ids as the decoder's, and the value that means off."""


def source_ids(config: Any, given: dict[str, Any], settings: GenerationConfig, tokenizer: Any = None) -> Tensor | None:
    """The ids [sources, time] of the source in the decoder's vocabulary, or None when no setting asks for them.

    A pair of tokenizers (one with `source` and `target`) maps each token to the one of the same text; what the target
    does not have becomes an id beyond its vocabulary. Raises GenerationError when the two vocabularies differ and
    there is no such pair, or when its tokenizers write words differently.
    """
    asked = [name for name, off in _READERS.items() if getattr(settings, name) != off]
    if not asked:
        return None
    found: Tensor | None = given.get("input_ids")
    if found is not None and hasattr(tokenizer, "source") and hasattr(tokenizer, "target"):
        return _mapped(found, tokenizer.source, tokenizer.target, asked[0])
    sizes = [getattr(getattr(config, side, None), "vocab_size", None) for side in ("encoder", "decoder")]
    if sizes[0] != sizes[1]:
        raise GenerationError(
            f"`{asked[0]}` needs one vocabulary for both halves, but they have {sizes[0]} and {sizes[1]} tokens; pass "
            "the pair's `tokenizer` to compare the tokens by their texts."
        )
    return found


def _mapped(ids: Tensor, source: Any, target: Any, name: str) -> Tensor:
    """ids [sources, time] of one vocabulary -> ids of the tokens of the same text in another."""
    ways = [_way(tokenizer) for tokenizer in (source, target)]
    if ways[0] != ways[1]:
        raise GenerationError(
            f"`{name}` needs tokenizers that write words in one way, but the source's tokens are put together as "
            f"{ways[0]}, the target's as {ways[1]}."
        )
    read, written = source.get_vocab(), target.get_vocab()
    beyond = max(written.values()) + 1
    table = torch.full((max([int(ids.max()), *read.values()]) + 1,), beyond, device=ids.device)
    shared = read.keys() & written.keys()
    table[torch.tensor([read[token] for token in shared], dtype=torch.long, device=ids.device)] = torch.tensor(
        [written[token] for token in shared], dtype=table.dtype, device=ids.device
    )
    return table[ids]


def _way(tokenizer: Any) -> str:
    """How a tokenizer joins its tokens."""
    decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
    if decoder is None:
        return "words"
    try:
        return str(decoder.__getstate__().decode())
    except AttributeError:  # a decoder written in Python
        return type(decoder).__name__
