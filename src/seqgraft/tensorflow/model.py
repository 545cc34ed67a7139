"""`TFEncoderDecoderModel`: a pair as a Keras model, called, fitted, exported and generated from as in the field."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import keras
import tensorflow as tf

from seqgraft.checkpoints.pair_arrays import HalfArrays, PairArrays
from seqgraft.config import EncoderDecoderConfig
from seqgraft.errors import ConfigurationError
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.functional import host
from seqgraft.functional.run import Noise, Run
from seqgraft.generation import GenerationConfig
from seqgraft.generation.link import adopted, link, unlink
from seqgraft.machine import give_back
from seqgraft.tensorflow import saving
from seqgraft.tensorflow.fitting import loss_of, with_labels
from seqgraft.tensorflow.forward import forward, target_ids
from seqgraft.tensorflow.generation import as_it_is, generate
from seqgraft.tensorflow.half import TFHalf, half_of
from seqgraft.tensorflow.inputs import INPUTS, flags, unpacked
from seqgraft.tensorflow.ops import TensorFlowOps
from seqgraft.tensorflow.weights import Held, cast


class TFEncoderDecoderModel(keras.Model):  # type: ignore[misc]
    """An encoder and a decoder that sees it, as a `tf.keras.Model`.

    Args:
        config: the pair's; taken from `encoder` and `decoder` when those are given.
        encoder: a pair, or its `.encoder`, whose encoder is taken.
        decoder: a pair, or its `.decoder`, whose decoder is taken.
        seed: of fresh weights.

    Keras's own ways work: `compile` and `fit` (labels inside the inputs, or beside them), `predict`, `save_weights`.
    Steps of `fit` are compiled by XLA only where `compile(jit_compile=True)` says so: batches of texts have many
    lengths, and each would be a program.
    """

    config_class = EncoderDecoderConfig
    base_model_prefix: ClassVar[str] = "encoder_decoder"
    main_input_name: ClassVar[str] = "input_ids"
    framework: ClassVar[str] = "tf"

    def __init__(
        self,
        config: EncoderDecoderConfig | None = None,
        encoder: Any = None,
        decoder: Any = None,
        *,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        if encoder is not None or decoder is not None:
            given: dict[str, Any] = {"encoder_model": encoder, "decoder_model": decoder}
            pair = host.composed(None, None, given | ({} if config is None else {"config": config}), half_of, seed)
        elif config is None:
            raise ConfigurationError("A pair needs `config`, or both `encoder` and `decoder`.")
        else:
            pair = host.made(config, seed)
        self._begin(pair, None, name)

    def _begin(self, pair: host.Host, dtype: str | None, name: str | None) -> None:
        """Become a pair whose weights are numpy arrays."""
        if keras.backend.backend() != "tensorflow":
            raise ConfigurationError(
                f"The backend of Keras must be 'tensorflow' for a TFEncoderDecoderModel, but is "
                f"'{keras.backend.backend()}': set KERAS_BACKEND=tensorflow before Keras is imported."
            )
        super().__init__(name=name or "tf_encoder_decoder_model", autocast=False)
        self._convert_input_args = False
        self._allow_non_tensor_positional_args = True
        self.built = True
        self.held = Held.of(pair)
        weights = host.core_weights(pair.config, pair.arrays)
        pair.arrays = PairArrays(HalfArrays({}), HalfArrays({}))  # let go of one by one: few are in memory twice
        for own in host.shapes(pair.config):
            self._hold(own, cast(weights.pop(own), dtype))
        give_back()
        self.seeds = keras.random.SeedGenerator(name="dropout")
        self.encoder, self.decoder = TFHalf(self, "encoder"), TFHalf(self, "decoder")

    def _hold(self, name: str, value: Any) -> None:
        """A variable of this value, by its name in the functional core."""
        self.held.variables[name] = self.add_weight(
            shape=value.shape,
            dtype=value.dtype.name,
            name=name,
            initializer=lambda shape, dtype=None: tf.convert_to_tensor(value),
        )

    def replace(self, name: str, value: Any) -> None:
        """Put a variable of another shape in the place of one."""
        old = self.held.variables.pop(name)
        self._untrack_variable(old)
        self._hold(name, value)
        self.held.variables[name].trainable = old.trainable

    @property
    def config(self) -> EncoderDecoderConfig:
        """What holds for the pair, and the halves' own configurations."""
        return self.held.config

    @config.setter
    def config(self, value: EncoderDecoderConfig) -> None:
        self.held.config = adopted(value, self.held.config, self.held.generation)
        self.held.programs.clear()

    @property
    def generation_config(self) -> GenerationConfig:
        """What `generate` does unless a call says otherwise."""
        return self.held.generation

    @generation_config.setter
    def generation_config(self, value: GenerationConfig) -> None:
        unlink(self.held.config, self.held.generation)
        self.held.generation = value
        link(self.held.config, value)

    def run(self, training: bool = False) -> Run:
        """The functional core's call on these weights."""
        ops = TensorFlowOps()
        noise = Noise(ops, tf.cast(self.seeds.next(), tf.int32)) if training else None
        return Run(ops, self.held.weights(), noise)

    @as_it_is
    def call(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        decoder_input_ids: Any = None,
        decoder_attention_mask: Any = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        inputs_embeds: Any = None,
        decoder_inputs_embeds: Any = None,
        labels: Any = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool = False,
        token_type_ids: Any = None,
        position_ids: Any = None,
        decoder_position_ids: Any = None,
        decoder_token_type_ids: Any = None,
        num_items_in_batch: Any = None,
        **inputs: Any,
    ) -> Any:
        """Source ids [batch, time], labels [batch, target_time] -> `TFSeq2SeqLMOutput`, or a tuple of what it has.

        Labels of -100 count nothing; the decoder's inputs are made of them unless given, and `loss` is [1]. Masks are
        1 where a token may be seen; without one, padding is recognised by its id. `input_ids` may be a dictionary of
        all inputs, as `fit` has it. `encoder_outputs` stands for the source; `past_key_values`, as a call with
        `use_cache` gives them, for the target so far, which a `decoder_attention_mask` then covers as well.
        `inputs` are those of the encoder's family alone; TypeError for others. ValueError without decoder inputs.
        """
        said = locals()
        given = unpacked(input_ids, {**{name: said[name] for name in INPUTS}, **inputs})
        asked = flags(self.config, given, said)
        caches = asked["use_cache"] and (use_cache is not None or ("labels" not in given and not training))
        out = forward(
            self.run(bool(training)),
            self.config,
            given,
            use_cache=caches,
            states=asked["output_hidden_states"],
            attentions=asked["output_attentions"],
        )
        return out if asked["return_dict"] else out.to_tuple()

    @as_it_is
    def generate(
        self,
        inputs: Any = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: Any = None,
        seed: int | Sequence[int] | None = None,
        *,
        jit_compile: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Generate from source ids [batch, time]: tokens [batch * num_return_sequences, generated time].

        `kwargs` are settings (fields of `GenerationConfig`) and inputs: `input_ids`, `attention_mask`, `inputs_embeds`,
        `encoder_outputs`, `decoder_input_ids`, `decoder_attention_mask`, ... The search is one program, traced once
        for equal settings; `jit_compile` has XLA compile it, once for each shape. Within a `tf.function` it becomes
        part of that program, and the result has `max_length` columns. `seed` is what sampling draws from, one number
        or two; without it TensorFlow's own generator gives one (`tf.random.set_seed`).

        With `return_dict_in_generate` the result is an output with `sequences`, and `sequences_scores` of beams.
        Raises ValueError for a setting that this search does not have (`logits_processor` among them), TypeError for
        what is no setting.
        """
        if "input_ids" in kwargs:
            if inputs is not None:
                raise ValueError("`inputs` and `input_ids` are the same: only one must be given.")
            inputs = kwargs.pop("input_ids")
        kwargs = {**kwargs, **({} if logits_processor is None else {"logits_processor": logits_processor})}
        return generate(self, inputs, generation_config, seed, jit_compile, kwargs)

    def prepare_decoder_input_ids_from_labels(self, labels: Any) -> Any:
        """labels [batch, time] -> decoder inputs: shifted right by one after the start id, -100 replaced by padding."""
        return target_ids(TensorFlowOps(), self.config, tf.cast(tf.convert_to_tensor(labels), tf.int32))

    def get_encoder(self) -> TFHalf:
        """The encoder half."""
        half: TFHalf = self.encoder
        return half

    def get_decoder(self) -> TFHalf:
        """The decoder half."""
        half: TFHalf = self.decoder
        return half

    def get_input_embeddings(self) -> Any:
        """The encoder's table of token embeddings."""
        return self.encoder.get_input_embeddings()

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> Any:
        """Resize the one table of a published encoder-decoder; TypeError for a pair of two vocabularies."""
        if host.shared_names(self.config) != ["embed.weight"]:
            raise TypeError(
                "A pair has two vocabularies: use model.encoder.resize_token_embeddings(n) or "
                "model.decoder.resize_token_embeddings(n)."
            )
        return self.decoder.resize_token_embeddings(*args, **kwargs)

    def freeze_encoder(self) -> None:
        """Let training change nothing of the encoder (what it shares with a tied decoder included)."""
        names = [n for n in self.held.variables if n.startswith("encoder.")] + list(self.held.owners.values())
        for name in names:
            self.held.variables[name].trainable = False

    def compile(self, *args: Any, jit_compile: bool | str = False, **kwargs: Any) -> None:
        """Make ready to `fit`, as Keras does; XLA compiles its steps only where `jit_compile` says so."""
        super().compile(*args, jit_compile=jit_compile, **kwargs)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The loss that the call itself computed of its labels; see `fit`."""
        own = loss_of(y_pred)
        return super().compute_loss(x, y, y_pred, sample_weight, training) if own is None else own

    def train_step(self, data: Any) -> Any:
        """One step of `fit`."""
        return super().train_step(with_labels(data))

    def test_step(self, data: Any) -> Any:
        """One step of `evaluate`."""
        return super().test_step(with_labels(data))

    def predict_step(self, data: Any) -> Any:
        """One step of `predict`: a dictionary of the outputs, without the caches."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return dict(self(x, training=False, use_cache=False, return_dict=True))

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        config: PretrainedConfig | None = None,
        dtype: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> TFEncoderDecoderModel:
        """Load a pair from a folder or hub repository, whatever framework wrote it.

        `dtype` is that of the weights; unless given, the files'. Other arguments, and what is raised, as of
        `EncoderDecoderModel.from_pretrained`.
        """
        return cls._of(host.opened(pretrained_model_name_or_path, config, kwargs, "tf"), dtype, name)

    @classmethod
    def from_encoder_decoder_pretrained(
        cls,
        encoder_pretrained_model_name_or_path: str | os.PathLike[str] | None = None,
        decoder_pretrained_model_name_or_path: str | os.PathLike[str] | None = None,
        *,
        dtype: Any = None,
        seed: int = 0,
        name: str | None = None,
        **kwargs: Any,
    ) -> TFEncoderDecoderModel:
        """Put two checkpoints together; what the decoder lacks of cross-attention is new.

        Arguments and errors are those of `EncoderDecoderModel.from_encoder_decoder_pretrained`: `encoder_*` and
        `decoder_*` for one half (`encoder_from_pt` and its sisters among them), `decoder_graft`. `encoder_model` and
        `decoder_model` are pairs whose half is taken, or such a half.
        """
        source, target = encoder_pretrained_model_name_or_path, decoder_pretrained_model_name_or_path
        return cls._of(host.composed(source, target, kwargs, half_of, seed, "tf"), dtype, name)

    @classmethod
    def _of(cls, pair: host.Host, dtype: Any, name: str | None) -> TFEncoderDecoderModel:
        model = cls.__new__(cls)
        model._begin(pair, None if dtype is None else tf.as_dtype(dtype).name, name)
        return model

    @classmethod
    def from_config(cls, config: Any, **kwargs: Any) -> TFEncoderDecoderModel:
        """A pair with fresh weights, of a configuration or of what `get_config` gave."""
        if isinstance(config, Mapping):
            return cls(EncoderDecoderConfig.from_dict(dict(config["config"])), name=config.get("name"), **kwargs)
        return cls(config, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """What Keras makes the same model of, without its weights."""
        return {"config": self.config.to_dict(), "name": self.name}

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        saved_model: bool = False,
        version: int = 1,
        signatures: Mapping[str, Any] | None = None,
        max_shard_size: int | str = "5GB",
        safe_serialization: bool = True,
    ) -> None:
        """Write configuration, generation settings and weights, all or nothing: safetensors, or `tf_model.h5` where
        `safe_serialization` is False, with the names of TensorFlow's own classes.

        `saved_model` writes `saved_model/<version>` as well, as TensorFlow Serving reads it; `signatures` are its
        functions by name, in place of `serving_default`.
        """
        saving.save(self, save_directory, safe_serialization, max_shard_size)
        if saved_model:
            saving.export(self, Path(save_directory) / "saved_model" / str(version), signatures)

    def export(self, filepath: Any, format: str = "tf_saved_model", **kwargs: Any) -> None:
        """Write a SavedModel of any batch and length; `serving_default` takes ids and masks of both sides.

        `signatures`: other functions by name. Other formats are Keras's own.
        """
        if format != "tf_saved_model":
            return super().export(filepath, format=format, **kwargs)  # type: ignore[no-any-return]
        kwargs.pop("verbose", None)
        return saving.export(self, filepath, **kwargs)

    @property
    def serving(self) -> Any:
        """The function of `serving_default`: int32 ids and masks [batch, time] of both sides -> a dictionary."""
        return saving.serving(self)
