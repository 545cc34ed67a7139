"""How rows come to one length: the meaning of `padding`, `truncation` and `max_length`, and the padding of rows."""

import warnings
from dataclasses import dataclass
from typing import Any

from seqgraft.errors import TokenizerError

UNLIMITED = int(1e30)  # the field's `model_max_length` of a tokenizer without one
_LIMITED = int(1e20)

PADDING = ("longest", "max_length", "do_not_pad")
TRUNCATION = ("longest_first", "only_first", "only_second", "do_not_truncate")


@dataclass(frozen=True)
class Plan:
    """What to do to each row; None for nothing."""

    padding: str | None
    truncation: str | None
    max_length: int | None


def plan(
    padding: Any, truncation: Any, max_length: int | None, model_max_length: int, multiple: int | None, verbose: bool
) -> Plan:
    """The field's rules, which no one would guess: `max_length` alone truncates, and a tokenizer without a limit
    neither truncates nor pads to a limit that is not given. Raises TokenizerError for impossible wishes.
    """
    if max_length is not None and padding is False and truncation is None:
        truncation = "longest_first"
    padding, truncation = _choice(padding, "padding", PADDING), _choice(truncation, "truncation", TRUNCATION)
    if padding == "longest" and max_length is not None and truncation is None and verbose:
        warnings.warn(
            "`max_length` has no effect with `padding=True` and no truncation; `padding='max_length'` pads to it.",
            stacklevel=4,
        )
    if max_length is not None and max_length > _LIMITED:  # another tokenizer's UNLIMITED, handed over
        max_length = None
    if max_length is None:
        limited = model_max_length <= _LIMITED
        padding = None if padding == "max_length" and not limited else padding
        truncation = truncation if limited else None
        if padding == "max_length" or truncation is not None:
            max_length = model_max_length
    if padding and truncation and multiple is not None and max_length is not None and max_length % multiple:
        raise TokenizerError(
            f"`pad_to_multiple_of` ({multiple}) must divide the length that is truncated to, but that is {max_length}."
        )
    return Plan(padding, truncation, max_length)


def _choice(value: Any, name: str, choices: tuple[str, ...]) -> str | None:
    """False and None mean the last choice (nothing), True the first."""
    if value is False or value is None:
        return None
    if value is True:
        return choices[0]
    text = str(getattr(value, "value", value))
    if text not in choices:
        known = ", ".join(repr(choice) for choice in choices)
        raise TokenizerError(f"`{name}` must be True, False or one of {known}, but is {value!r}.")
    return None if text == choices[-1] else text


def pad_row(
    row: dict[str, list[int]], length: int, side: str, fill: dict[str, int], main: str = "input_ids"
) -> dict[str, list[int]]:
    """One row's values, [time] each -> [length] each; only the names in `fill` are padded, each with its own value."""
    missing = length - len(row[main])
    if side not in ("left", "right"):
        raise TokenizerError(f"`padding_side` must be 'left' or 'right', but is {side!r}.")
    if missing <= 0:
        return row
    return {
        name: values
        if name not in fill
        else values + [fill[name]] * missing
        if side == "right"
        else [fill[name]] * missing + values
        for name, values in row.items()
    }


def plain(value: Any) -> Any:
    """Tensors, arrays and lists of them -> lists of numbers, without knowing the framework."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "numpy"):  # a TensorFlow tensor
        return value.numpy().tolist()
    if isinstance(value, list | tuple) and value and not isinstance(value[0], int | str):
        return [plain(item) for item in value]
    return value


def framework(value: Any) -> str | None:
    """The `return_tensors` of a tensor or of rows of them; None for lists of numbers."""
    while isinstance(value, list | tuple) and value:
        value = value[0]
    home = type(value).__module__.partition(".")[0]
    return {"torch": "pt", "numpy": "np", "jax": "jax", "jaxlib": "jax", "tensorflow": "tf"}.get(home)
