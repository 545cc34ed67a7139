"""A smaller half out of a checkpoint: its first layers, and the rows of its tables that are used.

The first layers of a trained encoder are a good start for a small one (Turc et al. 2019; Sajjad et al. 2020, whose
"top" dropping this is).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from seqgraft.errors import ConfigurationError
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.spec import parameters
from seqgraft.torch.half import Half
from seqgraft.torch.pretrained import place

if TYPE_CHECKING:
    from seqgraft.torch.model import EncoderDecoderModel

H = TypeVar("H", bound=Half)

_INDEX = re.compile(r"\.(\d+)\.")
_IDS = re.compile(r"_token_ids?$|^(begin_)?suppress_tokens$")


def first_layers(half: H, count: int) -> H:
    """A half of the first `count` layers, with the weights of `half`, which must not be used after that.

    Raises ConfigurationError for fewer than 1 layer, more than there are, or a family whose configuration does not
    say their number in one field.
    """
    held = len(half.spec.layers)
    if not 1 <= count <= held:
        raise ConfigurationError(
            f"`num_hidden_layers` must be 1 to {held}, the layers that the checkpoint has, but is {count}."
        )
    if count == held:
        return half
    config = copy.deepcopy(half.config)
    mapped = type(config).attribute_map.get("num_hidden_layers", "num_hidden_layers")
    names = [f"{half.side}_layers", f"num_{half.side}_layers", mapped]
    name = next((name for name in names if getattr(config, name, None) == held), None)
    if name is None:
        raise ConfigurationError(f"The layers of '{config.model_type}' cannot be cut: their number is no field of it.")
    for field, value in list(vars(config).items()):
        if isinstance(value, list) and len(value) == held and not field.endswith("_ids"):
            setattr(config, field, value[:count])
    setattr(config, name, count)
    made = type(half)(config, fill=False)
    if len(made.spec.layers) != count:
        raise ConfigurationError(f"The layers of '{config.model_type}' cannot be cut to {count}.")
    for key in parameters(made.spec):
        place(made, key, half.get_parameter(key).detach())
    made.carried = {
        key: value for key, value in half.carried.items() if all(int(n) < count for n in _INDEX.findall(key))
    }
    made.missing = half.missing
    made.tie()
    if hasattr(half, "generation_config"):
        made.generation_config = half.generation_config
    return made.train(half.training)


def keep_rows(model: EncoderDecoderModel, source: Sequence[int], target: Sequence[int]) -> None:
    """Keep these rows of the encoder's table and of the decoder's tables, in this order; ids are numbered anew.

    Special ids of the configurations and of the generation settings follow. Raises ConfigurationError where one of
    them is not kept, or where halves that share a table would keep different rows.
    """
    shared = model.encoder.embed.weight is model.decoder.embed.weight
    if shared and list(source) != list(target):
        raise ConfigurationError("Halves that share their table must keep the same rows, but do not.")
    new = [{old: index for index, old in enumerate(kept)} for kept in (source, target)]
    holders = (model.config.encoder, new[0]), *((one, new[1]) for one in _of_targets(model))
    # All of them before any is set: setting the pair's tells its generation settings.
    for holder, values in [(holder, _renumbered(holder, numbers)) for holder, numbers in holders]:
        for name, value in values.items():
            setattr(holder, name, value)
    _keep(model.encoder, source)
    _keep(model.decoder, target)
    model.tie_weights()


def _of_targets(model: EncoderDecoderModel) -> list[Any]:
    """What holds ids of the decoder's vocabulary."""
    return [model.config.decoder, model.config, model.generation_config]


@torch.no_grad()
def _keep(half: Half, kept: Sequence[int]) -> None:
    rows = torch.tensor(list(kept), device=half.embed.weight.device)
    output = half.head.output if half.head is not None else None
    tied = output is not None and output.weight is half.embed.weight
    half.config.set_vocabulary(half.side, len(kept))
    half.spec = half._declared(half.config).spec(half.config)
    for copied, _ in half.names().ties:
        half.carried.pop(copied, None)  # an idle copy of the old size
    table = nn.Embedding(len(kept), half.embed.embedding_dim, half.spec.padding, _weight=half.embed.weight[rows])
    half.embed = table.train(half.training)
    if output is not None:
        if not tied:
            output.weight = nn.Parameter(output.weight[rows])
        if output.bias is not None:
            output.bias = nn.Parameter(output.bias[rows])
        output.out_features = len(kept)
    half.tie()


def _renumbered(settings: PretrainedConfig | Any, new: Mapping[int, int]) -> dict[str, Any]:
    """The special ids of a configuration, or of generation settings, by their new numbers."""
    made: dict[str, Any] = {}
    for name, value in vars(settings).items():
        if value is None or name.startswith("_") or not _IDS.search(name):
            continue
        many = value if isinstance(value, list) else [value]
        if not all(isinstance(one, int) for one in many):
            continue
        if name.endswith("suppress_tokens"):
            made[name] = [new[one] for one in many if one in new]
            continue
        if any(one not in new for one in many):
            raise ConfigurationError(f"`{name}` is {value}, so that row must be kept, but is not.")
        made[name] = [new[one] for one in value] if isinstance(value, list) else new[value]
    return made
