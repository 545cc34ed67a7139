"""How a pipeline speaks to the classes whose `generate` is one program: Flax's and TensorFlow's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any

from seqgraft.errors import ConfigurationError

CLASSES = {"flax": "FlaxEncoderDecoderModel", "tf": "TFEncoderDecoderModel"}
FRAMEWORKS = ("pt", *CLASSES)
PASSED = {"pt": (), "flax": ("seed",), "tf": ("seed", "jit_compile")}
"""Arguments of a call that are no settings, of one framework alone."""
MULTIPLE = 32
"""Sources are filled up to lengths of this many tokens: a program is compiled for each length that it meets."""
_TENSORS = {"flax": "jax", "tf": "tf"}
_DTYPES = ("float32", "bfloat16", "float16")


def framework_of(model: Any) -> str:
    """The name in `FRAMEWORKS` of a model's class ("pt" of others'); nothing is imported."""
    said = getattr(model, "framework", None)
    return said if said in CLASSES else "pt"


def load(framework: str, source: str | os.PathLike[str], device: Any, how: dict[str, Any]) -> Any:
    """A pair from a folder or a name, `how` being the arguments of `from_pretrained`.

    `dtype` is a name: of Flax's computation, of TensorFlow's weights. Raises MissingExtraError when the framework is
    not installed.
    """
    import seqgraft

    kind, how = getattr(seqgraft, CLASSES[framework]), dict(how)
    if "dtype" in how:
        name = str(how.pop("dtype")).removeprefix("torch.")
        if name not in (*_DTYPES, "auto"):
            raise ConfigurationError(f"`dtype` must be 'auto' or one of {', '.join(_DTYPES)}, but is {name!r}.")
        how |= {} if name == "auto" else {"dtype": name}
    place = placed(framework, device)
    if framework == "tf" and place is not None:
        import tensorflow as tf

        with tf.device(place):
            return kind.from_pretrained(source, **how)
    model = kind.from_pretrained(source, **how)
    if place is not None:
        move(model, device)
    return model


def move(model: Any, device: Any) -> None:
    """Put a Flax pair's parameters on a device; ConfigurationError for TensorFlow's, which stay where they are."""
    if framework_of(model) == "tf":
        raise ConfigurationError(
            "`device` must be left out with a TensorFlow model object, whose variables stay where they were made; "
            f"make it inside `tf.device`. It is {device!r}."
        )
    import jax

    place = placed("flax", device)
    if place is not None:
        model.params = jax.device_put(model.params, place)


def placed(framework: str, device: Any) -> Any:
    """JAX's device, or the name of TensorFlow's, of a number (-1 is the CPU) or a name; None is the framework's choice.

    Raises ConfigurationError for a device that this machine has not.
    """
    if device is None or device == "auto":
        return None
    kind, _, number = str(device).partition(":")
    if kind.removeprefix("-").isdecimal():
        kind, number = ("cpu", "0") if int(kind) < 0 else ("gpu", kind)
    kind = "gpu" if kind == "cuda" else kind
    found: Sequence[Any]
    if framework == "flax":
        import jax

        try:
            found = jax.devices(kind)
        except RuntimeError:
            found = ()
    else:
        import tensorflow as tf

        found = [one.name for one in tf.config.list_logical_devices(kind.upper())]
    at = int(number) if number.isdecimal() else 0 if not number else len(found)
    if at >= len(found):
        raise ConfigurationError(
            f"`device` must be a number (-1 for the CPU), 'auto', 'cpu' or 'cuda', of those that {framework} sees "
            f"({len(found)} of this kind), but is {device!r}."
        )
    return found[at]


def device_of(model: Any) -> Any:
    """Where a pair's first parameter is: JAX's device, or the name of TensorFlow's."""
    if framework_of(model) == "tf":
        return model.variables[0].value.device
    import jax

    return next(iter(jax.tree.leaves(model.params)[0].devices()))


def sequences(
    model: Any,
    tokenizer: Any,
    rows: Sequence[dict[str, list[int]]],
    settings: dict[str, Any],
    *,
    most: int,
    limit: int | None,
    ends: Any,
    number: int = 0,
) -> Any:
    """Rows of source ids and masks -> numpy tokens [rows * num_return_sequences, time], up to the longest one's end.

    So that few programs are compiled, sources are filled up on the right to a multiple of `MULTIPLE` (to `limit` at
    most), and rows to a power of two (to `most` at most) by repeating the last one, of which nothing is returned.
    Neither changes a result. `number` tells the draws of one batch from another's under the same seed.
    """
    import numpy as np

    from seqgraft.functional.pair import Pair

    framework, settings = framework_of(model), dict(settings)
    count = min(1 << (len(rows) - 1).bit_length(), max(most, len(rows)))
    longest = max(len(row["input_ids"]) for row in rows)
    fill = tokenizer.pad_token_id
    wide = fill is not None and fill < Pair.of(model.config).encoder.vocabulary
    batch = tokenizer.pad(
        [*rows, *[rows[-1]] * (count - len(rows))],
        padding="max_length" if wide else len(rows) > 1,
        max_length=_width(model, longest, limit) if wide else None,
        padding_side="right",
        return_tensors=_TENSORS[framework],
        return_attention_mask=True,
        verbose=False,
    )
    given = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    seed = settings.pop("seed", None)
    with contextlib.ExitStack() as stack:
        if framework == "flax":
            import jax

            given["prng_key"] = jax.random.fold_in(jax.random.PRNGKey(0 if seed is None else seed), number)
        else:
            import tensorflow as tf

            given["seed"] = None if seed is None else [number, seed]
            stack.enter_context(tf.device(device_of(model)))
        found = model.generate(**given, **settings)
    tokens = np.asarray(getattr(found, "sequences", found))
    tokens = tokens[: len(rows) * (len(tokens) // count)]
    return tokens[:, : _longest(tokens, ends)]


def tensor(model: Any, ids: Any) -> Any:
    """Numpy ids as an array of the model's framework."""
    from seqgraft.text.encoding import tensor as made

    return made(ids, _TENSORS[framework_of(model)])


def _width(model: Any, longest: int, limit: int | None) -> int:
    """The length of a batch's sources. Attention in blocks (Zaheer et al. 2020) is another one at another length: such
    sources are as long as they are."""
    from seqgraft.functional.pair import Pair

    if any(layer.self_attention.sparse is not None for layer in Pair.of(model.config).encoder.layers):
        return longest
    width = -(-longest // MULTIPLE) * MULTIPLE
    return width if limit is None else max(longest, min(width, limit))


def _longest(tokens: Any, ends: Any) -> int:
    """tokens [rows, time] -> tokens of the longest row, its first one and its end token among them."""
    import numpy as np

    total: int = tokens.shape[1]
    if ends is None or total < 2:
        return total
    over = np.isin(tokens[:, 1:], np.atleast_1d(np.asarray(ends)))
    return int(np.where(over.any(1), over.argmax(1) + 2, total).max())
