"""Only the vocabulary that the data uses: tokenizers and tables of the rows that stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

from seqgraft.errors import ConfigurationError, DataError
from seqgraft.text.pairing import PairTokenizer
from seqgraft.text.tokenizer import Tokenizer
from seqgraft.text.trimming import keep_tokens
from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.torch.special import many
from seqgraft.torch.trimming import keep_rows
from seqgraft.training.pairs import Pair
from seqgraft.training.special import sides

_CHUNK = 2000


def keep_used(
    model: EncoderDecoderModel,
    tokenizer: Tokenizer | PairTokenizer,
    pairs: Iterable[Pair | tuple[str, str]],
    *,
    least: int = 1,
) -> tuple[Tokenizer | PairTokenizer, list[str]]:
    """Keep the tokens that pairs use at least `least` times, in the model's tables and in its tokenizers.

    The model is changed in place; its outputs for those texts stay what they were. Tokens that must stay anyway are
    said at `keep_tokens`. A tokenizer of both sides keeps what either uses; one of each side keeps its own.

    Returns the new tokenizer and lines for the user. Raises DataError without pairs, ConfigurationError for halves
    that share a table and have two tokenizers.
    """
    if least < 1:
        raise ConfigurationError(f"`least` must be at least 1, but is {least}.")
    source, target = sides(tokenizer)
    own: Counter[int] = Counter()
    other: Counter[int] = Counter() if source is not target else own
    count = 0
    rest = iter(pairs)
    while chunk := [pair if isinstance(pair, Pair) else Pair(*pair) for pair in islice(rest, _CHUNK)]:
        count += len(chunk)
        how: dict[str, Any] = {"truncation": False, "return_attention_mask": False, "verbose": False}
        for seen, side, texts in (
            (own, source, [pair.source for pair in chunk]),
            (other, target, [pair.target for pair in chunk]),
        ):
            for ids in side(texts, **how)["input_ids"]:
                seen.update(ids)
    if not count:
        raise DataError("There must be pairs to take the vocabulary from, but there are none.")
    special = _special(model)
    ends = special["decoder"] | (special["encoder"] if source is target else set())
    rows = model.encoder.embed.num_embeddings, model.decoder.embed.num_embeddings
    new_target, target_ids = keep_tokens(target, _often(other, least) | ends)
    new_source, source_ids = (
        (new_target, target_ids) if source is target else keep_tokens(source, _often(own, least) | special["encoder"])
    )
    source_ids, target_ids = (
        [*ids, *sorted(lost)]
        for ids, lost in (
            (source_ids, (special["encoder"] | (ends if source is target else set())) - set(source_ids)),
            (target_ids, ends - set(target_ids)),
        )
    )
    keep_rows(model, source_ids, target_ids)
    told = [
        f"The {name}'s vocabulary: {len(ids):,} of {before:,} rows, used by {count:,} pairs or needed to spell."
        for name, ids, before in (("encoder", source_ids, rows[0]), ("decoder", target_ids, rows[1]))
    ]
    named = ("decoder_start_token_id", "eos_token_id", "pad_token_id")
    told.append("Numbered anew: " + ", ".join(f"{name} = {model.config.special(name)}" for name in named) + ".")
    return new_source if source is target else PairTokenizer(new_source, new_target), told


def _often(seen: Counter[int], least: int) -> set[int]:
    return {index for index, times in seen.items() if times >= least}


def _special(model: EncoderDecoderModel) -> dict[str, set[int]]:
    """The ids that the configurations name, by the half whose table they are rows of."""
    names = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "decoder_start_token_id")
    more = ("forced_bos_token_id", "forced_eos_token_id")
    settings = model.generation_config
    found: dict[str, set[int]] = {"encoder": set(), "decoder": set()}
    for side, holder in (
        ("encoder", model.config.encoder),
        ("decoder", model.config.decoder),
        ("decoder", model.config),
        ("decoder", settings),
    ):
        for name in (*names, *more):
            found[side] |= set(many(getattr(holder, name, None)))
    return found
