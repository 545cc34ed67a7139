"""A tokenizer with fewer tokens, which cuts texts of the tokens that stay exactly as before."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seqgraft.errors import TokenizerError
from seqgraft.folders import read_json, write_json
from seqgraft.text.files import CONFIG, WHOLE
from seqgraft.text.tokenizer import Tokenizer


def keep_tokens(tokenizer: Tokenizer, used: Iterable[int]) -> tuple[Tokenizer, list[int]]:
    """A tokenizer of the tokens `used`, and the old ids of its tokens in their new order.

    Beside `used` stay: every special or added token; single ASCII characters and bytes, so that any word of them can
    be spelled; and with BPE what a token that stays is merged from. A text whose old ids all stay has the same tokens
    as before: greedy and merged pieces are found by what is longest or first, and none of that is gone.

    Raises TokenizerError for a vocabulary of another kind than WordPiece, BPE, Unigram and WordLevel.
    """
    whole = json.loads(tokenizer.clean_backend().to_str())
    model = whole["model"]
    vocabulary = _vocabulary(model)
    added = {token["content"]: token["id"] for token in whole["added_tokens"]}
    by_id = {index: token for token, index in {**vocabulary, **added}.items()}
    kept = {by_id[index] for index in used if index in by_id} | set(added)
    kept |= {token for token in vocabulary if _spells(token, model)}
    unknown = _unknown(model)
    kept |= {unknown} if unknown in vocabulary else set()
    if model["type"] == "BPE":
        _close(kept, model)
    old = {**vocabulary, **added}
    order = sorted(kept, key=lambda token: old[token])
    new = {token: index for index, token in enumerate(order)}
    _shrink(model, new)
    for token in whole["added_tokens"]:
        token["id"] = new[token["content"]]
    whole["added_tokens"].sort(key=lambda token: token["id"])
    _renumber(whole.get("post_processor"), new)
    return _reopened(tokenizer, whole), [old[token] for token in order]


def _vocabulary(model: dict[str, Any]) -> dict[str, int]:
    if model["type"] == "Unigram":
        return {token: index for index, (token, _) in enumerate(model["vocab"])}
    if model["type"] not in ("WordPiece", "BPE", "WordLevel"):
        raise TokenizerError(f"Tokens can be taken out of WordPiece, BPE, Unigram and WordLevel, not {model['type']}.")
    return dict(model["vocab"])


def _spells(token: str, model: dict[str, Any]) -> bool:
    """Whether a token is a single character that any text may need."""
    prefix = model.get("continuing_subword_prefix") or ""
    bare = token.removeprefix(prefix) if prefix else token
    bare = bare.removesuffix(model.get("end_of_word_suffix") or "\0").removeprefix("▁") or token
    byte = len(token) == 6 and token.startswith("<0x")
    every = model["type"] == "BPE"  # its letters may stand for bytes
    return byte or (len(bare) == 1 and (every or bare.isascii() or bare == "▁"))


def _unknown(model: dict[str, Any]) -> str | None:
    if model["type"] != "Unigram":
        return model.get("unk_token")
    return None if model.get("unk_id") is None else str(model["vocab"][model["unk_id"]][0])


def _merges(model: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(left, right, what they become) of a BPE vocabulary."""
    prefix = model.get("continuing_subword_prefix") or ""
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    return [(left, right, left + (right.removeprefix(prefix) if prefix else right)) for left, right in pairs]


def _close(kept: set[str], model: dict[str, Any]) -> None:
    """Add what the merges make kept tokens from, and what those are made from."""
    parts: dict[str, list[str]] = {}
    for left, right, made in _merges(model):
        parts.setdefault(made, []).extend((left, right))
    waiting = list(kept)
    while waiting:
        for part in parts.get(waiting.pop(), ()):
            if part not in kept:
                kept.add(part)
                waiting.append(part)


def _shrink(model: dict[str, Any], new: dict[str, int]) -> None:
    if model["type"] == "Unigram":
        unknown = _unknown(model)
        scores = dict(map(tuple, model["vocab"]))
        model["vocab"] = [[token, scores.get(token, 0.0)] for token in new]
        model["unk_id"] = None if unknown is None else new[unknown]
        return
    merges = _merges(model) if model["type"] == "BPE" else []
    held = {token: index for token, index in new.items() if token in model["vocab"]}
    model["vocab"] = held
    if model["type"] == "BPE":
        model["merges"] = [[left, right] for left, right, made in merges if {left, right, made} <= held.keys()]


def _renumber(part: Any, new: dict[str, int]) -> None:
    """Give the special tokens of a frame their new ids."""
    if isinstance(part, list):
        for inner in part:
            _renumber(inner, new)
    elif isinstance(part, dict):
        for name in ("sep", "cls"):
            if isinstance(part.get(name), list) and len(part[name]) == 2 and part[name][0] in new:
                part[name] = [part[name][0], new[part[name][0]]]
        if isinstance(part.get("ids"), list) and isinstance(part.get("tokens"), list):
            part["ids"] = [new[token] for token in part["tokens"]]
        for inner in part.values():
            _renumber(inner, new)


def _reopened(tokenizer: Tokenizer, whole: dict[str, Any]) -> Tokenizer:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        tokenizer.save_pretrained(folder)
        (folder / WHOLE).write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
        config = read_json(folder / CONFIG)
        config.pop("added_tokens_decoder", None)
        write_json(folder / CONFIG, config)
        made = type(tokenizer).from_pretrained(folder)
    made.name_or_path = tokenizer.name_or_path
    return made
