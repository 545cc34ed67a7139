"""What the literature found to work, as settings of `train` that a call may override."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seqgraft.errors import ConfigurationError
from seqgraft.spec import parameters
from seqgraft.torch.initial import initialise
from seqgraft.torch.model import EncoderDecoderModel
from seqgraft.torch.tying import tied_names


@dataclass(frozen=True)
class Recipe:
    """Settings of `seqgraft.training.trainer.train`, and where they come from."""

    name: str
    says: str
    source: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    ties: bool = False
    """Whether both halves are made to share their weights."""


_WARM: dict[str, Any] = {"learning_rate": 5e-5, "warmup": 0.1, "decay": "inverse_sqrt", "label_smoothing": 0.1}

_ALL = (
    Recipe(
        "warm-start",
        "new weights learn ten times as fast as pretrained ones",
        "rates by part: Howard & Ruder 2018, Liu & Lapata 2019; linear warm-up, then the inverse square root: Vaswani "
        "et al. 2017, for warm-started pairs Rothe et al. 2020 (whose peak is 0.05 / sqrt(768 * 40,000) = 9e-6); label "
        "smoothing 0.1: Vaswani et al. 2017; 5e-5: Devlin et al. 2019, for fine-tuning",
        _WARM,
    ),
    Recipe(
        "two-optimizers",
        "the encoder with a low rate and a long warm-up, everything else with a high rate and a short one",
        "Liu & Lapata 2019, section 4: 2e-3 and 0.1 times min(step^-0.5, step * warmup^-1.5), warm-ups of 20,000 and "
        "10,000 of 200,000 steps, beta 2 of 0.999, label smoothing 0.1; as peaks and shares here (their published "
        "command has 0.2 instead of 0.1)",
        {
            **_WARM,
            "learning_rate": 0.1 * 10_000**-0.5,
            "new_learning_rate": 0.1 * 10_000**-0.5,
            "warmup": 10_000 / 200_000,
            "rates": (f"encoder.*={2e-3 * 20_000**-0.5!r},warmup={20_000 / 200_000!r}",),
            "adam_beta2": 0.999,
        },
    ),
    Recipe(
        "share",
        "both halves share all weights that they have in common, as warm-start otherwise",
        "BERTSHARE and ROBERTASHARE: Rothe et al. 2020",
        _WARM,
        ties=True,
    ),
    Recipe(
        "freeze-encoder",
        "the encoder stays as it is, as warm-start otherwise",
        "pretrained states as features: Peters et al. 2019",
        {**_WARM, "freeze": ("encoder.*",)},
    ),
    Recipe(
        "graft-only",
        "only what putting the pair together added is trained: cross-attention, bridge, fresh tables",
        "Gheini et al. 2021",
        {**_WARM, "freeze": ("pretrained",)},
    ),
    Recipe(
        "lora",
        "low-rank adapters on both halves' self-attention, and the graft in full",
        "Hu et al. 2021: queries and values, rank 8, alpha 16, 2e-4 to 4e-4 (RoBERTa-large); 2e-4 (GPT-2)",
        {**_WARM, "learning_rate": 2e-4, "new_learning_rate": 5e-4, "lora": {}},
    ),
)
RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _ALL}
DEFAULT = "warm-start"
"""What the command line trains with unless it is told otherwise."""

_ADDED = ("freeze", "rates")
_NOT_FROZEN = "freeze-encoder", "graft-only"


def named(name: str) -> Recipe:
    """A recipe by its name; ConfigurationError lists the names."""
    if name not in RECIPES:
        raise ConfigurationError(f"`recipe` must be one of {', '.join(RECIPES)}, but is {name!r}.")
    return RECIPES[name]


def settings(name: str = DEFAULT, *, unfreeze_at: float | None = None, **overrides: Any) -> dict[str, Any]:
    """The keyword arguments of `train` that a recipe means: `train(model, tokenizer, pairs, **settings("share"))`.

    Args:
        name: one of `RECIPES`. What it does to the model itself, `prepare` does.
        unfreeze_at: the share of the training after which what the recipe freezes is trained too.
        overrides: arguments that win; `freeze` and `rates` come on top of the recipe's.

    Raises ConfigurationError for a name that is none, or for `unfreeze_at` with a recipe that freezes nothing.
    """
    recipe = named(name)
    made = dict(recipe.settings)
    given = {key: value for key, value in overrides.items() if value is not None}
    if unfreeze_at is not None:
        if name not in _NOT_FROZEN:
            raise ConfigurationError(
                f"`unfreeze_at` is for a recipe that freezes ({' or '.join(_NOT_FROZEN)}), but the recipe is '{name}'."
            )
        rate = given.get("learning_rate", made["learning_rate"])
        made["rates"] = tuple(f"{pattern}={rate!r},start={unfreeze_at!r}" for pattern in made.pop("freeze"))
    for key in _ADDED:
        if key in made or key in given:
            made[key] = (*made.get(key, ()), *given.pop(key, ()))
    if made.get("lora") is not None and given.get("lora"):
        made["lora"] = {**made["lora"], **given.pop("lora")}
    return {**made, **given}


def prepare(model: EncoderDecoderModel, name: str = DEFAULT) -> list[str]:
    """Do to the model what a recipe asks for before training; returns lines for the user.

    Raises ConfigurationError where the halves cannot share their weights, or one of them starts from scratch.
    """
    if not named(name).ties or model.config.tie_encoder_decoder:
        return []
    afresh = [half.new_parameters == ["*"] for half in (model.config.encoder, model.config.decoder)]
    if afresh[0] != afresh[1]:
        raise ConfigurationError(
            f"Halves that share their weights (recipe '{name}') must start alike, but the "
            f"{'encoder' if afresh[0] else 'decoder'} alone starts from scratch."
        )
    shared = tied_names(model.encoder, model.decoder)
    own, other = dict(model.encoder.named_parameters()), dict(model.decoder.named_parameters(remove_duplicate=False))
    differ = [key for key in shared if not own[key].equal(other[key])] if shared else []
    model.config.tie_encoder_decoder = True
    model.tie_weights()
    lost = f" {len(differ)} of them differed: the decoder's are kept." if differ else ""
    return [f"Both halves share {len(shared)} tensors from now on (tie_encoder_decoder).{lost}"]


def start_afresh(model: EncoderDecoderModel, side: str) -> str:
    """Give a half (`encoder`, `decoder`) random weights, so that what warm-starting does can be measured.

    All of it counts as new from then on. Returns a line for the user; raises ConfigurationError for another side.
    """
    if side not in ("encoder", "decoder"):
        raise ConfigurationError(f"A half to start from scratch must be 'encoder' or 'decoder', but is {side!r}.")
    half = getattr(model, side)
    initialise(half, parameters(half.spec))
    getattr(model.config, side).new_parameters = ["*"]
    return f"The {side} starts from scratch: {sum(p.numel() for p in half.parameters()):,} random parameters."
