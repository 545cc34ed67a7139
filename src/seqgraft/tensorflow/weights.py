"""A pair's weights between numpy arrays and Keras variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from seqgraft.checkpoints.pair_arrays import HalfArrays, PairArrays
from seqgraft.config import EncoderDecoderConfig
from seqgraft.functional import host
from seqgraft.generation import GenerationConfig


@dataclass
class Held:
    """What a model has beside its variables: Keras follows no path into it."""

    config: EncoderDecoderConfig
    generation: GenerationConfig
    carried: PairArrays
    """What nothing computes with (a pooler), written back when the model is saved."""
    variables: dict[str, Any] = field(default_factory=dict)
    """The functional core's names -> Keras variables; what the halves share stands with the decoder."""
    owners: dict[str, str] = field(default_factory=dict)
    computed: dict[str, Any] = field(default_factory=dict)
    """Tables that no checkpoint holds."""
    programs: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, pair: host.Host) -> Held:
        """A pair's description; the weights are the caller's to take."""
        halves = [HalfArrays({}, dict(getattr(pair.arrays, side).carried)) for side in host.SIDES]
        held = cls(pair.config, pair.generation, PairArrays(halves[0], halves[1]))
        held.owners = host.owners(pair.config)
        with tf.init_scope():
            held.computed = {name: tf.constant(value) for name, value in host.computed(pair.config).items()}
        return held

    def weights(self) -> dict[str, Any]:
        """The functional core's weights, as TensorFlow's own variables."""
        made = {name: variable.value for name, variable in self.variables.items()} | self.computed
        return made | {name: made[owner] for name, owner in self.owners.items()}

    def arrays(self) -> PairArrays:
        """The weights as numpy arrays by canonical name, and what is carried along."""
        named: Mapping[str, Any] = {name: np.asarray(value) for name, value in self.variables.items()}
        return host.from_core(self.config, named, self.carried)

    @property
    def dtype(self) -> str:
        """The decoder's floating type."""
        return str(self.variables["decoder.embed.weight"].dtype)


def cast(value: Any, dtype: str | None) -> Any:
    """An array in another floating type; what is no float stays."""
    array = np.asarray(value)
    floats = tf.as_dtype(array.dtype).is_floating
    return array.astype(tf.as_dtype(dtype).as_numpy_dtype) if dtype is not None and floats else array
