"""Which weights are new, which are frozen, and at what rate each is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from seqgraft.errors import ConfigurationError
from seqgraft.families import family, graft_table
from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.training.schedule import Budget, Decay, factor

NEW, PRETRAINED = "new", "pretrained"
"""Patterns for what putting the pair together added, and for everything else."""

_SMALL = ("decoder.head.dense.", "decoder.head.norm.", "decoder.head.output.bias")
"""Parts of a head that are taken for new where the folder does not say (`new_parameters`)."""


@dataclass(frozen=True)
class Rate:
    """A learning rate for the parameters whose canonical names match a pattern.

    Written `PATTERN=RATE` or `PATTERN=RATE,warmup=SHARE,start=SHARE`: `decoder.*.cross_attention.*=1e-3`.
    """

    pattern: str
    """Of names (`encoder.layers.[0-3].*`), or `new`, or `pretrained`."""
    rate: float
    """The peak; 0 trains nothing, but frozen parameters cost less."""
    warmup: float | None = None
    """The share of the training in which the rate rises; None: as of all."""
    start: float = 0.0
    """The share of the training that is over when these parameters begin to move."""

    def __post_init__(self) -> None:
        if not self.rate >= 0 or self.rate == float("inf"):
            raise ConfigurationError(f"A learning rate must be 0 or more, but that of '{self.pattern}' is {self.rate}.")
        for name, value in (("warmup", self.warmup or 0.0), ("start", self.start)):
            if not 0 <= value < 1:
                raise ConfigurationError(
                    f"`{name}` of '{self.pattern}' must be a share of the training from 0 to below 1, but is {value}."
                )

    @classmethod
    def parse(cls, text: str | Rate) -> Rate:
        """`PATTERN=RATE[,warmup=SHARE][,start=SHARE]` -> a Rate. Raises ConfigurationError for anything else."""
        if isinstance(text, Rate):
            return text
        pattern, _, rest = text.partition("=")
        first, *more = rest.split(",")
        try:
            said = dict(part.split("=", 1) for part in more)
            if not pattern.strip() or set(said) - {"warmup", "start"}:
                raise ValueError
            return cls(pattern.strip(), float(first), **{name.strip(): float(value) for name, value in said.items()})
        except ConfigurationError:
            raise
        except ValueError:
            raise ConfigurationError(
                f"A rate must be PATTERN=RATE, with ',warmup=SHARE' and ',start=SHARE' if wanted, but is {text!r}."
            ) from None

    def __str__(self) -> str:
        warmup = "" if self.warmup is None else f",warmup={self.warmup!r}"
        start = f",start={self.start!r}" if self.start else ""
        return f"{self.pattern}={self.rate!r}{warmup}{start}"


@dataclass(frozen=True)
class Line:
    """One line of the table that is shown before training."""

    pattern: str
    tensors: int
    parameters: int
    rate: float | None
    """None: frozen."""
    warmup: float | None = None
    start: float = 0.0


def is_new(model: EncoderDecoderModel) -> set[str]:
    """Names of the parameters that putting the pair together adds: graft, bridge, and what no checkpoint gave.

    A half's configuration says in `new_parameters` what its checkpoint lacked, an untied output table for one; `*` is
    a half from scratch. Where it says nothing, the head's small parts count as new and its table as pretrained.
    """
    graft = graft_table(family(model.config.decoder.model_type), model.config.decoder)
    if not graft:  # a published encoder-decoder's own cross-attention was trained for another encoder
        graft = {name: () for name, _ in model.decoder.named_parameters() if ".cross_attention" in name}
    names = {f"decoder.{name}" for name in graft}
    said = {side: getattr(model.config, side).new_parameters for side in ("encoder", "decoder")}
    patterns = [f"{side}.{pattern}" for side, found in said.items() for pattern in found or ()]
    starts = ("enc_to_dec_proj.", *(_SMALL if said["decoder"] is None else ()))
    return {
        name
        for name, _ in model.named_parameters()
        if name in names or name.startswith(starts) or any(fnmatchcase(name, pattern) for pattern in patterns)
    }


def matching(model: EncoderDecoderModel, pattern: str, new: set[str]) -> list[str]:
    """The names that a pattern means; ConfigurationError when there are none."""
    names = [name for name, _ in model.named_parameters()]
    if pattern in (NEW, PRETRAINED):
        return [name for name in names if (name in new) is (pattern == NEW)]
    if any(fnmatchcase(name, pattern) for name, _ in model.named_parameters(remove_duplicate=False)):
        # A tensor that the halves share stands under its first name; it is meant by each of them.
        own = {id(parameter): name for name, parameter in model.named_parameters()}
        return list(
            dict.fromkeys(
                own[id(parameter)]
                for name, parameter in model.named_parameters(remove_duplicate=False)
                if fnmatchcase(name, pattern)
            )
        )
    raise ConfigurationError(
        f"A pattern must match a parameter's name, or be '{NEW}' or '{PRETRAINED}', but '{pattern}' does not match "
        f"any; names are such as '{names[0]}'."
    )


def freeze(model: EncoderDecoderModel, patterns: Sequence[str]) -> None:
    """Let training change nothing whose canonical name matches a pattern (`encoder.layers.[0-3].*`, `pretrained`).

    Raises ConfigurationError for a pattern that matches nothing, and when nothing is left to train.
    """
    names = dict(model.named_parameters())
    new = is_new(model)
    for pattern in patterns:
        for name in matching(model, pattern, new):
            names[name].requires_grad = False
    if not any(parameter.requires_grad for parameter in names.values()):
        raise ConfigurationError("Something must be left to train, but everything is frozen.")


def assigned(
    model: EncoderDecoderModel, *, rate: float, new_rate: float, rates: Sequence[str | Rate] = ()
) -> dict[str, Rate]:
    """Parameter name -> its rate. Of several patterns that match a name the last counts; others are `new` or
    `pretrained`."""
    new = is_new(model)
    found = {NEW: Rate(NEW, new_rate), PRETRAINED: Rate(PRETRAINED, rate)}
    held = {name: found[NEW if name in new else PRETRAINED] for name, _ in model.named_parameters()}
    for given in map(Rate.parse, rates):
        held.update(dict.fromkeys(matching(model, given.pattern, new), given))
    return held


def rate_groups(
    model: EncoderDecoderModel, *, rate: float, new_rate: float, decay: float, rates: Sequence[str | Rate] = ()
) -> list[dict[str, Any]]:
    """Groups for an optimizer: each rate's parameters; weight decay for matrices alone.

    Beside `params`, `lr` and `weight_decay` a group has its `warmup` and `start`, which `factors` reads.
    """
    held = assigned(model, rate=rate, new_rate=new_rate, rates=rates)
    groups: dict[tuple[Rate, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((held[name], parameter.dim() > 1), []).append(parameter)
    order = sorted(groups.items(), key=lambda item: (item[0][0].pattern, str(item[0][0]), item[0][1]))
    return [
        {
            "params": params,
            "pattern": given.pattern,
            "lr": given.rate,
            "weight_decay": decay if matrix else 0.0,
            "warmup": given.warmup,
            "start": given.start,
        }
        for (given, matrix), params in order
    ]


def factors(
    groups: Sequence[dict[str, Any]], budget: Budget, *, warmup: float, decay: Decay
) -> list[Callable[[int], float]]:
    """For each group, step -> the part of its rate that holds then; for `LambdaLR`."""

    def of(group: dict[str, Any]) -> Callable[[int], float]:
        own = warmup if group["warmup"] is None else group["warmup"]
        start = group["start"]

        def at(step: int) -> float:
            done = budget.done(step)
            if done < start:
                return 0.0
            done = (done - start) / (1 - start)
            # The share that is over when the step ends, so that the first one moves and the last one does a little.
            floor = 1 / (budget.steps + 1)
            return factor(max(done, floor) if own else done, warmup=own, decay=decay)

        return at

    return [of(group) for group in groups]


def table(model: EncoderDecoderModel, *, rate: float, new_rate: float, rates: Sequence[str | Rate] = ()) -> list[Line]:
    """What training would move: a line for each pattern that holds somewhere, frozen parameters last."""
    held = assigned(model, rate=rate, new_rate=new_rate, rates=rates)
    lines: dict[tuple[Rate, bool], list[int]] = {}
    for name, parameter in model.named_parameters():
        given = replace(held[name], pattern="adapters") if ".lora_" in name else held[name]
        lines.setdefault((given, parameter.requires_grad), []).append(parameter.numel())
    return [
        Line(given.pattern, len(counts), sum(counts), given.rate if moves else None, given.warmup, given.start)
        for (given, moves), counts in sorted(lines.items(), key=lambda item: (not item[0][1], item[0][0].pattern))
    ]
