"""Rotary positions as configurations state them: `rope_parameters`, or `rope_theta` and `rope_scaling` before them."""

import math
from typing import Any, ClassVar, Literal

from seqgraft.errors import ConfigurationError
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.spec import Rotary, RotaryScaling

_NEEDED: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "yarn": (),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "longrope": ("short_factor", "long_factor"),
}
"""Published kinds of rotary positions -> what each cannot do without."""

_FROM_A_LENGTH = ("yarn", "llama3", "longrope")
"""Kinds that know the length that a model was trained on first."""


class RotaryConfig(PretrainedConfig):
    """A configuration with rotary positions."""

    default_theta: ClassVar[float] = 10000.0
    turned: ClassVar[float | None] = None
    """Share of each head's numbers that turn, where the family lets a configuration say it; the default."""
    by_layer_type: ClassVar[bool] = False
    """Whether `rope_parameters` holds one description for each kind of layer."""

    hidden_size: int
    num_attention_heads: int
    max_position_embeddings: int
    rope_parameters: dict[str, Any] | None = None

    def _modernise(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Version 4 wrote `rope_theta`, `rope_scaling` and `partial_rotary_factor` where 5 has `rope_parameters`."""
        fields = super()._modernise(fields)
        old = {
            "rope_theta": fields.pop("rope_theta", None),
            "partial_rotary_factor": fields.pop("partial_rotary_factor", None),
        }
        scaling = fields.pop("rope_scaling", None) or fields.get("rope_parameters")
        old = {name: value for name, value in old.items() if value is not None}
        if scaling or old:
            fields["rope_parameters"] = {**old, **(scaling or {})}
        return fields

    def _knows(self, name: str) -> bool:
        return name == "head_dim" or super()._knows(name)

    def _check(self) -> None:
        super()._check()
        rope = self.rope_parameters or {}
        if self.by_layer_type:
            self.rope_parameters = {kind: self._completed(rope[kind], kind) for kind in rope}
        else:
            self.rope_parameters = self._completed(rope)

    def _completed(self, given: dict[str, Any], layer_type: str = "") -> dict[str, Any]:
        """What is given, with what goes without saying; refuses what is not there or not supported."""
        at = f"rope_parameters['{layer_type}']" if layer_type else "rope_parameters"
        rope = {"rope_type": given.get("type", "default"), "rope_theta": self.default_theta}
        rope |= {name: value for name, value in given.items() if name != "type"}
        kind = rope["rope_type"]
        if kind not in _NEEDED:
            raise ConfigurationError(f"`{at}['rope_type']` must be one of {', '.join(_NEEDED)}, but is {kind!r}.")
        if self.turned is not None:
            rope.setdefault("partial_rotary_factor", self.turned)
        elif rope.get("partial_rotary_factor", 1.0) != 1.0:
            raise ConfigurationError(
                f"`{at}['partial_rotary_factor']` must be 1, but is {rope['partial_rotary_factor']}."
            )
        if kind in _FROM_A_LENGTH:
            own = getattr(self, "original_max_position_embeddings", None)
            rope.setdefault("original_max_position_embeddings", self.max_position_embeddings)
            if own is not None:
                rope["original_max_position_embeddings"] = own
        for name in _NEEDED[kind]:
            if rope.get(name) is None:
                raise ConfigurationError(f"`{at}['{name}']` must be given when the `rope_type` is '{kind}'.")
        turned = int(self.head_width * rope.get("partial_rotary_factor", 1.0))
        for name in ("short_factor", "long_factor") if kind == "longrope" else ():
            if len(rope[name]) != turned // 2:
                raise ConfigurationError(
                    f"`{at}['{name}']` must have one number for each of {turned // 2} pairs, but has {len(rope[name])}."
                )
        return rope

    @property
    def head_width(self) -> int:
        """Width of one attention head: `head_dim`, also in families that do not publish such a field."""
        said: int | None = self.__dict__.get("head_dim")
        return said or self.hidden_size // self.num_attention_heads


def rotary(
    config: RotaryConfig, layer_type: str | None = None, layout: Literal["halves", "pairs"] = "halves"
) -> Rotary:
    """What a configuration says of the positions of one kind of layer, or of all."""
    rope: dict[str, Any] = config.rope_parameters or {}
    rope = rope[layer_type] if layer_type else rope
    width = int(config.head_width * rope.get("partial_rotary_factor", 1.0))
    return Rotary(
        float(rope["rope_theta"]), None if width == config.head_width else width, layout, _scaling(config, rope)
    )


def _scaling(config: RotaryConfig, rope: dict[str, Any]) -> RotaryScaling | None:
    kind, longest = rope["rope_type"], config.max_position_embeddings
    if kind == "linear":
        return RotaryScaling("linear", rope["factor"])
    if kind == "dynamic":
        return RotaryScaling("dynamic", rope["factor"], longest)
    if kind == "llama3":
        return RotaryScaling(
            "llama3",
            rope["factor"],
            rope["original_max_position_embeddings"],
            rope["low_freq_factor"],
            rope["high_freq_factor"],
        )
    if kind not in _FROM_A_LENGTH:
        return None
    original = rope["original_max_position_embeddings"]
    factor = rope.get("factor") or longest / original
    magnitude = rope.get("attention_factor")
    if kind == "yarn":
        return RotaryScaling(
            "yarn",
            factor,
            original,
            low=rope.get("beta_slow") or 1.0,
            high=rope.get("beta_fast") or 32.0,
            magnitude=_yarn_magnitude(rope, factor) if magnitude is None else magnitude,
            whole_turns=bool(rope.get("truncate", True)),
        )
    if magnitude is None:
        magnitude = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    return RotaryScaling(
        "longrope",
        original=original,
        short=tuple(map(float, rope["short_factor"])),
        long=tuple(map(float, rope["long_factor"])),
        magnitude=magnitude,
    )


def _yarn_magnitude(rope: dict[str, Any], factor: float) -> float:
    """The paper's, or the ratio of two of them where the configuration weighs them (DeepSeek)."""

    def grown(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    up, down = rope.get("mscale"), rope.get("mscale_all_dim")
    return grown(up) / grown(down) if up and down else grown(1.0)
