"""Examples of unequal length -> one batch for a sequence-to-sequence model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seqgraft.errors import TokenizerError
from seqgraft.text.batching import plain
from seqgraft.text.encoding import BatchEncoding, tensor


@dataclass
class DataCollatorForSeq2Seq:
    """Pads inputs with the tokenizer's pad token and labels with `label_pad_token_id`, which the loss ignores.

    With a `model` that has `prepare_decoder_input_ids_from_labels` the batch holds `decoder_input_ids` too.
    """

    tokenizer: Any
    model: Any = None
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    label_pad_token_id: int = -100
    return_tensors: str = "pt"

    def __call__(self, features: Sequence[Mapping[str, Any]], return_tensors: str | None = None) -> BatchEncoding:
        """`batch` examples -> `input_ids`, `attention_mask`, ... [batch, source] and `labels` [batch, target].

        Raises TokenizerError for no examples, and for rows that stay ragged because `padding` is off.
        """
        if not features:
            raise TokenizerError("A batch must have at least one example, but has none.")
        kind = return_tensors or self.return_tensors
        name = "label" if "label" in features[0] else "labels"
        labels = [plain(feature[name]) for feature in features] if name in features[0] else None
        if labels is not None and all(row is None for row in labels):
            labels = None
        inputs = [{key: value for key, value in feature.items() if key != name} for feature in features]
        batch: BatchEncoding = self.tokenizer.pad(
            inputs,
            padding=self.padding,
            max_length=self.max_length,
            pad_to_multiple_of=self.pad_to_multiple_of,
            return_tensors=kind,
        )
        batch["labels"] = None if labels is None else tensor(self._padded(labels), kind, "labels")
        if labels is not None and hasattr(self.model, "prepare_decoder_input_ids_from_labels"):
            batch["decoder_input_ids"] = self.model.prepare_decoder_input_ids_from_labels(labels=batch["labels"])
        return batch

    def _padded(self, labels: list[list[int]]) -> list[list[int]]:
        """Rows of labels -> rows of one length, filled on the tokenizer's padding side."""
        if self.padding is False or self.padding == "do_not_pad":
            return labels
        fixed = self.padding == "max_length" and self.max_length is not None
        length = self.max_length if fixed and self.max_length is not None else max(map(len, labels))
        if self.pad_to_multiple_of is not None:
            length = -(-length // self.pad_to_multiple_of) * self.pad_to_multiple_of
        fill = [[self.label_pad_token_id] * (length - len(row)) for row in labels]
        if self.tokenizer.padding_side == "right":
            return [row + missing for row, missing in zip(labels, fill, strict=True)]
        return [missing + row for row, missing in zip(labels, fill, strict=True)]
