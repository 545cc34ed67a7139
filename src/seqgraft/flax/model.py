"""`FlaxEncoderDecoderModel`: a pair with its params tree, called, trained and generated from as in the field."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import flax
import jax
import jax.numpy as jnp

from seqgraft.checkpoints.pair_arrays import HalfArrays
from seqgraft.config import EncoderDecoderConfig
from seqgraft.families.configuration import PretrainedConfig
from seqgraft.flax import outputs
from seqgraft.flax.files import arrays_of, cast, tree_of
from seqgraft.flax.generation import generate
from seqgraft.flax.inputs import flags, int32, known_ids
from seqgraft.flax.module import FlaxEncoderDecoderModule
from seqgraft.flax.tree import Tree, at, leaves, put, walked
from seqgraft.functional import host
from seqgraft.functional.pair import Pair
from seqgraft.functional.request import further
from seqgraft.generation import GenerationConfig
from seqgraft.generation.link import adopted, link, unlink


class FlaxEncoderDecoderModel:
    """An encoder and a decoder that sees it, on JAX; the weights are `params`, a nested tree of published names.

    Args:
        config: the pair's.
        input_shape: ((rows, source time), (rows, target time)) of the ids that `init_weights` traces.
        seed: of fresh weights.
        dtype: of the computation; parameters keep theirs (`to_bf16` and its sisters change them).
        _do_init: False makes no parameters: `init_weights` gives them, and every call takes `params=`.
    """

    config_class = EncoderDecoderConfig
    base_model_prefix: ClassVar[str] = "encoder_decoder"
    module_class = FlaxEncoderDecoderModule
    main_input_name: ClassVar[str] = "input_ids"
    framework: ClassVar[str] = "flax"

    def __init__(
        self,
        config: EncoderDecoderConfig,
        input_shape: tuple[tuple[int, int], tuple[int, int]] | None = None,
        seed: int = 0,
        dtype: Any = jnp.float32,
        _do_init: bool = True,
    ) -> None:
        pair = host.described(config) if not _do_init else host.made(config, seed)
        self._begin(pair, input_shape, seed, dtype, _do_init)

    def _begin(self, pair: host.Host, input_shape: Any, seed: int, dtype: Any, init: bool) -> None:
        """Become a pair whose weights are numpy arrays, or take its description alone."""
        self.input_shape = input_shape or ((1, 1), (1, 1))
        self.key = jax.random.PRNGKey(seed)
        self.dtype = dtype
        self._config, self._generation_config = pair.config, pair.generation
        self._is_initialized = init
        self._params: Tree | None = None
        self._programs: dict[Any, Any] = {}
        self._carried = host.carried_shapes(pair)
        self.module = self.module_class(self._config, dtype, tuple(self._carried.items()))
        if init:
            self._params = tree_of(pair, self._carried)

    @property
    def config(self) -> EncoderDecoderConfig:
        """What holds for the pair, and the halves' own configurations."""
        return self._config

    @config.setter
    def config(self, value: EncoderDecoderConfig) -> None:
        self._config = adopted(value, self._config, self._generation_config)
        self.module = self.module_class(self._config, self.dtype, tuple(self._carried.items()))

    @property
    def generation_config(self) -> GenerationConfig:
        """What `generate` does unless a call says otherwise."""
        return self._generation_config

    @generation_config.setter
    def generation_config(self, value: GenerationConfig) -> None:
        unlink(self._config, self._generation_config)
        self._generation_config = value
        link(self._config, value)

    @property
    def params(self) -> Tree:
        """The tree of parameters; ValueError for a model that was made without."""
        if self._params is None:
            raise ValueError(
                "`params` must be had from `model.init_weights(key, input_shape)` or from `from_pretrained`, since "
                "this model was made with `_do_init=False`."
            )
        return self._params

    @params.setter
    def params(self, params: Mapping[str, Any]) -> None:
        if not self._is_initialized:
            raise ValueError("`params` must be handed to each call, since this model was made with `_do_init=False`.")
        given: Tree = flax.core.unfreeze(dict(params))
        missing = sorted("/".join(path) for path in self.required_params - {path for path, _ in walked(given)})
        if missing:
            raise ValueError(f"`params` must have every parameter, but lacks {', '.join(missing)}.")
        self._params = given

    @property
    def params_shape_tree(self) -> Tree:
        """The tree with a shape and a dtype for each parameter, nothing computed."""
        shape: Tree = jax.eval_shape(partial(self.init_weights, input_shape=self.input_shape), self.key)
        return shape

    @property
    def required_params(self) -> set[tuple[str, ...]]:
        """The path of every parameter."""
        return {leaf.path for leaf in leaves(self.config, self._carried)}

    def init_weights(self, rng: Any, input_shape: Any = None, params: Mapping[str, Any] | None = None) -> Tree:
        """Fresh parameters from a key; those that `params` has are taken from there. Works under `jit`."""
        first, second = input_shape or self.input_shape
        ids, target = jnp.ones(first, jnp.int32), jnp.ones(second, jnp.int32)
        made = self.module.init(rng, ids, jnp.ones_like(ids), target, jnp.ones_like(target))["params"]
        tree: Tree = flax.core.unfreeze(made)
        for path, value in walked(params or {}):
            put(tree, path, value)
        return tree

    def _apply(
        self,
        method: Callable[..., Any],
        params: Any,
        arguments: Mapping[str, Any],
        flags: Mapping[str, bool | None],
        train: bool,
        dropout_rng: Any,
    ) -> Any:
        """One method of the module; a flag that is None is the configuration's."""
        if train and dropout_rng is None:
            raise ValueError("`dropout_rng` must be a key with `train=True`, but is None.")
        return self.module.apply(
            {"params": self.params if params is None else params},
            **arguments,
            **{name: bool(getattr(self.config, name) if value is None else value) for name, value in flags.items()},
            deterministic=not train,
            rngs={"dropout": dropout_rng} if train else None,
            method=method,
        )

    def __call__(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        decoder_input_ids: Any = None,
        decoder_attention_mask: Any = None,
        position_ids: Any = None,
        decoder_position_ids: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        train: bool = False,
        params: Mapping[str, Any] | None = None,
        dropout_rng: Any = None,
        labels: Any = None,
        inputs_embeds: Any = None,
        decoder_inputs_embeds: Any = None,
        token_type_ids: Any = None,
        num_items_in_batch: Any = None,
        **inputs: Any,
    ) -> Any:
        """Source ids [batch, time] and decoder ids or labels [batch, target_time] -> `Seq2SeqLMOutput`.

        Labels of -100 count nothing; the decoder's inputs are made of them unless given, and `loss` is their
        cross-entropy. Masks are 1 where a token may be seen; without one, padding is recognised by its id. `inputs`
        are those of the encoder's family alone; TypeError for others. ValueError without decoder inputs or labels,
        and for `train=True` without a key.
        """
        if decoder_input_ids is None and decoder_inputs_embeds is None and labels is None:
            raise ValueError("`decoder_input_ids`, `decoder_inputs_embeds` or `labels` must be given, but none is.")
        arguments = {
            "input_ids": self.known("input_ids", input_ids, "encoder"),
            "attention_mask": int32(attention_mask),
            "decoder_input_ids": self.known("decoder_input_ids", decoder_input_ids, "decoder"),
            "decoder_attention_mask": int32(decoder_attention_mask),
            "position_ids": int32(position_ids),
            "decoder_position_ids": int32(decoder_position_ids),
            "labels": int32(labels),
            "inputs_embeds": inputs_embeds,
            "decoder_inputs_embeds": decoder_inputs_embeds,
            "token_type_ids": int32(token_type_ids),
            "num_items_in_batch": num_items_in_batch,
            "inputs": further(Pair.of(self.config), self.config.encoder.model_type, inputs),
        }
        said = flags(output_attentions, output_hidden_states, return_dict)
        return self._apply(self.module_class.__call__, params, arguments, said, train, dropout_rng)

    def encode(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        position_ids: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        train: bool = False,
        params: Mapping[str, Any] | None = None,
        dropout_rng: Any = None,
        inputs_embeds: Any = None,
        token_type_ids: Any = None,
        **inputs: Any,
    ) -> Any:
        """Source ids [batch, time] -> `BaseModelOutput` of the encoder."""
        arguments = {
            "input_ids": self.known("input_ids", input_ids, "encoder"),
            "attention_mask": int32(attention_mask),
            "position_ids": int32(position_ids),
            "inputs_embeds": inputs_embeds,
            "token_type_ids": int32(token_type_ids),
            "inputs": further(Pair.of(self.config), self.config.encoder.model_type, inputs),
        }
        said = flags(output_attentions, output_hidden_states, return_dict)
        return self._apply(self.module_class.encode, params, arguments, said, train, dropout_rng)

    def decode(
        self,
        decoder_input_ids: Any,
        encoder_outputs: Any,
        encoder_attention_mask: Any = None,
        decoder_attention_mask: Any = None,
        decoder_position_ids: Any = None,
        past_key_values: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        train: bool = False,
        params: Mapping[str, Any] | None = None,
        dropout_rng: Any = None,
    ) -> Any:
        """Target ids [batch, target_time] and what `encode` gave -> `CausalLMOutputWithCrossAttentions`.

        With `past_key_values`, as `init_cache` makes them, the ids are those after the past, a decoder_attention_mask
        covers the whole length of the cache, and the output holds the cache with them.
        """
        arguments = {
            "decoder_input_ids": self.known("decoder_input_ids", decoder_input_ids, "decoder"),
            "encoder_hidden_states": encoder_outputs[0],
            "encoder_attention_mask": int32(encoder_attention_mask),
            "decoder_attention_mask": int32(decoder_attention_mask),
            "decoder_position_ids": int32(decoder_position_ids),
            "past_key_values": past_key_values,
        }
        said = flags(output_attentions, output_hidden_states, return_dict)
        return self._apply(self.module_class.decode, params, arguments, said, train, dropout_rng)

    def init_cache(
        self, batch_size: int, max_length: int, encoder_outputs: Any, params: Mapping[str, Any] | None = None
    ) -> Any:
        """A cache for `max_length` tokens of each row, with what the decoder makes of the encoder's states."""
        states = encoder_outputs[0]
        if states.shape[0] != batch_size:
            raise ValueError(f"`batch_size` must be the sources' number ({states.shape[0]}), but is {batch_size}.")
        held = {"params": self.params if params is None else params}
        return self.module.apply(held, states, max_length, method=self.module_class.cache)

    def generate(
        self,
        input_ids: Any = None,
        generation_config: GenerationConfig | None = None,
        prng_key: Any = None,
        trace: bool = True,
        params: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Generate from source ids [batch, time]; returns `.sequences` [batch * num_return_sequences, max_length].

        `kwargs` are settings (fields of `GenerationConfig`) and inputs: `attention_mask`, `inputs_embeds`,
        `encoder_outputs`, `decoder_input_ids`, `decoder_attention_mask`, `token_type_ids`, `position_ids`, and those
        of the encoder's family. Encoder, search and steps are one program, compiled once for equal settings and
        shapes; `trace=False` runs it operation by operation. `prng_key` is what sampling draws from; without one it is
        `jax.random.PRNGKey(0)`, so that equal calls give equal tokens.

        Raises ValueError for a setting that this search does not have, TypeError for what is no setting.
        """
        return generate(self, input_ids, generation_config, prng_key, trace, params, kwargs)

    def program(self, settings: Any, function: Callable[..., Any]) -> Any:
        """The compiled function of a search; of many the last few are kept."""
        settings = settings, Pair.of(self.config), jnp.dtype(self.dtype).name
        if settings not in self._programs:
            while len(self._programs) >= 16:
                self._programs.pop(next(iter(self._programs)))
            self._programs[settings] = jax.jit(function)
        return self._programs[settings]

    def known(self, name: str, ids: Any, side: str) -> Any:
        """Ids for the `side` as int32; ValueError for one of the host that its vocabulary does not have."""
        return known_ids(name, ids, side, getattr(Pair.of(self.config), side))

    def to_bf16(self, params: Mapping[str, Any], mask: Any = None) -> Tree:
        """The parameters in bfloat16; where a `mask` tree of the same shape is False, as they were."""
        return cast(params, jnp.bfloat16, mask)

    def to_fp16(self, params: Mapping[str, Any], mask: Any = None) -> Tree:
        """The parameters in float16; where a `mask` tree of the same shape is False, as they were."""
        return cast(params, jnp.float16, mask)

    def to_fp32(self, params: Mapping[str, Any], mask: Any = None) -> Tree:
        """The parameters in float32; where a `mask` tree of the same shape is False, as they were."""
        return cast(params, jnp.float32, mask)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        config: PretrainedConfig | None = None,
        dtype: Any = jnp.float32,
        _do_init: bool = True,
        seed: int = 0,
        input_shape: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Load a pair from a folder or hub repository, whatever framework wrote it.

        `dtype` is that of the computation; parameters keep the files'. With `_do_init=False` the result is
        (model, params). Other arguments, and what is raised, as of `EncoderDecoderModel.from_pretrained`.
        """
        return cls._of(
            host.opened(pretrained_model_name_or_path, config, kwargs, "flax"), input_shape, seed, dtype, _do_init
        )

    @classmethod
    def from_encoder_decoder_pretrained(
        cls,
        encoder_pretrained_model_name_or_path: str | os.PathLike[str] | None = None,
        decoder_pretrained_model_name_or_path: str | os.PathLike[str] | None = None,
        *,
        dtype: Any = jnp.float32,
        seed: int = 0,
        input_shape: Any = None,
        _do_init: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Put two checkpoints together; what the decoder lacks of cross-attention is new.

        Arguments and errors are those of `EncoderDecoderModel.from_encoder_decoder_pretrained`: `encoder_*` and
        `decoder_*` for one half (`encoder_from_pt` and its sisters among them), `decoder_graft`.
        """
        source, target = encoder_pretrained_model_name_or_path, decoder_pretrained_model_name_or_path
        return cls._of(
            host.composed(source, target, kwargs, _half_of, seed, "flax"), input_shape, seed, dtype, _do_init
        )

    @classmethod
    def _of(cls, pair: host.Host, input_shape: Any, seed: int, dtype: Any, init: bool) -> Any:
        model = cls.__new__(cls)
        model._begin(pair, input_shape, seed, dtype, init)
        return model if init else (model, tree_of(pair, model._carried))

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        params: Mapping[str, Any] | None = None,
        *,
        max_shard_size: int | str = "10GB",
        safe_serialization: bool = False,
    ) -> None:
        """Write configuration, generation settings and parameters, all or nothing: `flax_model.msgpack`, or with
        `safe_serialization` a safetensors file of the same names. Every framework's classes here open either."""
        tree = self.params if params is None else params
        pair = host.Host(self.config, arrays_of(self.config, tree, self._carried), self.generation_config)
        dtype = jnp.dtype(at(tree, leaves(self.config, {})[0].path).dtype).name
        host.saved(save_directory, pair, dtype, "flax", safe_serialization, max_shard_size)


def _half_of(side: str, model: Any) -> tuple[PretrainedConfig, HalfArrays]:
    """What an `encoder_model` or `decoder_model` holds: a pair's half."""
    if not isinstance(model, FlaxEncoderDecoderModel):
        raise TypeError(
            f"`{side}_model` must be a FlaxEncoderDecoderModel whose {side} is taken, but is a "
            f"{type(model).__name__}; give the folder of any other model."
        )
    half: HalfArrays = getattr(arrays_of(model.config, model.params, model._carried), side)
    return copy.deepcopy(getattr(model.config, side)), half


__all__ = ["FlaxEncoderDecoderModel", "outputs"]
