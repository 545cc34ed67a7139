"""Texts that end a row, found in ids without decoding them.

All stop strings together are one automaton (Aho and Corasick 1975, doi:10.1145/360825.360855) over characters, or over
bytes where tokens are parts of characters. A table says what each token does to each of its states, so that a step
looks up the last few tokens of every row.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from seqgraft.errors import GenerationError
from seqgraft.generation.stopping import StoppingCriteria

_BEFORE = "abcdef"  # a token's text is what it adds to a word: behind one, prefixes such as ## and spaces show
_REMEMBERED = 8
_tables: WeakKeyDictionary[Any, OrderedDict[Any, "_Tables"]] = WeakKeyDictionary()  # of each tokenizer

_BYTE = re.compile("<0x[0-9a-fA-F]{2}>")

Table = np.ndarray[Any, Any]
Text = Any  # str or bytes


class StopStringCriteria(StoppingCriteria):
    """Ends a row whose newest token completes one of `stop_strings`, be it inside a longer text of that token.

    `["s", "top"]`, `["sto", "pper"]` and `["las", "topper"]` end at "stop"; `["stop", "at"]` ended before.
    `tokenizer` is that of the generated ids (of a pair the target's is taken). Raises GenerationError when no token of
    it can complete a stop string.
    """

    def __init__(self, tokenizer: Any, stop_strings: str | Sequence[str]) -> None:
        self.stop_strings = (stop_strings,) if isinstance(stop_strings, str) else tuple(stop_strings)
        if not self.stop_strings or not all(isinstance(text, str) and text for text in self.stop_strings):
            raise GenerationError(f"`stop_strings` must be texts that are not empty, but is {stop_strings!r}.")
        tokenizer = getattr(tokenizer, "target", tokenizer)
        known = _tables.setdefault(tokenizer, OrderedDict())
        key = (len(tokenizer), self.stop_strings)  # a vocabulary only ever grows
        tables = known.pop(key, None)
        if tables is None:
            written = _written(tokenizer)
            needles = [text if written == "characters" else text.encode() for text in self.stop_strings]
            tables = _Tables([*_texts(tokenizer, written)], needles)
        if not tables.ends.any():
            raise GenerationError(
                f"`stop_strings` must be texts that the tokenizer can write, but none of its tokens ends one of "
                f"{list(self.stop_strings)}."
            )
        known[key] = tables
        if len(known) > _REMEMBERED:
            known.popitem(last=False)
        self._kinds, self._next, self._ends = (torch.from_numpy(t) for t in (tables.kinds, tables.next, tables.ends))
        self._longest = max(len(needle) for needle in tables.needles)

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        """ids [rows, time] -> which rows end, [rows] of truth values."""
        device = input_ids.device
        if self._kinds.device != device:
            self._kinds, self._next, self._ends = (t.to(device) for t in (self._kinds, self._next, self._ends))
        # Every token adds at least a character, so that no more of them can matter than the longest string has.
        kinds = self._kinds[input_ids[:, -self._longest :].clamp(max=len(self._kinds) - 1)]
        last = kinds[:, -1]
        if device.type == "cpu" and not last.any():  # free to know there; elsewhere it would wait
            return torch.zeros_like(last, dtype=torch.bool)
        state = torch.zeros_like(last)
        for kind in kinds[:, :-1].unbind(dim=1):
            state = self._next[kind, state]
        return self._ends[last, state]


def stop_strings(texts: str | Sequence[str], tokenizer: Any) -> StopStringCriteria:
    """The criterion that the setting asks for; GenerationError without a tokenizer."""
    if tokenizer is None:
        raise GenerationError(
            f"`stop_strings` ({texts!r}) needs a `tokenizer`, but there is none: pass it to generate()."
        )
    return StopStringCriteria(tokenizer, texts)


class _Tables:
    """What every token does to the automaton of `needles`.

    `kinds [vocab + 1]`: 0 for the tokens (and unknown ids) in which no stop string can begin, go on or end.
    `next [kinds, states]`: the state after a token; `ends`, of that shape: whether it completed a stop string.
    """

    def __init__(self, texts: list[tuple[int, Text]], needles: Sequence[Text]) -> None:
        self.needles = needles
        step, full, symbols = _automaton(needles)
        begun = tuple(needle[: end + 1] for needle in needles for end in range(len(needle)))
        left = tuple(needle[start:] for needle in needles for start in range(len(needle)))
        concerned: list[tuple[int, Any]] = [
            (index, text)
            for index, text in texts
            if text.endswith(begun) or text.startswith(left) or any(n in text or text in n for n in needles)
        ]
        other, pad = len(symbols), len(symbols) + 1  # what no stop string has, and what fills shorter texts
        columns = np.full((max((len(text) for _, text in concerned), default=0), len(concerned), 1), pad)
        for row, (_, text) in enumerate(concerned):
            columns[: len(text), row, 0] = [symbols.get(unit, other) for unit in text]
        state = np.tile(np.arange(len(step)), (1 + len(concerned), 1))
        ended = np.zeros(state.shape, dtype=bool)
        state[0] = 0
        for column in columns:
            reads = column != pad
            state[1:] = np.where(reads, step[state[1:], np.minimum(column, other)], state[1:])
            ended[1:] |= reads & full[state[1:]]
        self.kinds = np.zeros(max(index for index, _ in texts) + 2, dtype=np.int64)
        self.kinds[[index for index, _ in concerned]] = np.arange(1, len(concerned) + 1)
        self.next, self.ends = state, ended


def _automaton(needles: Sequence[Any]) -> tuple[Table, Table, dict[Any, int]]:
    """(step [states, symbols + 1] -> state, whether a state completes a needle [states], unit -> symbol).

    A state is the longest beginning of a needle with which the text so far ends; state 0 is none.
    """
    symbols = {unit: index for index, unit in enumerate(sorted({unit for needle in needles for unit in needle}))}
    begun = sorted({needle[:length] for needle in needles for length in range(len(needle) + 1)}, key=len)
    states = {prefix: index for index, prefix in enumerate(begun)}
    step = np.zeros((len(states), len(symbols) + 1), dtype=np.int64)
    full = np.zeros(len(states), dtype=bool)
    back = [0] * len(states)  # the state of the longest proper ending that is a beginning as well
    for prefix, state in states.items():  # the shorter ones first, so that what is read here is whole
        if len(prefix) > 1:
            back[state] = int(step[back[states[prefix[:-1]]], symbols[prefix[-1]]])
        full[state] = prefix in needles or full[back[state]]
        step[state] = step[back[state]]
        for longer in (other for other in begun if len(other) == len(prefix) + 1 and other.startswith(prefix)):
            step[state, symbols[longer[-1]]] = states[longer]
    return step, full, symbols


def _written(tokenizer: Any) -> str:
    """What a token spells: "byte_level", "byte_fallback" (where `<0x0A>` is a byte) or "characters"."""
    decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
    try:
        kinds = {*_types(json.loads(decoder.__getstate__()))} if decoder is not None else set()
    except (AttributeError, TypeError, ValueError):  # a decoder written in Python
        kinds = set()
    if kinds and "ByteFallback" in kinds:
        return "byte_fallback"
    return "byte_level" if "ByteLevel" in kinds else "characters"


def _types(part: Any) -> Iterator[str]:
    """Every `type` in a decoder's description."""
    if isinstance(part, dict):
        if isinstance(part.get("type"), str):
            yield part["type"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _types(inner)


def _texts(tokenizer: Any, written: str) -> Iterator[tuple[int, Text]]:
    """Each token's id and what it adds to a text: characters, or bytes in the vocabularies made of bytes."""
    byte_of = _byte_of() if written == "byte_level" else {}
    base = tokenizer.convert_ids_to_tokens(tokenizer(_BEFORE, add_special_tokens=False)["input_ids"])
    before = tokenizer.convert_tokens_to_string(base)
    for token, index in tokenizer.get_vocab().items():
        if byte_of and all(character in byte_of for character in token):
            yield index, bytes(byte_of[character] for character in token)
        elif written == "byte_fallback" and _BYTE.fullmatch(token):
            yield index, bytes([int(token[3:5], 16)])
        else:
            text = tokenizer.convert_tokens_to_string([*base, token])
            at = text.find(_BEFORE)
            text = text[at + len(_BEFORE) :] if at >= 0 else text[len(before) :]
            yield index, text if written == "characters" else text.encode()


def _byte_of() -> dict[str, int]:
    """The characters that stand for bytes in byte-level vocabularies (Radford et al. 2019, GPT-2)."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(256 + index): byte for index, byte in enumerate(hidden)}
