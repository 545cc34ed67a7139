"""Positions: rows of a table, sines, rotations, and what distance comes to."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from seqgraft.functional.ops import Array, Ops, Size
from seqgraft.spec import Buckets, Distances, Positions, Rotary, RotaryScaling

Rotation = tuple[Array, Array]
"""Cosines and sines [rows or 1, 1, time, turned width], computed once a call and shared by the layers."""


def rows_of(ops: Ops, spec: Positions, mask: Array | None, past: Size, time: Size) -> Array:
    """The rows [rows or 1, time] of the table of positions for `time` tokens after `past` ones.

    mask [rows, keys] covers the past too, and may be longer than both.
    """
    places = ops.arange(time) + past
    if spec.counted == "all" or mask is None:
        return places[None] + spec.offset
    shown = ops.cast(mask != 0, "int32")
    counted = ops.cumsum(shown, 1)
    if spec.counted == "real":
        counted = counted * shown
    return ops.take(counted, places, axis=1) + (spec.offset - 1)


def sine_table(spec: Positions, width: int) -> npt.NDArray[np.float32]:
    """The table [rows, width] of a kind that is not learned; sines in the first half, cosines in the second."""
    half = width // 2
    rows = np.arange(spec.rows)
    if spec.kind == "sines":  # in double precision, as the published tables were made
        speeds = np.power(10000.0, -2 * np.arange(half, dtype=np.float64) / width)
        angles = rows[:, None].astype(np.float64) * speeds
    else:
        rates = np.arange(half, dtype=np.float32) * np.float32(-(math.log(10000.0) / (half - 1)))
        angles = rows[:, None].astype(np.float32) * np.exp(rates, dtype=np.float32)
    out = np.concatenate((np.sin(angles), np.cos(angles)), -1).astype(np.float32)
    if width % 2:
        out = np.pad(out, ((0, 0), (0, 1)))
    if spec.kind == "sines_tensor2tensor":
        out[: spec.offset] = 0
    return out


def bucket(ops: Ops, spec: Buckets, distance: Array, causal: bool) -> Array:
    """The bucket of each distance (key position minus query position), after Raffel et al. 2020."""
    count = spec.count
    base: Any = 0
    if causal:
        distance = ops.maximum(-distance, 0)
    else:
        count //= 2
        base = ops.cast(distance > 0, "int32") * count
        distance = ops.abs(distance)
    exact = count // 2
    far = ops.cast(ops.maximum(distance, 1), "float32") / exact
    widening = ops.log(far) / np.float32(math.log(spec.longest / exact)) * (count - exact)
    wide = ops.minimum(exact + ops.cast(widening, "int32"), count - 1)
    return base + ops.where(distance < exact, distance, wide)


def slopes(heads: int, exponent: float) -> npt.NDArray[np.float32]:
    """Each head's slope for a linear bias [heads], after Press et al. 2022; also for heads that are no power of 2."""
    power = 2 ** math.ceil(math.log2(heads))
    steps = np.arange(1, power + 1, dtype=np.float32)
    every = (1.0 / np.power(np.float32(2.0), steps * np.float32(exponent) / power)).astype(np.float32)
    return every if power == heads else np.concatenate((every[1::2], every[::2]))[:heads]


def rotation(ops: Ops, spec: Rotary, places: Array, head_width: int, dtype: str, longest: Size) -> Rotation:
    """places [rows or 1, time] -> cosines and sines of each position's angles; `longest`: one more than the highest."""
    rates = _rates(ops, spec, spec.width or head_width, longest)
    angles = ops.cast(places[:, None, :, None], "float32") * rates
    angles = ops.concatenate((angles, angles), -1) if spec.layout == "halves" else ops.repeat(angles, 2, -1)
    magnitude = spec.scaling.magnitude if spec.scaling else 1.0
    sine = -ops.sin(angles) if spec.backwards else ops.sin(angles)
    return ops.cast(ops.cos(angles) * magnitude, dtype), ops.cast(sine * magnitude, dtype)


