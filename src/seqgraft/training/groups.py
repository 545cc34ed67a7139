"""Which weights are new, which are frozen, and at what rate each is trained."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from seqgraft.errors import ConfigurationError
from seqgraft.families import family, graft_table
from seqgraft.torch.model import EncoderDecoderModel

_NEW = ("enc_to_dec_proj.", "decoder.head.dense.", "decoder.head.norm.", "decoder.head.output.bias")


def is_new(model: EncoderDecoderModel) -> set[str]:
    """Names of the parameters that putting the pair together adds: graft, bridge, and the head's small parts.

    The output table is not among them where it is tied to the pretrained input table.
    """
    graft = graft_table(family(model.config.decoder.model_type), model.config.decoder)
    if not graft:  # a published encoder-decoder's own cross-attention was trained for another encoder
        graft = {name: () for name, _ in model.decoder.named_parameters() if ".cross_attention" in name}
    names = {f"decoder.{name}" for name in graft}
    return {name for name, _ in model.named_parameters() if name in names or name.startswith(_NEW)}


def freeze(model: EncoderDecoderModel, patterns: Sequence[str]) -> None:
    """Let training change nothing whose canonical name matches a pattern (`encoder.layers.[0-3].*`).

    Raises ConfigurationError for a pattern that matches nothing, and when nothing is left to train.
    """
    names = dict(model.named_parameters())
    for pattern in patterns:
        found = [name for name in names if fnmatchcase(name, pattern)]
        if not found:
            raise ConfigurationError(f"A pattern to freeze must match a parameter's name, but '{pattern}' does not.")
        for name in found:
            names[name].requires_grad = False
    if not any(parameter.requires_grad for parameter in names.values()):
        raise ConfigurationError("Something must be left to train, but everything is frozen.")


def rate_groups(model: EncoderDecoderModel, *, rate: float, new_rate: float, decay: float) -> list[dict[str, Any]]:
    """Groups for an optimizer: pretrained and new weights at their rates; weight decay for matrices alone."""
    new = is_new(model)
    groups: dict[tuple[bool, bool], list[Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name in new, parameter.dim() > 1), []).append(parameter)
    return [
        {"params": held, "lr": new_rate if fresh else rate, "weight_decay": decay if matrix else 0.0}
        for (fresh, matrix), held in sorted(groups.items(), key=lambda item: item[0])
    ]
