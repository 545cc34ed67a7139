"""The way out for what no family declares: any module as an encoder, and another library's decoder taken over."""

from __future__ import annotations

import contextlib
import inspect
import tempfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seqgraft.config import ForeignConfig
from seqgraft.errors import CheckpointError, ConfigurationError
from seqgraft.families import ENTRIES
from seqgraft.generation.outputs import BaseModelOutput
from seqgraft.torch.halves import CausalModel, EncoderModel

if TYPE_CHECKING:
    from seqgraft.torch.model import EncoderDecoderModel

_WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embed_dim")
"""What configurations of the field call the width of the states."""
_IDS = ("vocab_size", "max_position_embeddings", "pad_token_id", "bos_token_id", "eos_token_id")


class ForeignEncoder(nn.Module):
    """A module of one's own, or of another library, in an encoder's place.

    Args:
        module: called with `input_ids` and `attention_mask` [batch, time], by these names or else by their places; it
            gives states [batch, time, width]: a tensor, a tuple that begins with them, or what has
            `last_hidden_state`.
        width: of the states; taken from the module's `config` unless given.
    """

    pooler = None
    spec = None

    def __init__(self, module: nn.Module, width: int | None = None) -> None:
        super().__init__()
        self.module = module
        own = getattr(module, "config", None)
        said = next((value for name in _WIDTHS if isinstance(value := _field(own, name), int)), None)
        if width is None and said is None:
            raise ConfigurationError(
                f"`encoder_width` must be given for a {type(module).__name__}, since its states' width is not known: "
                "it has no `config.hidden_size`."
            )
        found = {name: _field(own, name) for name in _IDS if isinstance(_field(own, name), int | list)}
        self.config = ForeignConfig(**{**found, "hidden_size": width or said})
        self._named = _takes_names(module)
        self._also = _keywords(module)
        if isinstance(unread := getattr(module, "pooler", None), nn.Module):  # it would wait for a gradient
            unread.requires_grad_(False)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_dict: bool | None = None,
        **given: Any,
    ) -> BaseModelOutput | tuple[Any, ...]:
        """input_ids [batch, time] -> last_hidden_state [batch, time, width]; the rest is handed on where it is said."""
        given = {name: value for name, value in given.items() if value is not None and value is not False}
        unknown = [name for name in given if self._also is not None and name not in self._also]
        if unknown:
            raise TypeError(f"The encoder is a {type(self.module).__name__}, which takes no {', '.join(unknown)}.")
        if attention_mask is None and input_ids is not None:
            attention_mask = torch.ones_like(input_ids)
        if self._named:
            held = {"input_ids": input_ids, "attention_mask": attention_mask, **given}
            out = self.module(**{name: value for name, value in held.items() if value is not None})
        else:
            out = self.module(input_ids, attention_mask, **given)
        made = self._read(out)
        return made.to_tuple() if return_dict is False else made

    def _read(self, out: Any) -> BaseModelOutput:
        """The states of whatever the module gave, checked."""
        if isinstance(out, Mapping):
            states = out.get("last_hidden_state")
        elif isinstance(out, Tensor):
            states = out
        else:
            states = getattr(out, "last_hidden_state", None)
            if states is None and isinstance(out, tuple | list) and out:
                states = out[0]
        if not isinstance(states, Tensor) or states.dim() != 3:
            raise ConfigurationError(
                f"An encoder must give states [batch, time, width], but a {type(self.module).__name__} gives "
                f"{_described(out)}: hand over the body that makes them."
            )
        if states.shape[-1] != self.config.hidden_size:
            raise ConfigurationError(
                f"The states of the encoder must be {self.config.hidden_size} wide, as was said, but are "
                f"{states.shape[-1]}: give `encoder_width={states.shape[-1]}`."
            )
        kept = {name: getattr(out, name, None) for name in ("hidden_states", "attentions")}
        return BaseModelOutput(states, kept["hidden_states"], kept["attentions"])

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The parameters' floating type."""
        return next(self.parameters()).dtype

    def get_input_embeddings(self) -> Any:
        """The module's table of token embeddings: the one that it says, else its first; None where it has none."""
        ask = getattr(self.module, "get_input_embeddings", None)
        return ask() if callable(ask) else next((m for m in self.modules() if isinstance(m, nn.Embedding)), None)

    def tie(self) -> None:
        """Nothing: what the module ties is its own."""