def _rates(ops: Ops, spec: Rotary, width: int, longest: Size) -> Array:
    """The angle of each pair of numbers at position 1, [width / 2]."""
    exponents = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
    powers = np.power(np.float32(spec.theta), exponents)
    scaling = spec.scaling
    if scaling is None:
        return ops.array(1.0 / powers, "float32")
    if scaling.kind == "linear":
        return ops.array(1.0 / powers / scaling.factor, "float32")
    if scaling.kind == "llama3":
        return ops.array(_llama3(1.0 / powers, scaling), "float32")
    if scaling.kind == "yarn":
        return ops.array(_yarn(spec.theta, exponents, width, scaling), "float32")
    if scaling.kind == "longrope":
        short, long = (
            ops.array(1.0 / (np.array(factors, np.float32) * powers), "float32")
            for factors in (scaling.short, scaling.long)
        )
        return ops.where(ops.array(longest) > scaling.original, long, short)
    reach = ops.cast(ops.maximum(ops.array(longest), scaling.original), "float32")
    stretch = reach * (scaling.factor / scaling.original) - (scaling.factor - 1)
    theta = spec.theta * ops.power(stretch, width / (width - 2))
    return 1.0 / ops.power(theta, ops.array(exponents, "float32"))


def _llama3(plain: npt.NDArray[np.float32], scaling: RotaryScaling) -> npt.NDArray[np.float32]:
    """Waves longer than original / low are stretched, shorter than original / high kept, those between blended."""
    waves = np.float32(2 * math.pi) / plain
    kept = np.clip((scaling.original / waves - scaling.low) / (scaling.high - scaling.low), 0, 1)
    return np.asarray((1 - kept) * plain / scaling.factor + kept * plain, np.float32)


def _yarn(
    theta: float, exponents: npt.NDArray[np.float32], width: int, scaling: RotaryScaling
) -> npt.NDArray[np.float32]:
    def place(turns: float) -> float:
        return width * math.log(scaling.original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = place(scaling.high), place(scaling.low)
    if scaling.whole_turns:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    ramp = (np.arange(width // 2, dtype=np.float32) - low) / (high - low if high != low else 0.001)
    stretched = np.clip(ramp, 0, 1)
    plain = 1.0 / np.power(np.float32(theta), exponents)
    return np.asarray(plain / scaling.factor * stretched + plain * (1 - stretched), np.float32)


def rotate(ops: Ops, x: Array, turn: Rotation, width: int, head_width: int, layout: str) -> Array:
    """x [rows, heads, time, head_width]: its first `width` numbers are turned."""
    cosine, sine = turn
    turned, rest = (x, None) if width == head_width else (x[..., :width], x[..., width:])
    if layout == "halves":
        half = width // 2
        across = ops.concatenate((-turned[..., half:], turned[..., :half]), -1)
    else:
        pairs = ops.reshape(turned, (*ops.shape(turned)[:-1], width // 2, 2))
        across = ops.reshape(ops.concatenate((-pairs[..., 1:], pairs[..., :1]), -1), ops.shape(turned))
    out = turned * cosine + across * sine
    return out if rest is None else ops.concatenate((out, rest), -1)


def rows_of_distance(ops: Ops, spec: Distances, distance: Array) -> Array:
    """distance [queries, keys], key minus query -> rows of the table of distances [queries, keys]."""
    span = spec.span or 0
    back = -distance
    if spec.longest is not None:
        half = span // 2
        far = ops.cast(ops.maximum(ops.abs(back), half), "float32") / half
        # In float32, as the models were trained: at the borders of the shared rows another type rounds otherwise.
        steps = ops.log(far) / np.log(np.float32((spec.longest - 1) / half)) * (half - 1)
        shared = ops.cast(ops.ceil(steps) + half, "int32") * ops.sign(back)
        back = ops.where(ops.abs(back) <= half, back, shared)
    return ops.minimum(ops.maximum(back + span, 0), 2 * span - 1)


def sines_of_distance(ops: Ops, spec: Distances, distance: Array, keys: Size, width: int) -> tuple[Array, Array]:
    """distance [queries, keys], key minus query -> a table [2 keys, width] and the rows of it that lie between them."""
    places = keys - ops.arange(2 * keys)
    held = places if spec.span is None else ops.minimum(ops.maximum(places, -spec.span), spec.span)
    speeds = ops.array(1 / np.power(10000, np.arange(0, width, 2, dtype=np.float32) / width), "float32")
    angles = ops.cast(held, "float32")[:, None] * speeds
    return ops.concatenate((ops.sin(angles), ops.cos(angles)), -1), keys + distance
