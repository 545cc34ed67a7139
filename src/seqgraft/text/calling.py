"""Text -> rows of ids with masks; rows -> one length."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from seqgraft.errors import TokenizerError
from seqgraft.text.batching import UNLIMITED, Plan, framework, pad_row, plain, plan
from seqgraft.text.encoding import BatchEncoding
from seqgraft.text.framing import Framing

logger = logging.getLogger("seqgraft")

_TEXTS = "`text` must be a text, a list of texts, or with `is_split_into_words` a list of words or a list of those"


class Calling(Framing):
    """The part of a tokenizer that encodes and pads."""

    model_input_names: Sequence[str] = ("input_ids", "attention_mask")
    padding_side: str = "right"
    truncation_side: str = "right"
    model_max_length: int | float = UNLIMITED
    split_special_tokens = False
    _warned: set[str]

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        max_target_length: int | None = None,
        verbose: bool = True,
        **returned: Any,
    ) -> BatchEncoding:
        """A text, or `batch` texts -> `input_ids` and masks, [time] or `batch` rows of [time].

        `text_target` gives `labels` beside a `text`, and a plain encoding alone. Raises TokenizerError for texts that
        are no texts, for padding without a pad token, and for ragged rows with `return_tensors`.
        """
        if text is None and text_target is None:
            raise TokenizerError("A tokenizer must be given `text`, `text_target` or both, but has neither.")
        how = plan(padding, truncation, max_length, int(self.model_max_length), pad_to_multiple_of, verbose)
        shared: dict[str, Any] = {
            "add_special_tokens": add_special_tokens,
            "stride": stride,
            "is_split_into_words": is_split_into_words,
            "pad_to_multiple_of": pad_to_multiple_of,
            "padding_side": padding_side,
            "return_tensors": return_tensors,
            "verbose": verbose,
            **returned,
        }
        if text_target is None:
            return self._encode(text, text_pair, how, **shared)
        source = None if text is None else self._encode(text, text_pair, how, **shared)
        if max_target_length is not None:
            how = Plan(how.padding, how.truncation, max_target_length)
        target = self._encode(text_target, text_pair_target, how, target=True, **shared)
        if source is None:
            return target
        source["labels"] = target["input_ids"]
        return source

    def _encode(
        self,
        text: Any,
        text_pair: Any,
        how: Plan,
        *,
        add_special_tokens: bool,
        stride: int,
        is_split_into_words: bool,
        pad_to_multiple_of: int | None,
        padding_side: str | None,
        return_tensors: str | None,
        verbose: bool,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        split_special_tokens: bool | None = None,
        target: bool = False,
    ) -> BatchEncoding:
        rows, batched = _rows(text, text_pair, is_split_into_words)
        split = self.split_special_tokens if split_special_tokens is None else split_special_tokens
        with self._lock:
            self._set_state(how, stride, pad_to_multiple_of, padding_side or self.padding_side, split)
            if target:
                self._face(target=True)
            try:
                made = self._backend.encode_batch(
                    rows, add_special_tokens=add_special_tokens, is_pretokenized=is_split_into_words
                )
            except TypeError as error:
                raise TokenizerError(f"{_TEXTS}, but the batch holds something else: {error}") from error
            except Exception as error:  # the Rust library raises bare Exceptions
                raise TokenizerError(f"Cannot truncate with {how}: {error}.") from error
            finally:
                if target:
                    self._face(target=False)
        groups = [[row, *row.overflowing] if return_overflowing_tokens else [row] for row in made]
        encodings = [encoding for group in groups for encoding in group]

        types = "token_type_ids" in self.model_input_names if return_token_type_ids is None else return_token_type_ids
        masks = "attention_mask" in self.model_input_names if return_attention_mask is None else return_attention_mask
        data: dict[str, Any] = {"input_ids": [e.ids for e in encodings]}
        data |= {"token_type_ids": [e.type_ids for e in encodings]} if types else {}
        data |= {"attention_mask": [e.attention_mask for e in encodings]} if masks else {}
        data |= (
            {"special_tokens_mask": [e.special_tokens_mask for e in encodings]} if return_special_tokens_mask else {}
        )
        data |= {"offset_mapping": [e.offsets for e in encodings]} if return_offsets_mapping else {}
        data |= {"length": [len(ids) for ids in data["input_ids"]]} if return_length else {}
        if return_overflowing_tokens:
            data["overflow_to_sample_mapping"] = [i for i, group in enumerate(groups) for _ in group]
        self._warn_of_length(data["input_ids"], how, verbose)
        batch = BatchEncoding(data, encodings, return_tensors)
        if not batched and return_tensors is None and not return_overflowing_tokens:
            batch.data = {k: v[0] if v and isinstance(v[0], list) else v for k, v in batch.data.items()}
        return batch

    def _face(self, *, target: bool) -> None:
        """Frame what follows as a target, or again as a text, where the two differ (under the lock)."""

    def _set_state(self, how: Plan, stride: int, multiple: int | None, side: str, split: bool) -> None:
        if how.padding is not None and self.pad_token_id is None:
            raise TokenizerError(
                "Padding needs a pad token, but this tokenizer has none; set one (`tokenizer.pad_token = "
                "tokenizer.eos_token`) or add one (`tokenizer.add_special_tokens({'pad_token': '[PAD]'})`)."
            )
        pad = (self.pad_token_id, self.pad_token, self.pad_token_type_id)
        state = (how, stride, multiple, side, split, self.truncation_side, pad)
        if state == self._state:
            return
        self._reset_state()
        self._backend.encode_special_tokens = split
        if how.truncation is not None:
            try:
                self._backend.enable_truncation(
                    how.max_length or 0, stride=stride, strategy=how.truncation, direction=self.truncation_side
                )
            except Exception as error:
                raise TokenizerError(f"Cannot truncate to {how.max_length} with stride {stride}: {error}") from error
        if how.padding is not None:
            length = how.max_length if how.padding == "max_length" else None
            names = ("pad_id", "pad_token", "pad_type_id")
            self._backend.enable_padding(
                direction=side, length=length, pad_to_multiple_of=multiple, **dict(zip(names, pad, strict=True))
            )
        self._state = state

    def _warn_of_length(self, rows: list[list[int]], how: Plan, verbose: bool) -> None:
        longest = max(map(len, rows), default=0)
        if how.max_length is None and verbose and longest > self.model_max_length > 0 and "length" not in self._warned:
            self._warned.add("length")
            logger.warning(
                "A text has %d tokens, but the model was made for %d; pass `truncation=True`.",
                longest,
                self.model_max_length,
            )

    def encode(self, text: Any, text_pair: Any = None, **options: Any) -> Any:
        """The `input_ids` of `tokenizer(text, text_pair, ...)`."""
        return self(text, text_pair, **options)["input_ids"]

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False, **options: Any
    ) -> list[str]:
        """The tokens of a text."""
        return self(text, pair, add_special_tokens=add_special_tokens, verbose=False, **options).tokens()

    def pad(
        self,
        encoded_inputs: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Encodings, as a list of dictionaries or a dictionary of rows -> one dictionary of rows of one length.

        Pads `input_ids`, `attention_mask` (made when missing), `token_type_ids`, `special_tokens_mask` and
        Longformer's `global_attention_mask`; other values stay. Raises TokenizerError without `input_ids` or without a
        pad token.
        """
        if isinstance(encoded_inputs, list | tuple) and encoded_inputs and isinstance(encoded_inputs[0], Mapping):
            encoded_inputs = {key: [example[key] for example in encoded_inputs] for key in encoded_inputs[0]}
        main = self.model_input_names[0]
        if not isinstance(encoded_inputs, Mapping) or main not in encoded_inputs:
            held = list(encoded_inputs) if isinstance(encoded_inputs, Mapping) else type(encoded_inputs).__name__
            raise TokenizerError(f"Encodings to pad must hold `{main}`, but hold {held}.")
        return_tensors = return_tensors or framework(encoded_inputs[main])
        data = {key: plain(value) for key, value in encoded_inputs.items()}
        masks = "attention_mask" in self.model_input_names if return_attention_mask is None else return_attention_mask
        if not data[main]:
            return BatchEncoding({**data, "attention_mask": []} if return_attention_mask else data)
        how = plan(padding, False, max_length, int(self.model_max_length), None, verbose)
        if how.padding is not None and self.pad_token_id is None:
            raise TokenizerError("Padding needs a pad token, but this tokenizer has none; set `tokenizer.pad_token`.")
        single = not isinstance(data[main][0], list | tuple)
        rows = [data] if single else [{k: v[i] for k, v in data.items()} for i in range(len(data[main]))]
        fill = {main: self.pad_token_id or 0, "token_type_ids": self.pad_token_type_id, "special_tokens_mask": 1}
        fill |= {"global_attention_mask": 0, **({"attention_mask": 0} if masks else {})}
        length = max(len(row[main]) for row in rows) if how.padding == "longest" else how.max_length
        if length is not None and pad_to_multiple_of is not None:
            length = -(-length // pad_to_multiple_of) * pad_to_multiple_of
        for row in rows:
            if masks and "attention_mask" not in row:
                row["attention_mask"] = [1] * len(row[main])
        if how.padding is not None and length is not None:
            rows = [pad_row(row, length, padding_side or self.padding_side, fill, main) for row in rows]
        padded = rows[0] if single else {key: [row[key] for row in rows] for key in rows[0]}
        return BatchEncoding(padded, tensor_type=return_tensors)


def _rows(text: Any, text_pair: Any, words: bool) -> tuple[list[Any], bool]:
    """The texts as a list of rows, and whether they came as one."""
    for value in (text, text_pair):
        if value is not None and not _is_text(value):
            raise TokenizerError(f"{_TEXTS}, but is {value!r:.80}.")
    batched = isinstance(text, list | tuple)
    if words:
        batched = batched and bool(text) and isinstance(text[0], list | tuple)
    if not batched:
        return ([(text, text_pair)] if text_pair else [text]), False
    if text_pair is None:
        return list(text), True
    if isinstance(text_pair, str) or len(text_pair) != len(text):
        held = "one text" if isinstance(text_pair, str) else f"{len(text_pair)} texts"
        raise TokenizerError(f"`text_pair` must be a list as long as `text` ({len(text)}), but is {held}.")
    return list(zip(text, text_pair, strict=True)), True


def _is_text(value: Any) -> bool:
    """A text, or lists of texts up to three deep (a batch of pairs of lists of words); first items are looked at."""
    for _ in range(3):
        if isinstance(value, str):
            return True
        if not isinstance(value, list | tuple):
            return False
        if not value:
            return True
        value = value[0]
    return isinstance(value, str)
