"""One half of a pair: a view of the pair's own variables."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from seqgraft import folders
from seqgraft.checkpoints import stale_weights
from seqgraft.checkpoints.frameworks import framework_writer
from seqgraft.checkpoints.pair_arrays import HalfArrays, half_tensors
from seqgraft.checkpoints.written import written_half
from seqgraft.errors import ConfigurationError
from seqgraft.families import family
from seqgraft.families.configuration import CONFIG_NAME, PretrainedConfig
from seqgraft.functional import host
from seqgraft.tensorflow.forward import encoded
from seqgraft.tensorflow.inputs import unpacked
from seqgraft.tensorflow.weights import Held

if TYPE_CHECKING:
    from seqgraft.tensorflow.model import TFEncoderDecoderModel


class TFHalf:
    """A pair's encoder or decoder. The encoder may be called: ids [batch, time] -> `TFBaseModelOutput`."""

    def __init__(self, model: TFEncoderDecoderModel, side: Literal["encoder", "decoder"]) -> None:
        self.model, self.side = model, side

    @property
    def config(self) -> PretrainedConfig:
        """This half's own configuration."""
        half: PretrainedConfig = getattr(self.model.config, self.side)
        return half

    def __call__(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool = False,
        **inputs: Any,
    ) -> Any:
        """The encoder's states of a source; TypeError for a decoder, which runs in its pair alone."""
        if self.side == "decoder":
            raise TypeError("A decoder must be called through its pair: model(encoder_outputs=..., ...).")
        pair = self.model.config
        given = unpacked(input_ids, {"attention_mask": attention_mask, **inputs})
        states = pair.output_hidden_states if output_hidden_states is None else output_hidden_states
        attentions = pair.output_attentions if output_attentions is None else output_attentions
        out = encoded(self.model.run(training), pair, given, bool(states), bool(attentions))
        return out if (pair.return_dict if return_dict is None else return_dict) else out.to_tuple()

    def _table(self) -> str:
        name = f"{self.side}.embed.weight"
        return self.model.held.owners.get(name, name)

    def get_input_embeddings(self) -> Any:
        """The table of token embeddings [vocabulary, width], a Keras variable."""
        return self.model.held.variables[self._table()]

    def resize_token_embeddings(
        self,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = True,
        *,
        seed: int = 0,
    ) -> Any:
        """Change the vocabulary's size; new rows are drawn with the mean and spread of the old ones (Hewitt 2021).

        Returns the table. An optimizer knows nothing of the new variables: `compile` anew afterwards.
        """
        size = int(self.get_input_embeddings().shape[0]) if new_num_tokens is None else new_num_tokens
        if pad_to_multiple_of:
            size = -(-size // pad_to_multiple_of) * pad_to_multiple_of
        if size < 1:
            raise ConfigurationError(f"A vocabulary must have at least 1 token, but {size} were asked for.")
        if size == int(self.get_input_embeddings().shape[0]):
            return self.get_input_embeddings()
        shared = f"{self.side}.embed.weight" in (*self.model.held.owners, *self.model.held.owners.values())
        for side in host.SIDES if shared else (self.side,):
            half = getattr(self.model.config, side)
            declared = family(half.model_type).half(side)  # type: ignore[arg-type]
            deviation = declared.spec(half).deviation if not mean_resizing else None
            head = f"{side}.head.output."
            for name, axis in ((f"{side}.embed.weight", 0), (f"{head}kernel", 1), (f"{head}bias", 0)):
                if name in self.model.held.variables:
                    self._resize(name, axis, size, deviation, seed)
            half.set_vocabulary(side, size)
            carried = getattr(self.model.held.carried, side).carried
            for idle, _ in declared.names(half).ties:  # a copy of the old size
                carried.pop(idle, None)
        self.model.held.programs.clear()
        return self.get_input_embeddings()

    def _resize(self, name: str, axis: int, count: int, deviation: float | None, seed: int) -> None:
        """A variable with another size of one axis; what is new of a bias is 0."""
        rows = np.moveaxis(np.asarray(self.model.held.variables[name]), axis, 0)
        kept = rows[:count]
        if count > len(rows):
            drawn = np.random.default_rng([seed, *name.encode()]).standard_normal((count - len(rows), *rows.shape[1:]))
            if rows.ndim == 1:
                drawn = 0 * drawn
            elif deviation is not None:
                drawn = deviation * drawn
            else:
                whole = rows.astype(np.float32)
                drawn = whole.mean(0) + whole.std(0) * drawn
            kept = np.concatenate((rows, drawn.astype(rows.dtype)))
        self.model.replace(name, np.ascontiguousarray(np.moveaxis(kept, 0, axis)))

    def save_pretrained(self, save_directory: str | os.PathLike[str], *, safe_serialization: bool = True) -> None:
        """Write this half's configuration and weights, all or nothing, as a checkpoint of its family."""
        held = self.model.held
        arrays = getattr(held.arrays(), self.side)
        write = framework_writer(self.config, "tf", self.side, safetensors=safe_serialization)
        with folders.saving(save_directory, stale=stale_weights(None)) as staged:
            folders.write_json(staged / CONFIG_NAME, written_half(self.config, self.side, held.dtype))
            write(staged, half_tensors(self.config, self.side, arrays))


def half_of(side: str, model: Any) -> tuple[PretrainedConfig, HalfArrays]:
    """What an `encoder_model` or `decoder_model` holds, a pair's half: its configuration and its arrays."""
    pair = model.model if isinstance(model, TFHalf) and model.side == side else model
    held = getattr(pair, "held", None)
    if not isinstance(held, Held):
        raise TypeError(
            f"`{side}_model` must be a TFEncoderDecoderModel whose {side} is taken, or that {side}, but is a "
            f"{type(model).__name__}; give the folder of any other model."
        )
    half: HalfArrays = getattr(held.arrays(), side)
    return copy.deepcopy(getattr(held.config, side)), half