def as_encoder(encoder: Any, width: int | None = None) -> Any:
    """An encoder of ours as it is; any other module in a thin wrapper."""
    if width is not None and (isinstance(encoder, EncoderModel | ForeignEncoder) or not isinstance(encoder, nn.Module)):
        raise ConfigurationError("`encoder_width` must be given with an encoder of another library only.")
    ours = isinstance(encoder, EncoderModel | CausalModel | ForeignEncoder)
    return ForeignEncoder(encoder, width) if isinstance(encoder, nn.Module) and not ours else encoder


def can_take_over(decoder: Any) -> bool:
    """Whether this is another library's causal model of a family that is declared here."""
    if not isinstance(decoder, nn.Module) or isinstance(decoder, CausalModel | EncoderModel | ForeignEncoder):
        return False
    if not callable(getattr(getattr(decoder, "config", None), "to_dict", None)):
        return False
    entry = ENTRIES.get(getattr(decoder.config, "model_type", None) or "")
    headed = callable(ask := getattr(decoder, "get_output_embeddings", None)) and ask() is not None
    return entry is not None and headed and callable(getattr(decoder, "save_pretrained", None))


@contextlib.contextmanager
def stored(decoder: Any) -> Iterator[str]:
    """A folder with the model as its library writes it, so that its published names are read as ever."""
    with tempfile.TemporaryDirectory(prefix="seqgraft-") as folder:
        decoder.save_pretrained(folder)
        yield folder


def detach_from_files(model: nn.Module) -> None:
    """Give every parameter memory of its own, before the files that it was read from are gone."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()


def check_writable(model: EncoderDecoderModel) -> None:
    """Raise CheckpointError for a pair that no folder can hold, and say how to keep its parts."""
    encoder: Any = model.encoder
    if not isinstance(encoder, ForeignEncoder):
        return
    module = encoder.module
    how = "`model.encoder.module.save_pretrained(...)`" if hasattr(module, "save_pretrained") else "`torch.save`"
    bridge = ", the bridge with `torch.save(model.enc_to_dec_proj.state_dict(), ...)`"
    known = getattr(getattr(module, "config", None), "model_type", None)
    ours = f" Its family '{known}' is declared here: opened by name, such an encoder can be saved." if (
        known in ENTRIES
    ) else ""  # fmt: skip
    raise CheckpointError(
        f"The pair cannot be written as one folder, since its encoder is a {type(module).__name__} of "
        f"{type(module).__module__}, which no family declares. Save the parts: the encoder with {how}, the decoder "
        f"with `model.decoder.save_pretrained(...)`{'' if model.enc_to_dec_proj is None else bridge}; and put them "
        f"together again with from_encoder_decoder_pretrained(encoder_model=...).{ours}"
    )


def _field(config: Any, name: str) -> Any:
    return config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)


def _parameters(module: nn.Module) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(module.forward).parameters


def _takes_names(module: nn.Module) -> bool:
    """Whether the module can be called with `input_ids=` and `attention_mask=`."""
    own = _parameters(module)
    catches_all = _keywords(module) is None and all(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in own.values())
    return catches_all or {"input_ids", "attention_mask"} <= set(own)


def _keywords(module: nn.Module) -> set[str] | None:
    """The names that the module takes; None when it takes any."""
    own = _parameters(module)
    return None if any(p.kind is p.VAR_KEYWORD for p in own.values()) else set(own)


def _described(out: Any) -> str:
    if isinstance(out, Tensor):
        return f"a tensor {list(out.shape)}"
    return f"a {type(out).__name__}" + (f" of {', '.join(map(str, out))}" if isinstance(out, Mapping) else "")
